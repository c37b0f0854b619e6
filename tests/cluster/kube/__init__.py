"""The real cluster: its programs, and how they are started."""

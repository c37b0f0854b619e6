"""The sandbox and its parts."""

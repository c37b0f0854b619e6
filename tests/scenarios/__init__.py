"""One file for each failure that a user has seen: README.md tells how they are written."""

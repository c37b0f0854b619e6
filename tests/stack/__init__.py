"""What is under deploy/."""

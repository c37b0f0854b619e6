"""What the stack is made of, beside the package."""

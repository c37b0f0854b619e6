"""What a shadow would have done, beside what was done."""

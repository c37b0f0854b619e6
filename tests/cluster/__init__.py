"""Against a real cluster."""

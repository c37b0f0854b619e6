"""The documents: they lead somewhere, and what they name is there."""

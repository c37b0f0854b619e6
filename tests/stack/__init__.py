"""The manifests, and what is in them."""

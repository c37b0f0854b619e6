"""A Kubernetes of our own."""

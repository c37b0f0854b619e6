"""The real chat page through the real gateway; in an environment of its own: `make test-webui`."""

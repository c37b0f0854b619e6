"""Adapters: one foreign system each, behind the ports of `autoscaler.ports`."""

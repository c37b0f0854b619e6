"""Adapters, against real sockets and real programs."""

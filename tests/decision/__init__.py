"""The decision: no mocks, no sockets, literal time."""

"""Bounds a request in time: ends its connections from another thread, whatever they wait for.

A timeout of a socket bounds each single read. A server that sends one byte now and then never
meets it, so what bounds a request as a whole has to come from outside.
"""

import socket
import threading
from contextlib import suppress
from typing import Any


class Cutter:
    """Ends the connections of a request from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    @property
    def has_watched(self) -> bool:
        """Tell whether any connection stood, so that something may have been sent."""
        return bool(self._sockets)

    def watch(self, connection: socket.socket) -> None:
        """Take note of a connection; TimeoutError where all is over already."""
        with self._lock:
            if self._cut:
                raise TimeoutError
            self._sockets.append(connection)

    def cut(self) -> None:
        """End every connection, and each that is still to come."""
        with self._lock:
            self._cut = True
            for connection in self._sockets:
                with suppress(OSError):  # already closed
                    # Not the TLS connection's own method, which is not for a second thread.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


def make_cuttable(pool: Any, cutter: Cutter) -> None:  # noqa: ANN401
    """Let a pool show each connection to the cutter as soon as it stands, before it is used."""
    base = type(pool).ConnectionCls  # not the pool's own, which may be cuttable already

    def connect(connection: Any) -> None:  # noqa: ANN401
        base.connect(connection)
        try:
            cutter.watch(connection.sock)
        except TimeoutError:
            connection.close()
            raise

    pool.ConnectionCls = type(base.__name__, (base,), {"connect": connect})

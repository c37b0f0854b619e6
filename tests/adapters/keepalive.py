"""A server that keeps connections, and whose behaviour a test scripts request by request."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self


class KeepAlive:
    """Answers every request on every connection by `answer(connection, nth request on it)`."""

    def __init__(self, answer: "Answer") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections: list[socket.socket] = []
        self.busy = self.busiest = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        number = 0
        with connection, suppress(OSError):
            while request := _read(connection):
                number += 1
                with self._lock:
                    self.requests.append(request)
                    self.busy += 1
                    self.busiest = max(self.busiest, self.busy)
                try:
                    goes_on = self.answer(connection, number)
                finally:
                    with self._lock:
                        self.busy -= 1
                if not goes_on:
                    return

    def close_all(self) -> None:
        """Close every connection, as a server does with those that were idle for too long."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Return itself, already listening."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_all()
        for thread in self._threads:
            thread.join(5)


Answer = Callable[[socket.socket, int], bool]
"""Tells whether the connection goes on."""


def saying(body: bytes) -> Answer:
    """Answer with this body and keep the connection."""

    def answer(connection: socket.socket, _: int) -> bool:
        connection.sendall(http(body))
        return True

    return answer


def http(body: bytes, *headers: str) -> bytes:
    """Write a whole answer."""
    lines = ["HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def _read(connection: socket.socket) -> bytes:
    """Read one request; empty where there is none any more."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    while lengths and len(body) < lengths[0]:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body

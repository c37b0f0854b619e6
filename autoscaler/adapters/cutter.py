"""Bounds a request in time: ends its connections from another thread, whatever they wait for.

A timeout of a socket bounds each single read. A server that sends one byte now and then never
meets it, so what bounds a request as a whole has to come from outside. A connection that stands is
shut down, which ends any reading and writing. One that is still being made cannot be ended (a name
lookup can hang for long), so each is made by a thread of its own, and whoever waits for it goes on.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

C = TypeVar("C")


class Cutter:
    """Ends connections from another thread. Once it has, there are no others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._connections: list[socket.socket] = []
        self._is_cut = False
        self._is_connecting = False
        self._on_quiet: Callable[[], object] | None = None
        self.before_sending: Callable[[], object] | None = None
        """Called right before bytes leave, each time; what it raises keeps them here."""

    @property
    def has_watched(self) -> bool:
        """Tell whether any connection stood, so that something may have been sent."""
        return bool(self._connections)

    @property
    def is_cut(self) -> bool:
        """Tell whether it is all over."""
        return self._is_cut

    @property
    def connection(self) -> socket.socket | None:
        """Return the connection that stands or stood last."""
        return self._connections[-1] if self._connections else None

    def watch(self, connection: socket.socket) -> None:
        """Take note of a connection; TimeoutError where all is over already."""
        with self._changed:
            if self._is_cut:
                raise TimeoutError
            self._connections.append(connection)

    def let_out(self) -> None:
        """Raise where nothing must be sent any more."""
        if self._is_cut:
            raise TimeoutError
        if self.before_sending is not None:
            self.before_sending()

    def cut(self) -> None:
        """End every connection, and each that is still to come."""
        with self._changed:
            self._is_cut = True
            self._changed.notify_all()
            for connection in self._connections:
                with suppress(OSError):  # already closed
                    # Not the TLS connection's own method, which is not for a second thread.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def connect(self, work: Callable[[], object], name: str) -> None:
        """Do what makes a connection, on a thread; TimeoutError where it is cut meanwhile."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the waiting thread's to judge
                failed.append(error)
            self._quieten()

        with self._changed:
            self._is_connecting = True
        try:
            threading.Thread(target=run, name=name, daemon=True).start()
        except BaseException:
            self._quieten()
            raise
        with self._changed:
            self._changed.wait_for(lambda: self._is_cut or not self._is_connecting)
            if self._is_connecting or self._is_cut:
                raise TimeoutError
        if failed:
            raise failed[0]

    def when_quiet(self, act: Callable[[], object]) -> None:
        """Do this at once, or as soon as the thread that hangs in connecting has ended."""
        with self._changed:
            if self._is_connecting:
                self._on_quiet = act
                return
        act()

    def _quieten(self) -> None:
        with self._changed:
            self._is_connecting = False
            act, self._on_quiet = self._on_quiet, None
            self._changed.notify_all()
        if act is not None:
            act()


def cuttable(base: type[C], cutter: Cutter, name: str) -> type[C]:
    """Return a class of connections that are made by the cutter, and seen by it before their use.

    `name` is that of the threads.
    """

    def connect(connection: Any) -> None:  # noqa: ANN401
        def work() -> None:
            base.connect(connection)  # type: ignore[attr-defined]
            try:
                cutter.watch(connection.sock)
            except TimeoutError:
                connection.close()
                raise

        cutter.connect(work, name)

    def send(connection: Any, data: Any) -> None:  # noqa: ANN401
        cutter.let_out()
        base.send(connection, data)  # type: ignore[attr-defined]

    return type(base.__name__, (base,), {"connect": connect, "send": send})

"""Bounds a request in time: ends its connection from another thread, whatever it waits for.

A timeout of a socket bounds each single read. A server that sends one byte now and then never
meets it, so what bounds a request as a whole has to come from outside. A connection that stands is
shut down, which ends any reading and writing. One that is still being made cannot be ended (a name
lookup can hang for long), so each is made by a thread of its own, and whoever waits for it goes on.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Cutter:
    """Ends one connection from another thread. Once it has, there is no other."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._connection: socket.socket | None = None
        self._is_cut = False
        self._is_connecting = False
        self._on_quiet: Callable[[], object] | None = None

    @property
    def has_watched(self) -> bool:
        """Tell whether any connection stood, so that something may have been sent."""
        return self._connection is not None

    @property
    def is_cut(self) -> bool:
        """Tell whether it is all over."""
        return self._is_cut

    @property
    def connection(self) -> socket.socket | None:
        """Return the connection that stands, or did."""
        return self._connection

    def watch(self, connection: socket.socket) -> None:
        """Take note of a connection; TimeoutError where all is over already."""
        with self._changed:
            if self._is_cut:
                raise TimeoutError
            self._connection = connection

    def cut(self) -> None:
        """End the connection, and each that is still to come."""
        with self._changed:
            self._is_cut = True
            self._changed.notify_all()
            if self._connection is not None:
                with suppress(OSError):  # already closed
                    # Not the TLS connection's own method, which is not for a second thread.
                    socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

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


def make_cuttable(pool: Any, cutter: Cutter, name: str = "connect") -> None:  # noqa: ANN401
    """Let a pool make its connections by the cutter, which sees each before it is used.

    `name` is that of the threads.
    """
    base = type(pool).ConnectionCls  # not the pool's own, which may be cuttable already

    def connect(connection: Any) -> None:  # noqa: ANN401
        def work() -> None:
            base.connect(connection)
            try:
                cutter.watch(connection.sock)
            except TimeoutError:
                connection.close()
                raise

        cutter.connect(work, name)

    pool.ConnectionCls = type(base.__name__, (base,), {"connect": connect})

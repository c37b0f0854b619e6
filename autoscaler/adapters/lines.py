"""Log lines on their way to a stream that may be full, slow or gone: no cycle waits for it."""

import os
from contextlib import suppress
from queue import Full, Queue
from select import select
from threading import Lock, Thread
from typing import TextIO

_MOST_WAITING = 1000
_LAST_SECONDS = 1.0
_STDERR = 2


class LineWriter:
    """Hands lines to a thread that writes them, and drops those that nobody takes.

    A stream that cannot be written to is told of once on standard error, until it works again.
    What is no file of the system (a `StringIO`) is written to at once.
    """

    def __init__(self, stream: TextIO, what: str = "the log") -> None:
        """Write what is called so where it cannot be written."""
        self._stream = stream
        self._what = what
        self._descriptor = _descriptor(stream)
        self._waiting: Queue[str] = Queue(_MOST_WAITING)
        self._thread: Thread | None = None
        self._lock = Lock()
        self._lost = 0
        self._broken = False

    def write(self, line: str) -> None:
        """Take a line, which brings no line end. Never waits; for one caller at a time."""
        if self._descriptor is None:
            self._stream.write(f"{line}\n")
            return
        if self._thread is None:
            self._thread = Thread(target=self._work, args=(self._descriptor,), daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(line)
        except Full:
            self._lose()

    def take_lost(self) -> int:
        """Return how many lines were lost since this was last asked; 0 while it goes on."""
        with self._lock:
            if self._broken or self._waiting.full():
                return 0
            lost, self._lost = self._lost, 0
            return lost

    def close(self) -> None:
        """Wait until every line is written, though not for long."""
        every = self._waiting.all_tasks_done
        with every:
            every.wait_for(lambda: not self._waiting.unfinished_tasks, _LAST_SECONDS)

    def _work(self, descriptor: int) -> None:
        while True:
            line = self._waiting.get()
            try:
                # Not by the stream, whose buffer would be written once more at the end, and whose
                # lock would be held meanwhile.
                _write(descriptor, f"{line}\n".encode(errors="backslashreplace"))
                self._broken = False
            except OSError as error:
                self._lose()
                self._complain(error)
            self._waiting.task_done()

    def _lose(self) -> None:
        with self._lock:
            self._lost += 1

    def _complain(self, error: OSError) -> None:
        if not self._broken:
            what = f"autoscaler: {self._what} cannot be written: {error.strerror}"
            text = f"{what}; scaling goes on\n"
            with suppress(OSError):
                os.write(_STDERR, text.encode())
        self._broken = True


def printable(text: str) -> str:
    """Return a foreign text as part of a line: nothing in it ends the line or moves a cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except OSError:  # a StringIO has none
        return None


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # whoever shares the stream has made it so
            select((), (descriptor,), ())

"""Records on disk, one JSON line per cycle, in a file that is rotated; or on standard output."""

import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TextIO

from autoscaler.adapters.lines import LineWriter
from autoscaler.decision.fold import Folder, Gap
from autoscaler.decision.record import Json, Outcome, Record
from autoscaler.ports import CycleReport
from autoscaler.records import numbered, rotated

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK

_Lines = Callable[[], Iterable[Json]]
"""Makes lines, once it is known what those before are."""

MAX_SIZE = 16 << 20
FILES = 4


def cycle_of(report: CycleReport) -> Record | Gap:
    """Return what there is to keep of a cycle."""
    if report.record is not None:
        return report.record
    return Gap(
        target=report.target,
        now=report.at,
        outcome=Outcome(report.outcome),
        reason=report.reason,
        error=report.error,
    )


def as_text(lines: Iterable[Json]) -> bytes:
    """Return lines as they are written."""
    texts = (json.dumps(line, separators=(",", ":"), allow_nan=False) for line in lines)
    return "".join(f"{text}\n" for text in texts).encode()


class RecordsFile:
    """Adds each cycle to a file; a file that cannot be written is told of once.

    A file that has `max_size` bytes is renamed to `.1`, the one before to `.2`, up to `files`. Each
    file begins with whole records, and so does what follows on what somebody else has done to it,
    or on a line that could not be written.
    """

    def __init__(
        self,
        path: Path,
        complain: Callable[[str], None],
        *,
        max_size: int = MAX_SIZE,
        files: int = FILES,
    ) -> None:
        self._path = path
        self._complain = complain
        self._max_size = max_size
        self._files = files
        self._folder = Folder()
        self._lock = Lock()
        self._left: tuple[int, int, int] | None = None
        """The file as we left it: device, inode, size; None where that is not known."""
        self._broken = False

    def report(self, report: CycleReport) -> None:
        """Add the cycle; never raises for a file that fails."""
        cycle = cycle_of(report)
        with self._lock:
            try:
                self._add(lambda: self._folder.lines(cycle))
                self._broken = False
            except OSError as error:
                self._left = None
                if not self._broken:
                    self._complain(f"records.path = {self._path}: {error.strerror or error}")
                self._broken = True

    def forget(self, target: str) -> None:
        """Keep nothing in mind of a target that has gone."""
        with self._lock:
            self._folder.forget(target)

    def close(self) -> None:
        """Write what is still to be told of cycles that came to nothing."""
        with self._lock, suppress(OSError):
            self._add(self._folder.rest)

    def _add(self, lines: _Lines) -> None:
        """Write lines at once; opened anew each time, so that others may move the file."""
        with suppress(FileNotFoundError):
            if _size(self._path.stat()) >= self._max_size:
                _rotate(self._path, self._files)
        descriptor = os.open(self._path, _APPEND | os.O_CREAT, 0o644)
        try:
            self._append(descriptor, lines)
        finally:
            os.close(descriptor)

    def _append(self, descriptor: int, lines: _Lines) -> None:
        seen = os.fstat(descriptor)
        size, cut = _size(seen), False
        if self._left != (seen.st_dev, seen.st_ino, size):
            self._folder.begin_anew()
            cut = size > 0 and not _ends_a_line(self._path, size)
        text = as_text(lines())
        if not text:
            return
        if cut:
            text = b"\n" + text
        written = os.write(descriptor, text)
        if written < len(text):
            raise OSError(f"wrote {written} of {len(text)} bytes")
        left = size + written if stat.S_ISREG(seen.st_mode) else 0
        self._left = (seen.st_dev, seen.st_ino, left)


def _size(seen: os.stat_result) -> int:
    """Return a file's size; 0 for what is no file, and can be neither rotated nor continued."""
    return seen.st_size if stat.S_ISREG(seen.st_mode) else 0


def _ends_a_line(path: Path, size: int) -> bool:
    """Tell whether the last line is whole; False, too, where that cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"
    return False


def _rotate(path: Path, files: int) -> None:
    """Move each file to the next number, and the oldest out of the way.

    By nothing but renames, beginning with the oldest: wherever this ends, each file has one name,
    and the next time goes on from there. What was left in between, no file moves beyond.
    """
    known = set(rotated(path))
    last = next(number for number in range(1, files + 1) if number not in known or number == files)
    for number in range(last, 1, -1):
        numbered(path, number - 1).rename(numbered(path, number))
    path.rename(numbered(path, 1))
    for number in known:
        if number > files:  # fewer are to be kept than before
            numbered(path, number).unlink(missing_ok=True)


class RecordsStream:
    """Writes each cycle to standard output, and never waits for it.

    Whoever reads along may have missed what came before, so no line is folded.
    """

    def __init__(self, stream: TextIO, complain: Callable[[str], None]) -> None:
        self._lines = LineWriter(stream, "records")
        self._complain = complain
        self._folder = Folder(folds=False)
        self._lock = Lock()

    def report(self, report: CycleReport) -> None:
        """Write the cycle."""
        cycle = cycle_of(report)
        with self._lock:
            if lost := self._lines.take_lost():
                self._complain(f"records.path = -: {lost} lines were lost")
            for line in self._folder.lines(cycle):
                self._lines.write(as_text([line]).decode().rstrip("\n"))

    def forget(self, target: str) -> None:
        """Keep nothing in mind of a target that has gone."""
        with self._lock:
            self._folder.forget(target)

    def close(self) -> None:
        """Wait for the last lines, though not for long."""
        self._lines.close()


def why_not(path: Path) -> str:
    """Tell why no record could be written there, empty if one could. Leaves nothing behind."""
    try:
        if path.exists():
            os.close(os.open(path, _APPEND))
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""

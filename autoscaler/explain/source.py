"""Where records come from: files with their rotated siblings, a pipe, or the daemon's page."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from autoscaler.adapters.daemon_http import get
from autoscaler.decision.fold import Gap
from autoscaler.decision.record import Record
from autoscaler.errors import InputError
from autoscaler.records import ANOTHER, Entry, numbered, read, read_file, rotated

STDIN = Path("-")
_LARGEST_PAGE = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One line of a source."""

    file: str
    """Empty where there is only one to speak of."""
    line: int
    record: Record | None
    gap: Gap | None
    extra: Any = None
    """What somebody on the way has made of it."""

    @property
    def target(self) -> str:
        """Return whose cycle it is."""
        return self._cycle.target

    @property
    def at(self) -> datetime:
        """Return when the cycle began."""
        return self.record.observation.now if self.record else self._gap.now

    @property
    def place(self) -> str:
        """Return where it stands."""
        return f"{Path(self.file).name} line {self.line}".strip()

    @property
    def _gap(self) -> Gap:
        assert self.gap is not None  # noqa: S101 - a line is a record or a gap
        return self.gap

    @property
    def _cycle(self) -> Record | Gap:
        return self.record or self._gap


class Source:
    """Some streams of records, the oldest first."""

    def __init__(self, name: str, parts: Sequence[Path | bytes], another: str = ANOTHER) -> None:
        """Take files, and pages that are here already; and what to do where there is nothing."""
        self.name = name
        self.another = another
        self._parts = parts

    def found(self) -> Iterator[Found]:
        """Yield every line. Raises InputError."""
        for part in self._parts:
            yield from self._read(part)

    def newest(self) -> Iterator[Iterator[Found]]:
        """Yield the lines part by part, the newest part first."""
        for part in reversed(self._parts):
            yield self._read(part)

    def _read(self, part: Path | bytes) -> Iterator[Found]:
        if isinstance(part, bytes):
            yield from self._nameless(BytesIO(part))
        elif part == STDIN:
            yield from self._nameless(sys.stdin.buffer)
        else:
            yield from _founds(read_file(part), str(part))

    def _nameless(self, stream: BinaryIO) -> Iterator[Found]:
        try:
            yield from _founds(read(stream), "")
        except OSError as error:
            rule = f"cannot be read: {error.strerror or error}, must be readable"
            raise InputError(f"{self.name}: {rule}", next_step=ANOTHER) from error
        except InputError as error:
            raise InputError(f"{self.name}: {error}", next_step=error.next_step) from error


def _founds(entries: Iterable[Entry], file: str) -> Iterator[Found]:
    for entry in entries:
        yield Found(file=file, line=entry.line, record=entry.record, gap=entry.gap)


def source_of(files: Sequence[Path], url: str | None) -> Source:
    """Return what to read. Raises InputError where nothing is given, or too much."""
    if url is not None:
        if files:
            told = f"FILE = {files[0]} and --url = {url}, must be one of both"
            raise InputError(told, next_step=f"autoscaler explain --url {quote(url)}")
        page = get(url, "/records", most_bytes=_LARGEST_PAGE)
        return Source(url, [page], another=f"autoscaler status --url {quote(url)}")
    if not files and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError(
            "nothing to read, must be given the FILE that records.path names, "
            "- for standard input, or the --url of a daemon",
            next_step="autoscaler explain --url http://127.0.0.1:8080",
        )
    if not files or STDIN in files:
        if sys.stdin is None:
            told = "standard input is closed, must give records"
            raise InputError(told, next_step="autoscaler explain FILE")
        if len(files) > 1:
            told = "FILE = - (standard input), must stand alone, not beside files"
            raise InputError(told, next_step="type it again without -")
        return Source("standard input", [STDIN])
    return Source(str(files[0]) if len(files) == 1 else f"{len(files)} files", list(_all(files)))


def _all(files: Sequence[Path]) -> Iterable[Path]:
    """Return each file with its rotated siblings, each once."""
    seen: dict[Path, None] = {}
    for file in files:
        for one in (*(numbered(file, number) for number in reversed(rotated(file))), file):
            seen.setdefault(one)
    return seen

"""Where records come from: files with their rotated siblings, a pipe, or the daemon's page."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from autoscaler.adapters.daemon_http import get
from autoscaler.decision.fold import Gap
from autoscaler.decision.record import Record
from autoscaler.errors import InputError
from autoscaler.records import numbered, read, rotated

STDIN = Path("-")
_LINE = re.compile(r"line ([0-9]+):")
_LARGEST_PAGE = 256 * 2**20
_HELP = "`autoscaler explain --help` shows what there is"


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

    def __init__(self, name: str, parts: Sequence[Path | bytes]) -> None:
        """Take files, and pages that are here already."""
        self.name = name
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
            yield from self._entries("", BytesIO(part))
            return
        if part == STDIN:
            yield from self._entries("", sys.stdin.buffer)
            return
        try:
            with part.open("rb") as stream:
                yield from self._entries(str(part), stream)
        except OSError as error:
            raise InputError(f"{part}: {error.strerror or error}; {_HELP}") from error

    def _entries(self, file: str, stream: BinaryIO) -> Iterator[Found]:
        try:
            for entry in read(stream):
                yield Found(file=file, line=entry.line, record=entry.record, gap=entry.gap)
        except OSError as error:
            raise InputError(f"{file or self.name}: {error.strerror or error}") from error
        except InputError as error:
            line = _LINE.match(str(error))
            show = f"; `sed -n {line[1]}p {file}` shows it" if line and file else ""
            raise InputError(f"{file or self.name}: {error}{show}") from error


def source_of(files: Sequence[Path], url: str | None) -> Source:
    """Return what to read. Raises InputError where nothing is given, or too much."""
    if url is not None:
        if files:
            raise InputError(f"FILE = {files[0]} and --url = {url}, must be one of both; {_HELP}")
        return Source(url, [get(url, "/records", _LARGEST_PAGE)])
    if not files and (sys.stdin is None or sys.stdin.isatty()):
        raise InputError(
            "nothing to read: give the FILE that `records.path` names, - for standard input, "
            "or ask the daemon: `autoscaler explain --url http://localhost:8080`"
        )
    if not files or STDIN in files:
        if sys.stdin is None:
            raise InputError(f"standard input is closed, must give records; {_HELP}")
        if len(files) > 1:
            raise InputError(f"- (standard input) must stand alone, not beside files; {_HELP}")
        return Source("standard input", [STDIN])
    return Source(str(files[0]) if len(files) == 1 else f"{len(files)} files", list(_all(files)))


def _all(files: Sequence[Path]) -> Iterable[Path]:
    """Return each file with its rotated siblings, each once."""
    seen: dict[Path, None] = {}
    for file in files:
        for one in (*(numbered(file, number) for number in reversed(rotated(file))), file):
            seen.setdefault(one)
    return seen

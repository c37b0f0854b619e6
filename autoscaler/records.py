"""Reads records: JSON lines, one per cycle."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autoscaler.decision.record import Outcome, Record, from_json
from autoscaler.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A cycle that came to no decision."""

    version: int = 1
    target: str
    now: datetime
    outcome: Outcome
    reason: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line; either a record or a gap."""

    line: int
    """Its number, from 1."""
    record: Record | None = None
    gap: Gap | None = None


def read(stream: Iterable[bytes]) -> Iterator[Entry]:
    """Yield what each line says; a torn last one is dropped. Raises InputError with its number."""
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line.decode())
            if isinstance(data, dict) and "now" in data:
                yield Entry(line=number, gap=from_json(Gap, data))
            else:
                yield Entry(line=number, record=from_json(Record, data))
        except ValueError as error:
            if not line.endswith(b"\n"):
                return
            raise InputError(f"line {number}: {error}") from error


def read_files(path: Path) -> Iterator[Entry]:
    """Yield what a file and its rotated ones say, the oldest first. Raises InputError."""
    older = sorted(
        (each for each in path.parent.glob(f"{path.name}.*") if each.suffix[1:].isdigit()),
        key=lambda each: -int(each.suffix[1:]),
    )
    for name in (*older, path):
        try:
            with name.open("rb") as file:
                yield from read(file)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        except OSError as error:
            raise InputError(f"{name}: {error.strerror or error}") from error

"""Reading records: the lines of a file, of its rotated siblings, of a pipe."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoscaler.decision.fold import Gap, Unfolder
from autoscaler.decision.record import Record
from autoscaler.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line: a record, or a gap."""

    line: int
    """From 1."""
    record: Record | None = None
    gap: Gap | None = None


def read(stream: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the entries of one file. Raises InputError with the number of a line that is none.

    A last line that was cut is passed over: it is being written, or the disk was full.
    """
    unfolder = Unfolder()
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            found = unfolder.unfold(json.loads(line))
        except json.JSONDecodeError as error:
            if not line.endswith(b"\n"):
                return
            raise InputError(f"line {number}: not JSON: {error}") from error
        except (ValueError, RecursionError) as error:
            raise InputError(f"line {number}: {error}") from error
        if isinstance(found, Record):
            yield Entry(line=number, record=found)
        else:
            yield Entry(line=number, gap=found)


def files_of(path: Path) -> list[Path]:
    """Return a file and those that it was rotated into, the oldest first."""
    older = [one for one in path.parent.glob(f"{path.name}.*") if one.suffix[1:].isdigit()]
    return [*sorted(older, key=lambda one: -int(one.suffix[1:])), path]

"""Reads records: from a stream, or from a file and those that it was rotated to."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from autoscaler.decision.fold import Gap, Unfolder
from autoscaler.decision.record import VERSION, Record
from autoscaler.decision.refusal import shown
from autoscaler.errors import InputError

Json = Any

MIGRATIONS: dict[int, Callable[[Json], Json]] = {}
"""What makes a line of the next version of one of this version; `version` included."""

ANOTHER = "name another file: records.path of the configuration says where records are kept"
"""What to do about one that holds no records."""
_RULE = "must be one object"
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?')


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line, whole again; either a record or a gap."""

    line: int
    """Its number, from 1."""
    record: Record | None = None
    gap: Gap | None = None


def read(stream: Iterable[bytes], file: Path | None = None) -> Iterator[Entry]:
    """Yield what each line says. Raises InputError with the number of a line that is wrong.

    It is told by the name of the file, where it is one.

    A line that was cut in its middle, by a crash or a full disk, is dropped: whoever wrote it has
    begun anew behind it. Blank lines are passed over.
    """
    unfolder = Unfolder()
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line.decode())
        except RecursionError as error:
            raise _wrong(file, number, f"not JSON: nested too deeply, {_RULE}") from error
        except ValueError as error:
            if not _is_cut(line):
                raise _wrong(file, number, f"not JSON: {error}, {_RULE}") from error
            unfolder.begin_anew()
            continue
        try:
            cycle = unfolder.unfold(_migrated(data))
        except ValueError as refusal:
            raise _wrong(file, number, str(refusal)) from refusal
        if isinstance(cycle, Gap):
            yield Entry(line=number, gap=cycle)
        else:
            yield Entry(line=number, record=cycle)


def read_file(path: Path) -> Iterator[Entry]:
    """Yield what one file says, without those that it was rotated to. Raises InputError."""
    try:
        with path.open("rb") as stream:
            yield from read(stream, path)
    except OSError as error:
        raise unreadable(path, error) from error


def read_files(path: Path) -> Iterator[Entry]:
    """Yield what a file and its rotated ones say, the oldest first. Raises InputError.

    The daemon may go on writing meanwhile, and rotate them.
    """
    with ExitStack() as closing:
        files = _opened(path, closing)
        if not files:
            raise unreadable(path, FileNotFoundError())
        for name, file in reversed(files):
            try:
                yield from read(file, name)
            except OSError as error:
                raise unreadable(name, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """Return the refusal of a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        told, step = f"{path}: no such file, must be a file of records", ANOTHER
    elif isinstance(error, IsADirectoryError):
        told, step = f"{path}: is a directory, must be a file of records", ANOTHER
    else:
        told = (
            f"{path}: cannot be read: {error.strerror or error}, must be a file that you may read"
        )
        step = f"ls -l {quote(str(path))}"
    return InputError(told, next_step=step)


def rotated(path: Path) -> list[int]:
    """Return the numbers of the files that a file was rotated to, the newest first."""
    pattern = re.compile(re.escape(path.name) + r"\.([1-9][0-9]{0,8})")
    try:
        found = [pattern.fullmatch(each.name) for each in path.parent.iterdir()]
    except OSError:
        return []
    return sorted(int(match[1]) for match in found if match)


def numbered(path: Path, number: int) -> Path:
    """Return the name of a rotated file."""
    return path.parent / f"{path.name}.{number}"  # a path such as . has no name to put another for


def _opened(path: Path, closing: ExitStack) -> list[tuple[Path, BinaryIO]]:
    """Open all, the newest first, so that one that is rotated meanwhile is met again."""
    opened: list[tuple[Path, BinaryIO]] = []
    known = set()
    # What is rotated after this look at the folder is moved to the next number.
    numbers = {1, *(seen + later for seen in rotated(path) for later in (0, 1))}
    for name in [path, *(numbered(path, number) for number in sorted(numbers))]:
        try:
            file = closing.enter_context(name.open("rb"))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable(name, error) from error
        stat = os.fstat(file.fileno())
        if (stat.st_dev, stat.st_ino) not in known:
            known.add((stat.st_dev, stat.st_ino))
            opened.append((name, file))
    return opened


def _wrong(file: Path | None, number: int, why: str) -> InputError:
    if file is None:
        step = f"mend line {number} of the input, or leave it out"
        return InputError(f"line {number}: {why}", next_step=step)
    step = f"sed -n {number}p {quote(str(file))} shows the line: mend it, or leave it out"
    return InputError(f"{file}: line {number}: {why}", next_step=step)


def _is_cut(line: bytes) -> bool:
    """Tell whether the object that a line begins with is not closed, or the power failed in it."""
    if b"\0" in line:
        return True
    bare = _STRING.sub(b"", line)
    return line.lstrip().startswith(b"{") and bare.count(b"{") > bare.count(b"}")


def _migrated(data: Json) -> Json:
    """Return a line as the present version has it."""
    while isinstance(data, dict) and (version := data.get("version", VERSION)) != VERSION:
        known = version in MIGRATIONS if isinstance(version, int) else False
        if not known:
            names = " or ".join(str(each) for each in (*sorted(MIGRATIONS), VERSION))
            raise ValueError(
                f"version = {shown(version)}, must be {names}: another autoscaler wrote it, and "
                "can read it"
            )
        data = MIGRATIONS[version](data)
    return data

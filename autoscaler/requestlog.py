"""A log of requests as a file: CSV or CSV.gz, arrival_s, input_tokens, output_tokens[, user_id].

The columns are found by the header; others may be there, too. The first request arrives at
second 0. A refusal is an InputError with file, line, key and value.
"""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import inf, isfinite
from pathlib import Path
from shlex import quote
from typing import NamedTuple, NoReturn, TextIO

from autoscaler.errors import InputError

COLUMNS = ("arrival_s", "input_tokens", "output_tokens")
USER_COLUMN = "user_id"


class Row(NamedTuple):
    """One request of a log."""

    arrival_s: float
    input_tokens: int
    output_tokens: int
    user_id: str | None


def read_rows(path: Path, limit_s: float = inf) -> Iterator[Row]:
    """Yield the requests of the first `limit_s` seconds; there must be one. Raises InputError."""
    try:
        yield from _read_rows(path, limit_s)
    except InputError as error:
        shown = "zcat" if path.suffix == ".gz" else "cat"
        error.next_step = f"{shown} {quote(str(path))} | head -3, which begins {','.join(COLUMNS)}"
        raise


def _read_rows(path: Path, limit_s: float) -> Iterator[Row]:
    empty = True
    try:
        with _open(path) as text:
            for row in _rows(path, text, limit_s):
                empty = False
                yield row
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"trace {path}: {reason}, must be a readable CSV or CSV.gz") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"trace {path}: {error}, must be CSV in UTF-8") from error
    if empty:
        raise InputError(f"trace {path}: no requests, must have at least one row below its header")


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _rows(path: Path, text: TextIO, limit_s: float) -> Iterator[Row]:
    reader = csv.reader(text)
    header = next((row for row in reader if row), [])
    missing = [key for key in COLUMNS if key not in header]
    if missing:
        raise InputError(
            f"trace {path}, line 1: header = {','.join(header)!r}, must have {', '.join(missing)}"
        )
    at, tokens_in, tokens_out = map(header.index, COLUMNS)
    user = header.index(USER_COLUMN) if USER_COLUMN in header else None
    first = before = None
    for row in reader:
        if not row:
            continue
        try:
            arrival, asked, answered = float(row[at]), row[tokens_in], row[tokens_out]
        except (ValueError, IndexError):
            _refuse(path, reader.line_num, header, row)
        good = isfinite(arrival) and arrival >= 0 and _is_count(asked) and _is_count(answered)
        if not good:
            _refuse(path, reader.line_num, header, row)
        if before is not None and arrival < before:
            raise InputError(
                f"trace {path}, line {reader.line_num}: arrival_s = {row[at]!r},"
                " must not go back in time"
            )
        first = arrival if first is None else first
        before = arrival
        if arrival - first >= limit_s:
            return
        who = row[user] or None if user is not None and user < len(row) else None
        yield Row(arrival - first, int(asked), int(answered), who)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) >= 1


def _refuse(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> NoReturn:
    """Say which value of a row is none."""
    held = dict(zip(header, row, strict=False))
    where, arrival = f"trace {path}, line {line}", -1.0
    with suppress(ValueError, TypeError):
        arrival = float(held.get("arrival_s") or "")
    key, rule = "arrival_s", "must be a number of seconds, 0 or more"
    if isfinite(arrival) and arrival >= 0:
        key = next(each for each in COLUMNS[1:] if not _is_count(held.get(each) or ""))
        rule = "must be a whole number, 1 or more"
    raise InputError(f"{where}: {key} = {held.get(key)!r}, {rule}")

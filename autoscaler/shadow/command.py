"""`autoscaler shadow-report`: from what the command line gives to what it prints."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from autoscaler.adapters.prometheus_range import PrometheusHistory
from autoscaler.errors import AutoscalerError, InputError
from autoscaler.records import Entry, read_file, read_files
from autoscaler.settings import PrometheusSettings
from autoscaler.shadow.compare import compare
from autoscaler.shadow.page import to_html
from autoscaler.shadow.report import Report, plain
from autoscaler.shadow.survey import Window, survey
from autoscaler.shadow.text import render
from autoscaler.shadow.theirs import ByRecords, ask_prometheus

_PATIENCE = timedelta(seconds=30)
"""For each question about a span of time; a cycle's own patience is for one instant."""
_EXAMPLE = "2026-11-23T10:00:00Z"
_SHORTEST_STEP = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be compared."""

    files: Sequence[Path]
    """One with those that it was rotated to, or several, each alone."""
    prometheus: PrometheusSettings | None = None
    """Who knows the replicas that there were; None: the records."""
    target: str | None = None
    begin: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How it is to be told."""

    as_json: bool = False
    html: Path | None = None
    width: int | None = None
    """Of the terminal; None: there is none."""


def compare_records(asked: Asked) -> Report:
    """Read, ask, compare. Raises InputError, ObserveError."""
    window = Window(begin=_time("--from", asked.begin), end=_time("--to", asked.end))
    files = _in_order(asked.files)

    def entries() -> Iterator[Entry]:
        return (
            read_files(files[0]) if len(files) == 1 else chain.from_iterable(map(read_file, files))
        )

    found = survey(entries, asked.target, window)
    if asked.prometheus is None:
        return compare(entries, found, window, ByRecords())
    settings = asked.prometheus
    history = PrometheusHistory(
        settings.url,
        _PATIENCE,
        bearer_token_file=settings.bearer_token_file,
        ca_file=settings.ca_file,
        headers={name: value.get_secret_value() for name, value in settings.headers.items()},
    )
    step = max(found.interval, _SHORTEST_STEP)
    done = ask_prometheus(history, found.target, found.first, found.last, step)
    return compare(entries, found, window, done)


def tell(report: Report, told: Told) -> str:
    """Write the page where one is wanted, and return what to print. Raises AutoscalerError."""
    if told.html is not None:
        write_page(report, told.html)
    if told.as_json:
        return json.dumps(plain(report), indent=2, allow_nan=False)
    more = "" if told.html is None else f"\n\npage  {told.html}"
    return render(report, width=told.width) + more


def write_page(report: Report, path: Path) -> None:
    """Write the page. Raises AutoscalerError."""
    try:
        path.write_text(to_html(report), encoding="utf-8")
    except OSError as error:
        why = error.strerror or error
        raise AutoscalerError(
            f"--html = {path}: cannot be written: {why}, must be a file in a folder that takes it",
            next_step="name another file with --html",
        ) from error


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InputError(
            f"{option} = {text}, must be a time with its zone such as {_EXAMPLE}",
            next_step=f"type it again with {option} {_EXAMPLE}",
        )
    return at


def _in_order(files: Sequence[Path]) -> list[Path]:
    """Return files by the time of their first line: a shell lists rotated ones the newest first."""
    if len(files) < 2:
        return list(files)
    begun = [(first, path) for path in files if (first := _first(path)) is not None]
    return [path for _, path in sorted(begun)]


def _first(path: Path) -> datetime | None:
    for entry in read_file(path):
        if entry.record is not None:
            return entry.record.observation.now
    return None

"""Showing a status: a table on a terminal, lines elsewhere, or JSON; once, or again and again."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autoscaler.adapters.daemon_http import NoAnswerError
from autoscaler.adapters.lines import printable
from autoscaler.errors import InputError, told
from autoscaler.status.asking import ask
from autoscaler.status.rows import Row, head_of, rows_of

_PAUSE_SECONDS = 2.0
"""Between two looks."""

Json = dict[str, Any]
Say = Callable[[str], bool]
"""Writes a line to standard output; False where nobody reads any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusOptions:
    """What is asked for."""

    url: str
    target: str | None = None
    watch: bool = False
    as_json: bool = False


def show_status(options: StatusOptions, say: Say) -> int:
    """Show it, and return the exit code. Raises NoAnswerError, InputError."""
    first = _asked(options)  # where even this fails, there is nothing to watch
    on_terminal = sys.stdout is not None and sys.stdout.isatty()
    if options.watch and on_terminal and not options.as_json:
        _watch_live(options, first)
    elif options.watch:
        _watch_lines(options, first, say)
    elif options.as_json:
        say(json.dumps(first, indent=2))
    elif on_terminal:
        console = Console()
        with console.capture() as drawn:
            console.print(picture(first))
        say(drawn.get().rstrip("\n"))
    else:
        for line in lines(first):
            if not say(line):
                break
    return 0


def _asked(options: StatusOptions) -> Json:
    """Return the status, of one target alone where it is named."""
    status = ask(options.url, options.target)
    if options.target is None:
        return status
    chosen = [each for each in status["targets"] if each["target"] == options.target]
    if not chosen:
        raise _no_such(options, [each["target"] for each in ask(options.url)["targets"]])
    return status | {"targets": chosen}


def _no_such(options: StatusOptions, names: Sequence[str]) -> InputError:
    again = f"autoscaler status --url {quote(options.url)}"
    if not names:
        rule = "must be one that the daemon has looked at: it has not looked at any yet"
        return InputError(f"--target = {options.target}, {rule}", next_step=f"{again} --watch")
    return InputError(
        f"--target = {options.target}, must be one of {', '.join(names)}",
        next_step=f"{again} --target {quote(names[0])}",
    )


# --- how it looks -------------------------------------------------------------------------------


def lines(status: Json) -> list[str]:
    """Return the status in lines: one for the daemon, one for each target."""
    return [head_of(status), *(line(row) for row in rows_of(status))]


def line(row: Row) -> str:
    """Return what there is to say of a target on one line."""
    replicas = f"replicas {row.replicas}" if row.replicas else ""
    following = f"next: {row.next}" if row.next else ""
    parts = (replicas, ", ".join(row.metrics), row.decision, following)
    age = f" ({row.age} ago{', late' if row.is_late else ''})" if row.age else ""
    return f"{row.target}: {'; '.join(filter(None, parts))}{age}"


def picture(status: Json, trouble: str = "") -> Group:
    """Return the status as a table."""
    table = Table(show_edge=False, pad_edge=False)
    for title in ("target", "replicas", "metrics", "decision", "next", "last cycle"):
        table.add_column(title, overflow="fold")
    for row in rows_of(status):
        table.add_row(
            Text(row.target),
            Text(row.replicas),
            Text("\n".join(row.metrics)),
            Text(row.decision, style="red" if row.is_bad else ""),
            Text(row.next or "-"),
            Text(f"{row.age} ago" if row.age else "", style="yellow" if row.is_late else ""),
        )
    head = Text(head_of(status), style="bold")
    return Group(head, table, *([Text(printable(trouble), style="red")] if trouble else []))


# --- again and again ----------------------------------------------------------------------------


def _watch_live(options: StatusOptions, status: Json) -> None:
    trouble = ""
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            live.update(picture(status, trouble), refresh=True)
            time.sleep(_PAUSE_SECONDS)
            status, trouble = _again(options, status)


def _watch_lines(options: StatusOptions, status: Json, say: Say) -> None:
    """Write a line for whatever is new; in JSON, one line for each answer."""
    before: Mapping[str, str] = {}
    trouble = ""
    while True:
        found = _news(status, trouble, as_json=options.as_json)
        for key, text in found.items():
            if before.get(key) != text and text and not say(text):
                return
        before = found
        time.sleep(_PAUSE_SECONDS)
        status, trouble = _again(options, status)


def _again(options: StatusOptions, before: Json) -> tuple[Json, str]:
    """Ask again; where there is no answer, what was known stays, and the reason is told."""
    try:
        return _asked(options), ""
    except (NoAnswerError, InputError) as error:
        return before, told(error)


def _news(status: Json, trouble: str, *, as_json: bool) -> dict[str, str]:
    """Return what may be told, by what it is about; the age of a cycle alone is no news."""
    if as_json:
        return {"": json.dumps(status)}
    rows = {row.target: line(row) for row in map(_ageless, rows_of(status))}
    return {"": head_of(status), **rows, "?": printable(trouble)}


def _ageless(row: Row) -> Row:
    return replace(row, age="late" if row.is_late else "")

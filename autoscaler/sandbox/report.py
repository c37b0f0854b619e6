"""The end of a run: a table for the terminal and a page to keep."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from autoscaler.sandbox.page import ROWS, to_html
from autoscaler.sandbox.summary import Change, LaneSummary, Run, Span

__all__ = ["Change", "LaneSummary", "Run", "Span", "print_summary", "to_html", "write_html"]


def print_summary(run: Run, console: Console) -> None:
    """Print the lanes side by side."""
    table = Table(title=run.title, title_justify="left", caption_justify="left")
    table.caption = f"simulated time, {run.speed:g} times as fast as real time"
    table.add_column("")
    for lane in run.lanes:
        table.add_column(lane.name, justify="right")
    for label, show in ROWS:
        table.add_row(label, *(show(lane) for lane in run.lanes))
    console.print(table)


def write_html(run: Run, path: Path) -> None:
    """Write the page. Raises OSError."""
    path.write_text(to_html(run), encoding="utf-8")

"""What the tests have measured, and the table of it at the end of a run."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table


class Figures(dict):
    """Figures of one test, by what they are: `figures["cut streams"] = 0`."""

    def of_streams(self, told) -> None:
        """Count requests: all, cut ones, refused ones."""
        self["requests"] = len(told)
        self["cut streams"] = sum(one.cut for one in told)
        self["5xx or no answer"] = sum(one.refused for one in told)


def read(file: Path) -> list[dict]:
    """Return what was kept, in the order of its time."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return sorted((json.loads(line) for line in lines), key=lambda line: line["at"])


def show(lines: list[dict], console: Console) -> None:
    """Print a row for each test: what it is about, what it came to, its figures."""
    table = Table(title="On a real Kubernetes", show_lines=True, width=min(console.width, 160))
    table.add_column("test", overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column("figures", overflow="fold", ratio=2)
    table.add_column("s", justify="right")
    for line in lines:
        figures = ", ".join(f"{name} {value}" for name, value in line["figures"].items())
        name = line["test"].partition("::")[2] or line["test"]
        table.add_row(
            f"{name}\n[dim]{line['about']}[/]", line["outcome"], figures, f"{line['seconds']:.0f}"
        )
    console.print(table)

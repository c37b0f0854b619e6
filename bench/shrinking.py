"""Shrinks thirty times while streams run: who had to go, and whether anybody noticed.

Three runs of the real gateway, Prometheus and daemon: as shipped; with the daemon killed again and
again, every second time between the marking of a victim and the write; and with no gateway to ask.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.sandbox.shrinking import Shrinking, shrink

SHRINKS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
RUNS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "daemon killed": {"kills": True},
    "chosen blindly": {"ranked": False},
}


async def run() -> dict[str, Shrinking]:
    """Return what each run met."""
    found = {}
    for name, options in RUNS.items():
        with tempfile.TemporaryDirectory() as directory:
            print(f"{name}: {SHRINKS} times ...", file=sys.stderr)
            found[name] = await shrink(Path(directory), SHRINKS, **options)
    return found


def main() -> int:
    """Print the table; answers 1 where a stream was cut."""
    found = asyncio.run(run())
    table = Table(title="shrinking while streams run")
    table.add_column("")
    for name in found:
        table.add_column(name, justify="right")
    rows = {
        "scale-downs": lambda one: one.shrinks,
        "replicas deleted": lambda one: one.deleted,
        "of these with a request, so that they had to drain": lambda one: one.busy,
        "streams": lambda one: one.streams,
        "streams cut": lambda one: len(one.cut),
        "daemon killed": lambda one: one.kills,
        "of these between mark and write": lambda one: one.between,
        "marks left behind": lambda one: one.left_marked,
    }
    for title, value in rows.items():
        table.add_row(title, *(str(value(one)) for one in found.values()))
    Console().print(table)
    return int(any(one.cut for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())

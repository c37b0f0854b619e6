"""The daemon's own parts, driven as fast as they can: a child of `many.py`.

Usage: python bench/cycling.py CONFIG CYCLES, with the daemon's environment. Prints the memory a few
times, and `end`.
"""

import gc
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import stage

from autoscaler import bootstrap, outfit
from autoscaler.settings import load

_WORKERS = 16


class SteppingClock:
    """A clock that moves on by an interval each round, so that windows fill as they would."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def step(self, interval: timedelta) -> None:
        """Begin the next round."""
        self._now += interval

    def now(self) -> datetime:
        """Return this round's time."""
        return self._now

    def monotonic(self) -> float:
        """Return real seconds: durations are measured."""
        return time.perf_counter()


def main(config: Path, cycles: int) -> None:
    """Run so many cycles of each target."""
    settings = load(config, {k: v for k, v in os.environ.items() if k.startswith("AUTOSCALER_")})
    clock = SteppingClock()
    bootstrap.SystemClock = lambda: clock  # type: ignore[assignment, misc]
    with Path(os.devnull).open("w") as out:
        daemon = bootstrap.build(settings, out)

"""The daemon's own parts, driven as fast as they can: a child of `many.py`.

Usage: python bench/cycling.py CONFIG CYCLES, with the daemon's environment. Prints the memory a few
times.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import stage

from autoscaler import bootstrap
from autoscaler.settings import load

_WORKERS = 16
_FAILURES = "autoscaler_consecutive_failures{"
_SHOWN = (0.01, 0.1, 0.25, 0.5, 0.75, 1)
"""Parts of the cycles after which the memory is told."""


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
    """Run so many cycles of each target; say what is resident on the way."""
    clock = SteppingClock()
    bootstrap.SystemClock = lambda: clock  # type: ignore[assignment, misc]
    settings = load(config, {k: v for k, v in os.environ.items() if k.startswith("AUTOSCALER_")})
    shown = {round(part * cycles) for part in _SHOWN}
    with Path(os.devnull).open("w") as out, ThreadPoolExecutor(_WORKERS) as pool:
        works = bootstrap._Works(settings, out, dry_run=False)  # noqa: SLF001
        works.apply(settings)
        loops = list(works._fleet.cycles.values())  # noqa: SLF001
        for number in range(1, cycles + 1):
            clock.step(settings.interval)
            list(pool.map(lambda cycle: cycle(), loops))
            if number in shown:
                failing = _failing(works.pages()["/metrics"]().body.decode())
                told = f"  {failing} TARGETS FAIL" if failing else ""
                print(f"  after {number:>5,}: {stage.resident_mib():.1f} MiB{told}", flush=True)


def _failing(page: str) -> int:
    lines = [line for line in page.splitlines() if line.startswith(_FAILURES)]
    return sum(not line.endswith(" 0.0") for line in lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

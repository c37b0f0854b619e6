"""What one daemon needs for many targets: time, processor and memory, on one core.

First the daemon as its operator runs it, at 1, 100 and 1,000 targets, with the shipped metrics and
three pods each; the API, the gateway and (but in the last row) Prometheus are `fakes.py`, on other
cores. A real Prometheus takes more for a thousand of the shipped CPU queries, each of which goes
through the names of 3,000 pods, than the daemon does for everything: there a rule has recorded
them. Then the same parts driven as fast as they can for 1,000 cycles, by a clock that moves on by
an interval each time: is memory flat?

Usage: python bench/many.py [--rounds N] [--cycles N] [--cycling N] [--hanging N]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stage

PODS = 3
LEARNING_SECONDS = 90.0
"""Each query that hangs has to hang once before it is known."""
SIZES = ((1, "100ms", 100), (100, "1s", 10), (1000, "5s", 4))
"""Targets, interval and rounds: so that each has time enough to be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a daemon needed while it ran for some rounds."""

    cycles: Sequence[float]
    """Seconds of each."""
    cpu_seconds: float
    wall_seconds: float
    resident_mib: float
    page_seconds: float
    """To fetch /metrics."""
    failed: int


def measure(
    targets: int, interval: str, rounds: int, *, real: bool = False, hanging: int = 0
) -> Measured:
    """Run the daemon for so many rounds, after one that does not count.

    The queries of `hanging` targets are never answered; their own cycles are not among the result.
    """
    seconds = (
        float(interval.removesuffix("ms")) / 1000 if "ms" in interval else float(interval[:-1])
    )
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        _, api = open_.enter_context(stage.fakes(PODS))
        prometheus = api
        hung = {stage.name_of(number) for number in range(hanging)}
        for name in hung:
            stage.get(f"{api}/hang/{name}")
        if real:
            for number in range(targets):
                stage.get(f"{api}/load/{stage.name_of(number)}/{0.75 * PODS}")
            prometheus = open_.enter_context(stage.prometheus(folder, api))
            time.sleep(stage.SETTLE_SECONDS)
        config = stage.configuration(folder, targets, recorded=real)
        environ = stage.environment(folder, api, prometheus) | {"AUTOSCALER_INTERVAL": interval}
        daemon = open_.enter_context(stage.daemon(config, environ))
        address = next(e["http"] for e in events(daemon) if e["event"] == "started")
        time.sleep(LEARNING_SECONDS if hanging else 1.5 * seconds)
        list(daemon.come())
        cpu, wall = daemon.cpu_seconds, time.perf_counter()
        time.sleep(rounds * seconds)
        cpu, wall = daemon.cpu_seconds - cpu, time.perf_counter() - wall
        told = [json.loads(line) for line in daemon.come()]
        resident = daemon.resident_mib
        page = time.perf_counter()
        stage.get(f"http://{address}/metrics")
        page = time.perf_counter() - page
    cycles = [
        event
        for event in told
        if event["event"] == "cycle" and event["target"].partition("/")[2] not in hung
    ]
    return Measured(
        cycles=[event["duration"] for event in cycles],
        cpu_seconds=cpu,
        wall_seconds=wall,
        resident_mib=resident,
        page_seconds=page,
        failed=sum(not is_good(event) for event in cycles),
    )


def is_good(cycle: Mapping[str, Any]) -> bool:
    """Tell whether a cycle saw everything and held, as it should."""
    qualities = [metric["quality"] for metric in cycle.get("metrics", {}).values()]
    return cycle["outcome"] == "held" and qualities == ["Fresh", "Fresh"]


def events(daemon: stage.Child) -> Iterator[dict[str, Any]]:
    """Yield the daemon's log lines as they come."""
    while True:
        yield json.loads(daemon.line())


def table(rounds: int, hanging: int) -> None:
    """Print a row per size, and one with so many targets whose queries hang."""
    print(
        "one daemon on one core, shipped metrics, 3 pods each; CPU: of the whole process\n"
        f"{'targets':>8} {'interval':>8} {'cycles':>7} {'p50':>8} {'p99':>8} {'CPU/cycle':>10} "
        f"{'CPU/round':>10} {'of a core':>9} {'memory':>9} {'/metrics':>9}"
    )
    for size, interval, count in SIZES:
        show(size, interval, measure(size, interval, round(count * rounds / 4)))
    size, interval, _ = SIZES[-1]
    found = measure(size, interval, rounds, real=True)
    show(size, interval, found, "a real Prometheus, CPU recorded")
    if hanging:
        found = measure(size, interval, rounds, hanging=hanging)
        show(size - hanging, interval, found, f"beside {hanging} whose queries hang")


def show(targets: int, interval: str, found: Measured, remark: str = "") -> None:
    """Print a row."""
    quantiles = statistics.quantiles(found.cycles, n=100)
    per_cycle = found.cpu_seconds / len(found.cycles)
    if found.failed:
        remark += f" {found.failed} CYCLES LACKED SOMETHING"
    print(
        f"{targets:>8,} {interval:>8} {len(found.cycles):>7,} {quantiles[49] * 1e3:>5.1f} ms "
        f"{quantiles[98] * 1e3:>5.1f} ms {per_cycle * 1e3:>7.2f} ms {per_cycle * targets:>8.2f} s "
        f"{found.cpu_seconds / found.wall_seconds:>9.0%} {found.resident_mib:>5.0f} MiB "
        f"{found.page_seconds:>7.2f} s  {remark}".rstrip(),
        flush=True,
    )


def memory(cycles: int, targets: int) -> None:
    """Print the memory over many cycles."""
    script = str(Path(__file__).with_name("cycling.py"))
    with tempfile.TemporaryDirectory() as name, stage.fakes(PODS) as (_, api):
        folder = Path(name)
        config = stage.configuration(folder, targets)
        environ = stage.environment(folder, api, api)
        environ["AUTOSCALER_LEADERSHIP__ENABLED"] = "false"  # its clock is not ours to move
        command = (sys.executable, script, str(config), str(cycles))
        with stage.running(*command, cores=stage.DAEMONS_CORE, environ=environ) as child:
            print(f"\nmemory of {targets:,} targets over {cycles:,} cycles of each:", flush=True)
            for line in iter(child.line, ""):
                print(line, end="", flush=True)


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="of 5 s, at 1,000 targets")
    parser.add_argument("--cycles", type=int, default=1000, help="of each target, for memory")
    parser.add_argument("--cycling", type=int, default=20, help="targets, for memory")
    parser.add_argument("--hanging", type=int, default=0, help="of 1,000 in one more row (2 min)")
    given = parser.parse_args()
    table(given.rounds, given.hanging)
    memory(given.cycles, given.cycling)


if __name__ == "__main__":
    main()

"""From a request that enters the queue to the patch of the replicas, as a person waits for it.

Measured: a real Prometheus scrapes an exporter, which stands for HAProxy, every 2 s; the daemon
runs with the shipped configuration, every 5 s. Many Deployments, in each of them one request more
at a moment of its own; the time ends when the patch arrives at the API.

Computed: the same for other autoscalers, from the periods that are their defaults, with the same
scrape. A request comes at any moment of every period that it has to wait for, so the time is a sum
of uniformly distributed ones, U(0, period) each; what they take to work is not counted.

Usage: python bench/react.py [--arrivals N]
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import stage

PODS = 2
BEFORE, AFTER = 1.5, 2.5
"""Requests in the system: 0.75 per replica holds, one more is too many for two."""
_ARRIVING_SECONDS = 20.0
_LONGEST_SECONDS = 30.0

COMPUTED: Sequence[tuple[str, Sequence[float]]] = (
    ("this daemon's periods: scrape 2 s, cycle 5 s", (2, 5)),
    ("HPA on a metric of Prometheus: scrape 2 s, sync 15 s", (2, 15)),
    ("HPA on CPU: metrics-server 15 s, sync 15 s", (15, 15)),
    ("KEDA from 1 up, which is an HPA: scrape 2 s, sync 15 s", (2, 15)),
    ("KEDA from 0 to 1: scrape 2 s, polling 30 s", (2, 30)),
    ("Knative: tick 2 s, before its windows of 6 s and 60 s", (2,)),
)
_STEP = 0.005


def quantiles(periods: Sequence[float], wanted: Sequence[float]) -> Sequence[float]:
    """Return quantiles of a sum of U(0, period), by adding up small steps."""
    density = [1.0]
    for period in periods:
        width, total, sums = round(period / _STEP), 0.0, []
        for number in range(len(density) + width - 1):
            total += density[number] if number < len(density) else 0.0
            total -= density[number - width] if number >= width else 0.0
            sums.append(total / width)
        density = sums
    found, reached = [], 0.0
    for number, part in enumerate(density):
        reached += part
        while len(found) < len(wanted) and reached >= wanted[len(found)]:
            found.append((number + 0.5 * len(periods)) * _STEP)
    return found


def measure(arrivals: int) -> Sequence[float]:
    """Return the seconds of so many arrivals."""
    names = [stage.name_of(number) for number in range(arrivals)]
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory()))
        fakes, api = open_.enter_context(stage.fakes(PODS))
        for name in names:
            stage.get(f"{api}/load/{name}/{BEFORE}")
        url = open_.enter_context(stage.prometheus(folder, api))
        config = stage.configuration(folder, arrivals)
        open_.enter_context(stage.daemon(config, stage.environment(folder, api, url)))
        time.sleep(stage.SETTLE_SECONDS)
        if early := list(fakes.come()):
            raise RuntimeError(f"patched before anybody came: {early[0]}")
        random.shuffle(names)
        moments = sorted(random.uniform(0, _ARRIVING_SECONDS) for _ in names)
        arrived = {}
        began = time.monotonic()
        for name, at in zip(names, moments, strict=True):
            time.sleep(max(0.0, began + at - time.monotonic()))
            arrived[name] = time.monotonic()
            stage.get(f"{api}/load/{name}/{AFTER}")
        patched: dict[str, float] = {}
        until = time.monotonic() + _LONGEST_SECONDS
        while len(patched) < arrivals and time.monotonic() < until:
            time.sleep(0.1)
            for line in fakes.come():
                at, name, _ = line.split()
                patched.setdefault(name, float(at))
    if len(patched) < arrivals:
        raise RuntimeError(f"{arrivals - len(patched)} were never patched")
    return [patched[name] - arrived[name] for name in names]


def row(what: str, how: str, values: Sequence[float]) -> None:
    """Print one row."""
    print(f"{what:<58} {how:<9}" + "".join(f"{value:>7.1f} s" for value in values), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrivals", type=int, default=60)
    found = measure(parser.parse_args().arrivals)
    print("from a request that enters the queue to the patch of the replicas")
    print(f"{'':<68}{'p50':>9}{'p99':>9}{'longest':>9}")
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    title = f"this daemon, {len(found)} arrivals at random moments"
    row(title, "measured", (cuts[49], cuts[98], max(found)))
    for what, periods in COMPUTED:
        row(what, "computed", (*quantiles(periods, (0.5, 0.99)), sum(periods)))
    print("computed: sums of U(0, period), the periods being defaults; without the time to work")


if __name__ == "__main__":
    main()

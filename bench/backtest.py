"""How many requests a second the backtest's engine runs, beside a plain SimPy version of the queue.

First the same queue in both: one slot per replica, a fixed number of them, first come, first
served; the waits must be the same. Then a day with our policy deciding every 5 s, or a trace
instead of it. Made-up traffic, CPU seconds of one core.
Usage: python bench/backtest.py [--requests N] [TRACE.csv.gz]
"""

import argparse
import random
import time
from array import array
from collections.abc import Callable, Generator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import simpy

from autoscaler.backtest.engine import simulate
from autoscaler.backtest.ours import Ours
from autoscaler.backtest.requests import Requests, make, read
from autoscaler.backtest.scaler import Fixed
from autoscaler.backtest.service import Service, service_named
from autoscaler.settings import load, to_policy

T = TypeVar("T")
LAPTOP = service_named("3b-laptop")
REPLICAS = 6


def traffic(count: int, busy: float) -> Requests:
    """Return Poisson arrivals, so many busy slots on average; answers of exponential length."""
    draw = random.Random(1)
    mean = LAPTOP.seconds(320, 60)
    at, rows = 0.0, []
    for _ in range(count):
        at += draw.expovariate(busy / mean)
        rows.append((at, draw.randint(20, 620), 1 + int(draw.expovariate(1 / 60))))
    return make("made up", rows)


def plain_simpy(requests: Requests, service: Service, replicas: int) -> "array[float]":
    """Return the waits of the same queue, written as SimPy's manual does it."""
    environment = simpy.Environment()
    slots = simpy.Resource(environment, capacity=replicas)
    waits = array("d", bytes(8 * len(requests)))

    def request(number: int, seconds: float) -> Generator[Any, Any, None]:
        arrived = environment.now
        with slots.request() as slot:
            yield slot
            waits[number] = environment.now - arrived
            yield environment.timeout(seconds)

    def arrivals() -> Generator[Any, Any, None]:
        for number, (at, seconds) in enumerate(zip(requests.arrival, work, strict=True)):
            yield environment.timeout(at - environment.now)
            environment.process(request(number, seconds))

    work = requests.work(service)
    environment.process(arrivals())
    environment.run()
    return waits


def timed(what: str, count: int, run: Callable[[], T]) -> T:
    """Print one line, and return what came out."""
    began = time.process_time()
    found = run()
    spent = time.process_time() - began
    print(f"{what}: {count / spent:,.0f} requests/s ({count:,} in {spent:.2f} s)")
    return found


def main() -> None:
    """Print one line per figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trace", nargs="?", type=Path)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    plain = replace(LAPTOP, patience=inf, queue_limit=10**9, idle_unload=inf)
    log = traffic(options.requests, busy=0.8 * REPLICAS)
    count = len(log)
    label = f"{REPLICAS} fixed replicas"
    run = timed(f"engine, {label}", count, lambda: simulate(log, plain, Fixed(), initial=REPLICAS))
    waits = timed(f"SimPy, {label}", count, lambda: plain_simpy(log, plain, REPLICAS))
    apart = max(abs(one - other) for one, other in zip(run.wait, waits, strict=True))
    print(f"their waits differ by at most {apart:.0e} s")
    if apart > 1e-6:
        raise SystemExit("the two do not simulate the same queue")
    shipped = to_policy(load(Path("config/autoscaler.yaml"), {}).targets[0])
    day = read(options.trace) if options.trace else traffic(30_000, busy=2.0)
    ours = Ours(replace(shipped, max_replicas=100))
    what = f"engine, ours every 5 s over {day.span / 86400:.2f} days"
    run = timed(what, len(day), lambda: simulate(day, LAPTOP, ours, initial=2))
    mean = sum(visit.seconds for visit in run.visits) / run.end
    print(f"  {ours.cycles:,} cycles, {ours.decided:,} decided, {mean:.1f} replicas on average")


if __name__ == "__main__":
    main()

"""How many decisions and records one core makes in a second.

A long memory (an hour of window at 5 s), two metrics, eight pods: heavier than the shipped
policy. Usage: python bench/decide.py
"""

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from autoscaler.decision.decide import decide
from autoscaler.decision.model import (
    Metric,
    Observation,
    Pod,
    Policy,
    Recommendation,
    Sample,
    Samples,
    Scaling,
    ScalingState,
)
from autoscaler.decision.record import to_json
from autoscaler.decision.words import MetricType

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
PODS = [f"ollama-{i}" for i in range(8)]


def cycle(window: timedelta) -> tuple[Policy, ScalingState, Observation]:
    """Return the arguments of one decision with a window full of recommendations."""
    policy = Policy(
        min_replicas=2,
        max_replicas=20,
        metrics=(
            Metric(name="queue_depth", type=MetricType.TOTAL, target=0.8),
            Metric(name="cpu_to_limit", type=MetricType.POD, target=0.7),
        ),
        scale_up=Scaling(),
        scale_down=Scaling(stabilization_window=window, tolerance=0.2),
        hold_limit=timedelta(minutes=15),
        pending_limit=timedelta(minutes=5),
        conflict_hold=timedelta(minutes=10),
    )
    ages = range(5, int(window.total_seconds()), 5)
    past = tuple(Recommendation(at=NOW - timedelta(seconds=age), replicas=8) for age in ages)
    cpu = tuple(Sample(labels={"pod": pod}, value=0.6, at=NOW) for pod in PODS)
    observation = Observation(
        now=NOW,
        current=8,
        ready=8,
        pods=tuple(Pod(name=pod, created=NOW) for pod in PODS),
        metrics={
            "queue_depth": Samples(samples=(Sample(value=4.0, at=NOW),)),
            "cpu_to_limit": Samples(samples=cpu),
        },
    )
    return (
        policy,
        ScalingState(last_cycle=NOW - timedelta(seconds=5), recommendations=past),
        observation,
    )


def per_second(work: Callable[[], object], rounds: int = 5, seconds: float = 0.4) -> float:
    """Return the median rate of several short rounds."""
    rates = []
    for _ in range(rounds):
        count, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            work()
            count += 1
        rates.append(count / spent)
    return statistics.median(rates)


def main() -> None:
    """Print one line per figure."""
    for label, window in (
        ("5 min window", timedelta(minutes=5)),
        ("60 min window", timedelta(hours=1)),
    ):
        arguments = cycle(window)
        rate = per_second(lambda arguments=arguments: decide(*arguments))
        print(f"decide, {label}: {rate:,.0f} decisions/s, {1e6 / rate:,.0f} µs each")
    arguments = cycle(timedelta(minutes=5))
    rate = per_second(lambda: json.dumps([to_json(value) for value in arguments]))
    print(f"policy, state and observation to JSON: {rate:,.0f}/s, {1e6 / rate:,.0f} µs each")


if __name__ == "__main__":
    main()

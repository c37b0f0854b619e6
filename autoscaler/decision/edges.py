"""Where the value of one metric makes a difference: the places to look at, and how it is put in."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from autoscaler.decision.model import Observation, Policy, Samples
from autoscaler.decision.numbers import EPSILON
from autoscaler.decision.quality import Reading
from autoscaler.decision.words import MetricType

_BISECTIONS = 24


def value_of(reading: Reading, seen: Observation) -> float | None:
    """Return a metric's value as people know it: the total, or the mean of the pods with a sample.

    None where there is no sample that could have another value.
    """
    answer = seen.metrics.get(reading.metric.name)
    if not isinstance(answer, Samples) or not answer.samples or not reading.counted:
        return None
    return reading.load / reading.counted


def with_value(seen: Observation, metric: str, present: float, value: float) -> Observation:
    """Return the observation with another value of one metric; pods keep their shares of it."""
    answer = seen.metrics[metric]
    samples = answer.samples if isinstance(answer, Samples) else ()
    other = tuple(
        replace(each, value=each.value / present * value if present else value) for each in samples
    )
    return replace(seen, metrics={**seen.metrics, metric: Samples(samples=other)})


def places(policy: Policy, reading: Reading, most: int) -> Iterable[float]:
    """Yield the values at which a rule about the metrics may turn, for up to so many replicas."""
    metric, count = reading.metric, reading.counted
    edges = (1.0, 1 + policy.scale_up.tolerance, 1 - policy.scale_down.tolerance)
    filled = {0, reading.lacking} if metric.type is MetricType.POD else {0}
    for replicas in range(most + 2):
        for edge in edges:
            for more in filled:
                yield metric.target * (replicas * edge - more) / count
    yield EPSILON


def find_edge(
    holds: Callable[[float], bool], present: float, where: Iterable[float], near: float
) -> tuple[float, float] | None:
    """Return where, going from the present value through places in order, it holds no more.

    The second number is a value just beyond. None where it holds as far as the last place.
    """
    points: Sequence[float] = (present, *where)
    middles = [(one + other) / 2 for one, other in pairwise(points)]
    index = bisect_left(middles, True, key=lambda value: not holds(value))  # noqa: FBT003
    if index == len(middles):
        return None
    inside, beyond = (middles[index - 1] if index else present), middles[index]
    side = near if beyond > inside else -near
    edge = points[index]
    if not index and not holds(present + side):
        return present, present + side
    if index and holds(edge - side) and not holds(max(0.0, edge + side)):
        return edge, max(0.0, edge + side)
    for _ in range(_BISECTIONS):
        middle = (inside + beyond) / 2
        if holds(middle):
            inside = middle
        else:
            beyond = middle
    return (inside + beyond) / 2, beyond

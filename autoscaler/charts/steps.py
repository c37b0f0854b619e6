"""Series of steps: a value holds until the next point."""

from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
"""(second, value); the value holds until the next point."""
SECONDS_PER_HOUR = 3600.0


def added(one: Sequence[Point], other: Sequence[Point]) -> list[Point]:
    """Return the sum of two series of steps."""
    times = sorted({at for at, _ in one} | {at for at, _ in other})
    return [(at, _value_at(one, at) + _value_at(other, at)) for at in times]


def _value_at(points: Sequence[Point], second: float) -> float:
    value = 0.0
    for at, this in points:
        if at > second:
            break
        value = this
    return value


def replica_hours(replicas: Sequence[Point], until_s: float) -> float:
    """Return the area under the steps up to `until_s`, in hours."""
    ends = [*replicas, (until_s, 0.0)]
    area = sum(
        value * (max(0.0, min(until_s, end) - min(until_s, begin)))
        for (begin, value), (end, _) in pairwise(ends)
    )
    return area / SECONDS_PER_HOUR

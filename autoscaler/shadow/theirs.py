"""The replicas that there were: by kube-state-metrics in Prometheus, or by the records."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from typing import Protocol

from autoscaler.adapters.prometheus_range import RangeSeries
from autoscaler.errors import InputError

MOST_POINTS = 10_000
"""Prometheus refuses more than 11,000 points in one answer."""
_DISAGREE_SHARE = 0.1
_OWN = "then the records' own numbers are taken"

Points = Sequence[tuple[datetime, float]]


class History(Protocol):
    """Answers what a query was over time."""

    def ask(
        self, query: str, begin: datetime, end: datetime, step: timedelta
    ) -> Sequence[RangeSeries]:
        """Return every series, a point for each step. Raises ObserveError."""


class Done(Protocol):
    """What was done."""

    def at(self, when: datetime, observed: int) -> int | None:
        """Return the replicas at a cycle, which itself has observed so many; None: not known."""


class ByRecords:
    """What each cycle has observed."""

    source = "records"

    def at(self, when: datetime, observed: int) -> int | None:  # noqa: ARG002
        """Return the cycle's own number."""
        return observed


class ByPrometheus:
    """What kube-state-metrics said, as Prometheus has kept it."""

    source = "prometheus"

    def __init__(self, points: Points, step: timedelta) -> None:
        """Take the points in their order, one for each step that has a sample."""
        self._times = [at for at, _ in points]
        self._values = [round(value) for _, value in points]
        self._step = step

    def at(self, when: datetime, observed: int) -> int | None:  # noqa: ARG002
        """Return the last number that was there; None where the last is older than two steps."""
        index = bisect_right(self._times, when) - 1
        if index < 0 or when - self._times[index] > 2 * self._step:
            return None
        return self._values[index]


def ask_prometheus(
    history: History, target: str, begin: datetime, end: datetime, step: timedelta
) -> ByPrometheus:
    """Ask for the replicas of a target. Raises ObserveError, InputError."""
    namespace, name = target.split("/", 1)
    query = f'kube_deployment_spec_replicas{{namespace="{namespace}",deployment="{name}"}}'
    found: dict[tuple[tuple[str, str], ...], list[tuple[datetime, float]]] = {}
    for first, last in _windows(begin, end, step):
        for series in history.ask(query, first, last, step):
            found.setdefault(tuple(sorted(series.labels.items())), []).extend(series.points)
    if not found:
        raise InputError(
            f"--prometheus: no answer to {query} between {begin.isoformat()} and "
            f"{end.isoformat()}, must be scraped from kube-state-metrics",
            next_step=f"type it again without --prometheus: {_OWN}",
        )
    _require_one(query, found)
    points = {at: value for each in found.values() for at, value in each}
    return ByPrometheus(sorted(points.items()), step)


def _windows(
    begin: datetime, end: datetime, step: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Yield parts with few enough points each; a part begins a step after the one before."""
    while begin <= end:
        last = min(end, begin + (MOST_POINTS - 1) * step)
        yield begin, last
        begin = last + step


def _require_one(
    query: str, found: Mapping[tuple[tuple[str, str], ...], Sequence[tuple[datetime, float]]]
) -> None:
    """Refuse series that tell of different Deployments; of one that is scraped anew there are two.

    That begins where the other ends, and for a while both have the same number.
    """
    for (one, left), (other, right) in combinations(found.items(), 2):
        numbers = dict(left)
        common = [(numbers[at], value) for at, value in right if at in numbers]
        differing = sum(here != there for here, there in common)
        if differing > _DISAGREE_SHARE * len(common):
            labels = sorted(set(one) ^ set(other))
            told = ", ".join(f'{key}="{value}"' for key, value in labels)
            raise InputError(
                f"--prometheus: {len(found)} series answer to {query} and differ in {told}, must "
                "be of one Deployment",
                next_step=f"type it again without --prometheus: {_OWN}",
            )

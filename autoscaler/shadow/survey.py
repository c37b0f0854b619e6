"""One look through the records, before they are compared: what all cycles have in common."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from statistics import median

from autoscaler.decision.model import Metric, Pod, Policy
from autoscaler.decision.record import Record
from autoscaler.decision.words import MetricType, Mode
from autoscaler.errors import InputError
from autoscaler.records import ANOTHER, Entry

Entries = Callable[[], Iterator[Entry]]
"""Reads all records from the beginning, each time that it is called."""

_OFTEN = 0.1
_MISSED_CYCLES = 3
_PATIENCE = timedelta(minutes=1)
"""A cycle stands for its time until the next one, but for no longer than this, or than three usual
intervals, if that is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From when to when; None: as far as the records go."""

    begin: datetime | None = None
    end: datetime | None = None

    def has(self, at: datetime) -> bool:
        """Tell whether a time lies inside; the end does not."""
        return (self.begin is None or at >= self.begin) and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the cycles of one target have in common."""

    target: str
    first: datetime
    last: datetime
    cycles: int
    interval: timedelta
    """The usual time between two of them."""
    start_up: timedelta | None
    """Median from a pod's first sight to its being ready; None: none was seen to start."""
    slots: int
    """Requests that a replica answers at a time."""
    requests_metric: str
    """The metric that counts the requests in the system; empty: there is none."""
    acted: int
    """Cycles in which the daemon was not a shadow."""
    skipped: int
    """Lines whose time is not later than that of the one before."""

    @property
    def patience(self) -> timedelta:
        """Return how long a cycle stands for at most."""
        return max(_MISSED_CYCLES * self.interval, _PATIENCE)


@dataclass(slots=True)
class _Seen:
    """What is gathered of one target."""

    first: datetime | None = None
    last: datetime | None = None
    cycles: int = 0
    acted: int = 0
    skipped: int = 0
    gaps: list[timedelta] = field(default_factory=list)
    starts: list[timedelta] = field(default_factory=list)
    in_flight: Counter[int] = field(default_factory=Counter)
    """Of replicas at work: how often so many requests were seen at one."""
    metric: Metric | None = None
    known: dict[str, datetime | None] = field(default_factory=dict)
    """Pods that exist; until they are ready, since when; None: ready, or there from the first."""

    def take(self, record: Record) -> None:
        now = record.observation.now
        if self.last is not None and now <= self.last:
            self.skipped += 1
            return
        if self.last is not None:
            self.gaps.append(now - self.last)
        self._look_at(record.observation.pods or (), now)
        self.first, self.last = self.first or now, now
        self.cycles += 1
        self.acted += record.mode is not Mode.SHADOW
        self.metric = self.metric or requests_metric(record.policy)

    def _look_at(self, pods: Iterable[Pod], now: datetime) -> None:
        known, self.known = self.known, {}
        for pod in pods:
            since = known.get(pod.name, None if self.first is None else now)
            if since is not None and pod.ready:
                self.starts.append(now - since)
                since = None
            self.known[pod.name] = since
            if pod.ready and not pod.deleting and pod.in_flight:
                self.in_flight[pod.in_flight] += 1

    @property
    def slots(self) -> int:
        """Return as many as a replica is seen to answer at a time now and then, not just once."""
        least = ceil(self.metric.target) if self.metric else 1
        enough = _OFTEN * self.in_flight.total()
        often = [
            count
            for count in self.in_flight
            if sum(n for other, n in self.in_flight.items() if other >= count) >= enough
        ]
        return max(least, *often, 1)


def requests_metric(policy: Policy) -> Metric | None:
    """Return the metric that counts requests: the first that is one number for all replicas."""
    return next((each for each in policy.metrics if each.type is MetricType.TOTAL), None)


def survey(entries: Entries, target: str | None, window: Window) -> Survey:
    """Look through all; Raises InputError where there is nothing, or not one target, to compare."""
    found: dict[str, _Seen] = {}
    for entry in entries():
        record = entry.record
        if record is not None and window.has(record.observation.now):
            found.setdefault(record.target, _Seen()).take(record)
    if not found:
        raise _nothing(window)
    name = _chosen(sorted(found), target)
    seen = found[name]
    if seen.first is None or seen.last is None or seen.cycles < 2:
        raise InputError(
            f"{name}: {seen.cycles} cycle in the records, must be at least 2 to compare",
            next_step="type it again after a while in shadow mode, or with a longer --from to --to",
        )
    return Survey(
        target=name,
        first=seen.first,
        last=seen.last,
        cycles=seen.cycles,
        interval=_median(seen.gaps),
        start_up=_median(seen.starts) if seen.starts else None,
        slots=seen.slots,
        requests_metric=seen.metric.name if seen.metric else "",
        acted=seen.acted,
        skipped=seen.skipped,
    )


def _median(spans: list[timedelta]) -> timedelta:
    return timedelta(seconds=median(span.total_seconds() for span in spans))


def _nothing(window: Window) -> InputError:
    if window.begin is None and window.end is None:
        return InputError("no cycle in the records, must be at least 2", next_step=ANOTHER)
    edges = {"--from": window.begin, "--to": window.end}
    given = " and ".join(f"{key} = {at.isoformat()}" for key, at in edges.items() if at is not None)
    return InputError(
        f"{given}: no cycle in the records lies there, must be at least 2",
        next_step="type it again without --from and --to",
    )


def _chosen(names: list[str], target: str | None) -> str:
    if target in names:
        return target
    if target is None and len(names) == 1:
        return names[0]
    given = "--target must be given," if target is None else f"--target = {target}, must be"
    raise InputError(
        f"{given} one of {', '.join(names)}",
        next_step=f"type it again with --target {names[0]}",
    )

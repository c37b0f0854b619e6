"""What each side comes to, in figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from autoscaler.shadow.moments import Moment

REVERSAL_WITHIN = timedelta(minutes=10)
"""A change the other way within so long of the one before is a reversal."""
_NONE = timedelta(0)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side over the time that is compared."""

    replica_hours: float
    """Of the replicas asked for, ready or not."""
    changes: int
    reversals: int
    lowest: int
    highest: int
    queued: timedelta | None
    """With more requests in the system than the ready replicas answer; None: not known."""
    waiting_hours: float | None
    """Requests beyond that, times the hours that they were there; None: not known."""
    short: timedelta
    """With fewer replicas asked for than the load needed, as far as that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Both sides, and the time that they stand for."""

    compared: timedelta
    agreed: timedelta
    blind_cycles: int
    """Lacked a metric; the time counts all the same."""
    gone: int
    """Pods that left."""
    gone_busy: int
    """Of those, at work when they were last seen."""
    unknown: timedelta
    """Cycles for which the other side's replicas are not known; they are not compared."""
    theirs: Side
    ours: Side


@dataclass(slots=True)
class _Count:
    """Adds up one side."""

    numbers: list[tuple[datetime, int]] = field(default_factory=list)
    """The number at the beginning and after each change."""
    area: float = 0.0
    queued: timedelta | None = None
    waiting: float | None = None
    short: timedelta = _NONE

    def add(self, moment: Moment, number: int, ready: int, slots: int) -> None:
        hours = moment.span / _HOUR
        if not self.numbers or self.numbers[-1][1] != number:
            self.numbers.append((moment.at, number))
        self.area += number * hours
        if moment.need is not None and number < moment.need:
            self.short += moment.span
        if moment.requests is not None:
            waiting = waiting_for(moment.requests, ready, slots)
            self.waiting = (self.waiting or 0.0) + waiting * hours
            self.queued = (self.queued or _NONE) + (moment.span if waiting else _NONE)

    def side(self) -> Side:
        numbers = [number for _, number in self.numbers] or [0]
        moves = list(_moves(self.numbers))
        return Side(
            replica_hours=self.area,
            changes=len(moves),
            reversals=reversals(moves),
            lowest=min(numbers),
            highest=max(numbers),
            queued=self.queued,
            waiting_hours=self.waiting,
            short=self.short,
        )


@dataclass(slots=True)
class Counter:
    """Adds up the moments as they come."""

    slots: int
    """Requests that a replica answers at a time."""
    _theirs: _Count = field(default_factory=_Count)
    _ours: _Count = field(default_factory=_Count)
    _compared: timedelta = _NONE
    _agreed: timedelta = _NONE
    _unknown: timedelta = _NONE
    _blind: int = 0
    _gone: int = 0
    _busy: int = 0

    def add(self, moment: Moment) -> None:
        """Take one more."""
        self._blind += bool(moment.blind)
        if moment.theirs is None:
            self._unknown += moment.span
            return
        self._compared += moment.span
        self._agreed += moment.span if moment.theirs == moment.ours else _NONE
        self._gone += moment.gone[0]
        self._busy += moment.gone[1]
        self._theirs.add(moment, moment.theirs, moment.their_ready, self.slots)
        self._ours.add(moment, moment.ours, moment.our_ready, self.slots)

    def figures(self) -> Figures:
        """Return what it has come to."""
        return Figures(
            compared=self._compared,
            agreed=self._agreed,
            blind_cycles=self._blind,
            gone=self._gone,
            gone_busy=self._busy,
            unknown=self._unknown,
            theirs=self._theirs.side(),
            ours=self._ours.side(),
        )


def waiting_for(requests: float, ready: int, slots: int) -> float:
    """Return the requests that find no free slot."""
    return max(0.0, requests - ready * slots)


def _moves(numbers: Sequence[tuple[datetime, int]]) -> Iterator[tuple[datetime, int]]:
    for (_, before), (at, after) in pairwise(numbers):
        yield at, after - before


def reversals(moves: Sequence[tuple[datetime, int]]) -> int:
    """Count the moves that take back the direction of the one before, within ten minutes."""
    return sum(
        before * after < 0 and later - earlier <= REVERSAL_WITHIN
        for (earlier, before), (later, after) in pairwise(moves)
    )

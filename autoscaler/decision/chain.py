"""From line to line: what one cycle leaves behind is what the next one begins with.

There are honest reasons why it is not: a restart, a clock that was set, a cycle that could not
see, a write of ours whose answer was lost, lines that are not there. Each leaves its mark in what
is remembered, so it can be told from a value that somebody has changed.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from autoscaler.decision.decide import remember
from autoscaler.decision.model import Policy, ScaleEvent, ScalingState
from autoscaler.decision.record import Outcome, Record, to_json
from autoscaler.decision.shift import shifted
from autoscaler.decision.stabilize import resumed
from autoscaler.decision.verify import Difference, compare

_SKEW = timedelta(seconds=10)
"""The daemon takes no smaller jump of its clock for one that was set."""
_KEPT = 128
"""Cycles: over a restart no older memory comes back."""


class Kind(StrEnum):
    """How a line goes on from those before it."""

    FIRST = "first"
    FOLLOWS = "follows"
    RESUMED = "resumed"
    """Cycles in between came to no decision, or the process began anew."""
    ARRIVED = "arrived"
    """A write whose answer was lost has happened after all."""
    CLOCK_SET = "clock-set"
    OLDER = "older"
    """Goes on from an earlier line: a restart that had lost the last ones."""
    AFRESH = "afresh"
    """A start without memory."""
    ELSEWHERE = "elsewhere"
    """Goes on from a cycle that is not in these records."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How a line goes on, and what it takes to go on so from another memory."""

    kind: Kind
    differences: tuple[Difference, ...] = ()
    """Where it is broken; `decided` is what the line before has left behind."""
    shift: timedelta = timedelta(0)
    write: ScaleEvent | None = None
    resumes: bool = False
    restarts_from: ScalingState | None = None
    """The memory that the line begins with, where it is not that of the line before."""

    def carry(self, state: ScalingState, policy: Policy, record: Record) -> ScalingState:
        """Return what another memory of the cycle before would have become."""
        if self.restarts_from is not None:
            return self.restarts_from
        moved = shifted(state, self.shift) if self.shift else state
        if self.write is not None:
            moved = remember(policy, moved, self.write.change, self.write.at)
        if self.resumes:
            seen = record.observation
            moved = resumed(policy, moved, seen.now, seen.current)
        return moved


class Chain:
    """The lines of one target, one after the other."""

    def __init__(self) -> None:
        self._left: OrderedDict[datetime, tuple[ScalingState, int]] = OrderedDict()
        """Time of a cycle to what it left: its memory, and the replicas asked for."""

    def add(self, record: Record, after: ScalingState) -> Link:
        """Tell how a record goes on from those before, and go on from what it leaves."""
        link = self._link(record)
        decision, now = record.decision, record.observation.now
        asked = decision.to if record.outcome is Outcome.SCALED else record.observation.current
        self._left[now] = (after, asked)
        self._left.move_to_end(now)
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)
        return link

    def _link(self, record: Record) -> Link:
        state, at = record.state, record.state.last_cycle
        if not self._left:
            return Link(kind=Kind.FIRST, restarts_from=state)
        last = next(reversed(self._left))
        after = self._left[last][0]
        if state == after:
            return Link(kind=Kind.FOLLOWS)
        if state == ScalingState():
            return Link(kind=Kind.AFRESH, restarts_from=state)
        if at is not None and at != last and at in self._left:
            if self._explained(record, at) is not None:
                return Link(kind=Kind.OLDER, restarts_from=state)
        elif link := self._explained(record, last):
            return link
        return _other(record, after)

    def _explained(self, record: Record, last: datetime) -> Link | None:
        """Return how a line goes on from an earlier cycle, if it does."""
        after, asked = self._left[last]
        for link in _explanations(record, last, asked):
            if link.carry(after, record.policy, record) == record.state:
                return link
        return None


def _explanations(record: Record, last: datetime, asked: int) -> Iterator[Link]:
    """Yield what may have happened since a cycle, the simplest first."""
    at = record.state.last_cycle
    by = timedelta(0) if at is None else at - last
    if at is None or timedelta(0) < abs(by) <= _SKEW:
        return
    yield Link(kind=Kind.CLOCK_SET if by else Kind.FOLLOWS, shift=by)
    yield Link(kind=Kind.CLOCK_SET if by else Kind.RESUMED, shift=by, resumes=True)
    write = _arrived(record, asked)
    if write is not None:
        yield Link(kind=Kind.ARRIVED, shift=by, write=write)
        yield Link(kind=Kind.ARRIVED, shift=by, write=write, resumes=True)


def _other(record: Record, after: ScalingState) -> Link:
    """Return how a line goes on that no line here has left anything to."""
    state = record.state
    if _is_of_another_cycle(record, after):
        return Link(kind=Kind.ELSEWHERE, restarts_from=state)
    found = compare("state", to_json(state), to_json(after))
    return Link(kind=Kind.BROKEN, differences=tuple(found), restarts_from=state)


def _arrived(record: Record, asked: int) -> ScaleEvent | None:
    """Return the write that would explain another number than was asked for."""
    change = record.observation.current - asked
    at = record.state.last_up if change > 0 else record.state.last_down
    return ScaleEvent(at=at, change=change) if change and at is not None else None


def _is_of_another_cycle(record: Record, after: ScalingState) -> bool:
    """Tell whether a memory is that of a cycle between this line and the one before.

    Each cycle that recommends leaves an entry of its own; one that only has another time has not.
    """
    state, last = record.state, after.last_cycle
    if last is None or state.last_cycle is None:
        return False
    between = last < state.last_cycle < record.observation.now
    only_the_time = replace(state, last_cycle=last) == after
    recommended = any(entry.at == last for entry in after.recommendations)
    return between and not (only_the_time and recommended)

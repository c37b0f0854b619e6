"""What comes next if what was seen stays as it is, what holds it back, and what would change it.

All of it is found by deciding the cycles to come: the move that they lead to, and, by other values
of one metric at a time, how far that metric may go without another end. Nothing of it is a promise:
the next cycle sees the world anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autoscaler.decision.ahead import HORIZON, MOST_DECISIONS, Start, cycles_ahead, start_after
from autoscaler.decision.decide import Verdict
from autoscaler.decision.edges import find_edge, places, value_of, with_value
from autoscaler.decision.quality import Reading
from autoscaler.decision.record import Record
from autoscaler.decision.words import Direction, MetricType, Reason

_NEAR = 1e-6
"""Of the target value: how far to the sides of an edge it is looked whether it is one."""
_NO_HOLD = (Reason.WITHIN_TOLERANCE, Reason.ABOVE_TARGET, Reason.BELOW_TARGET)
"""Reasons of a number that stays because it is what the metrics want."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A decision that does something, in a cycle to come."""

    at: datetime
    to: int
    reason: Reason
    replace: str | None = None
    """The stuck pod that is replaced; then the number stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What keeps the number from going where the metrics want it, or from moving at all."""

    reason: Reason
    detail: str
    until: datetime | None = None
    """The first cycle that it does not hold any more; None where none is near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How far one metric may go, all others as they are, without another end."""

    metric: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What would come if one metric went beyond its edge now and stayed there."""

    metric: str
    above: bool
    value: float
    move: Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What comes next."""

    now: datetime
    """Of the cycle that it goes on from."""
    step: timedelta
    """From one cycle to the next."""
    current: int
    until: datetime
    """How far it looks."""
    move: Move | None
    """None where nothing moves until then."""
    further: bool = False
    """The move may go further, by a value of a metric that is within its condition."""
    holds: tuple[Hold, ...] = ()
    """What holds until the move, one after the other."""
    conditions: tuple[Condition, ...] = ()
    turns: tuple[Turn, ...] = ()
    """Only where nothing moves."""


def foresee(record: Record, step: timedelta, horizon: timedelta = HORIZON) -> Outlook:
    """Return what comes after a cycle; `step` is the time from one to the next."""
    start = start_after(record, step, horizon)
    verdicts: list[Verdict] = []
    move = _first_move(start, verdicts)
    search = _Search(start, move)
    for reading in verdicts[0].readings:
        search.look_at(reading, is_watched=bool(verdicts[0].state.stuck))
    return Outlook(
        now=record.observation.now,
        step=step,
        current=start.observation.current,
        until=start.until if len(verdicts) < MOST_DECISIONS else _time_of(verdicts[-1], start),
        move=move,
        further=search.further,
        holds=tuple(hold for hold in _holds(verdicts) if hold.reason not in _NO_HOLD),
        conditions=tuple(search.conditions),
        turns=tuple(search.turns),
    )


def _first_move(start: Start, verdicts: list[Verdict] | None = None) -> Move | None:
    """Return the first move of the cycles to come, and add all verdicts until then."""
    for verdict in cycles_ahead(start):
        if verdicts is not None:
            verdicts.append(verdict)
        decision = verdict.decision
        if decision.direction is not Direction.HOLD or decision.replace:
            at, pod = _time_of(verdict, start), decision.replace
            return Move(at=at, to=decision.to, reason=decision.reason, replace=pod)
    return None


def _time_of(verdict: Verdict, start: Start) -> datetime:
    return verdict.state.last_cycle or start.until


def _holds(verdicts: Sequence[Verdict]) -> tuple[Hold, ...]:
    """Return one hold for each stretch of cycles with the same reason; the last has no end yet."""
    holds: list[Hold] = []
    for verdict in verdicts:
        decision, at = verdict.decision, verdict.state.last_cycle
        if holds and holds[-1].reason is decision.reason and decision.direction is Direction.HOLD:
            continue
        if holds and holds[-1].until is None:
            holds[-1] = replace(holds[-1], until=at)
        if decision.direction is Direction.HOLD and not decision.replace:
            told = [step.detail for step in verdict.steps if step.reason is decision.reason]
            holds.append(Hold(reason=decision.reason, detail=told[-1] if told else ""))
    return tuple(holds)


class _Search:
    """Looks how far each metric may go without another end."""

    def __init__(self, start: Start, move: Move | None) -> None:
        self.conditions: list[Condition] = []
        self.turns: list[Turn] = []
        self.further = False
        self._move = move
        if move is not None:
            start = replace(start, cycles=(move.at - start.observation.now) // start.step)
        self._start = start
        self._shrinks = move is not None and move.to < start.observation.current
        policy, current = start.policy, start.observation.current
        highs = (schedule.max_replicas or 0 for schedule in policy.schedules)
        self._most = max(current, policy.max_replicas, *highs)

    def look_at(self, reading: Reading, *, is_watched: bool) -> None:
        """Add what there is to say of one metric; `is_watched`: a pod looks stuck by its use."""
        present = value_of(reading, self._start.observation)
        if present is None or (is_watched and reading.metric.type is MetricType.POD):
            return
        metric = reading.metric

        def move_at(value: float) -> Move | None:
            seen = with_value(self._start.observation, metric.name, present, value)
            return _first_move(replace(self._start, observation=seen))

        def holds(value: float) -> bool:
            return self._is_same(move_at(value))

        where = sorted(set(places(self._start.policy, reading, self._most)))
        near = _NEAR * metric.target
        below = [value for value in reversed(where) if 0 <= value < present]
        low = find_edge(holds, present, [*below, 0.0] if present else [], near)
        above = [value for value in where if value > present]
        high = find_edge(holds, present, [*above, *(2 * value for value in above[-1:])], near)
        if low or high:
            ends = {"low": low and low[0], "high": high and high[0]}
            self.conditions.append(Condition(metric=metric.name, **ends))
        if self._move is not None:
            end = move_at(0.0 if self._shrinks else max(present, 2 * where[-1]))
            self.further |= self._is_same(end) and end is not None and end.to != self._move.to
            return
        for edge, above_it in ((low, False), (high, True)):
            move = edge and move_at(edge[1])
            if edge and move:
                turn = Turn(metric=metric.name, above=above_it, value=edge[0], move=move)
                self.turns.append(turn)

    def _is_same(self, other: Move | None) -> bool:
        """Tell whether the end is the same: the move at its time, at least as far."""
        move = self._move
        if move is None or other is None:
            return move is other
        same = (move.at, move.replace) == (other.at, other.replace)
        if move.replace:
            return same
        current = self._start.observation.current
        way = -1 if self._shrinks else 1
        return same and (other.to - current) * way >= (move.to - current) * way

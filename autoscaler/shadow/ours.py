"""What we would have done: the observed cycles decided again, with our own number of replicas.

A shadow's own decisions are all made from the other's number, so they are no curve. Here each
cycle sees what was observed, but for the replicas: those are what our decisions lead to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import (
    Missing,
    Observation,
    Policy,
    Sample,
    Samples,
    ScalingState,
)
from autoscaler.decision.quality import Reading
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.stabilize import resumed
from autoscaler.decision.words import Direction, MetricType, Mode, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """One cycle of ours."""

    record: Record
    ready: int
    """Replicas of ours that would serve, before the decision."""

    @property
    def number(self) -> int:
        """Return the replicas after the decision."""
        return self.record.decision.to


class Run:
    """Carries our number, what is starting of it, and the state, from cycle to cycle."""

    def __init__(self, start_up: timedelta | None) -> None:
        """Begin with the first cycle's replicas; new ones are ready `start_up` later or at once."""
        self._start_up = start_up or timedelta(0)
        self._state = ScalingState()
        self._number: int | None = None
        self._starting: list[datetime] = []
        """When each of those that do not serve yet will."""

    def cycle(self, record: Record, judged: Cycle, *, after_gap: bool) -> Ours:
        """Decide one cycle; `judged` is the observed one, as its own decision saw it."""
        policy, seen = record.policy, record.observation
        number = self._begin(policy, seen)
        self._starting = [at for at in self._starting if at > seen.now]
        ready = number - len(self._starting)
        observation = replace(
            seen,
            current=number,
            ready=ready,
            pods=None,
            metrics=_metrics(seen, judged.readings, ready),
            foreign_write=None,
        )
        if after_gap:
            self._state = resumed(policy, self._state, seen.now, number)
        before, verdict = self._state, decide(policy, self._state, observation)
        self._move(policy, verdict, seen.now)
        return Ours(record=_record(record, observation, before, verdict), ready=ready)

    def _begin(self, policy: Policy, seen: Observation) -> int:
        """Return our number; a person who switches scaling off and on does that to ours as well."""
        off = policy.least_replicas > 0
        if self._number is None or (off and 0 in (seen.current, self._number)):
            self._number = seen.current
            self._starting = [seen.now + self._start_up] * max(0, seen.current - seen.ready)
        return self._number

    def _move(self, policy: Policy, verdict: Verdict, now: datetime) -> None:
        change = verdict.decision.to - verdict.decision.from_
        self._state = remember(policy, verdict.state, change, now)
        self._number = verdict.decision.to
        self._starting += [now + self._start_up] * change
        if change < 0:  # who does not serve yet goes first
            self._starting = self._starting[: max(0, len(self._starting) + change)]


def _metrics(
    seen: Observation, readings: tuple[Reading, ...], ready: int
) -> Mapping[str, Samples | Missing]:
    metrics = dict(seen.metrics)
    for reading in readings:
        if reading.metric.type is MetricType.POD:
            metrics[reading.metric.name] = _spread(reading, seen.now, ready)
    return metrics


def _spread(reading: Reading, now: datetime, ready: int) -> Samples | Missing:
    """Share the sum of what the pods used equally among ours; the same share lacks a sample."""
    if reading.missing:
        return Missing(missing=reading.missing, detail=reading.detail)
    known = reading.counted + reading.lacking
    lacking = ceil(ready * reading.lacking / known) if known else 0
    having = max(1, ready - lacking) if ready else 0
    at = now - (reading.age or timedelta(0))
    return Samples(
        samples=tuple(
            Sample(labels={"pod": f"ours-{number}"}, value=reading.load / having, at=at)
            for number in range(having)
        )
    )


def _record(
    record: Record, observation: Observation, state: ScalingState, verdict: Verdict
) -> Record:
    moves = verdict.decision.direction is not Direction.HOLD
    return Record(
        target=record.target,
        policy=record.policy,
        observation=observation,
        state=state,
        # Whose pods would have gone is not known, and need not be told each time.
        steps=tuple(step for step in verdict.steps if step.stage is not Stage.VICTIMS),
        decision=verdict.decision,
        outcome=Outcome.SCALED if moves else Outcome.HELD,
        mode=Mode.SHADOW,
    )

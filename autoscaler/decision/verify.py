"""A record decided once more: whether it says what comes of what it holds.

Found is whatever contradicts the rest of the record: a step, a detail, the decision, an outcome.
What is remembered is held against the line before by `chain.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from autoscaler.decision.decide import decide, remember
from autoscaler.decision.model import Decision, ScalingState
from autoscaler.decision.record import Json, Outcome, Record, to_json
from autoscaler.decision.words import Direction, Mode, WriteResult

NOTHING = "nothing"
"""Stands for a place that only the other side has."""

_WRITES = {
    WriteResult.CONFLICT: (Outcome.CONFLICTED,),
    WriteResult.FAILED: (Outcome.FAILED, Outcome.SKIPPED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place at which a record says something else than it should."""

    where: str
    """As in JSON: `steps[2].to`."""
    recorded: Json
    decided: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What came of deciding a record again."""

    differences: tuple[Difference, ...]
    after: ScalingState
    """What the cycle leaves to the next, its write included."""


def differences(record: Record) -> tuple[Difference, ...]:
    """Return each place at which the record contradicts itself."""
    return check(record).differences


def check(record: Record) -> Checked:
    """Decide again, compare, and return what the next cycle goes on from."""
    verdict = decide(record.policy, record.state, record.observation)
    found: list[Difference] = []
    if verdict.steps != record.steps:
        found += compare("steps", to_json(record.steps), to_json(verdict.steps))
    if verdict.decision != record.decision:
        found += compare("decision", to_json(record.decision), to_json(verdict.decision))
    found += _contradictions(record, verdict.decision)
    return Checked(
        differences=tuple(found),
        after=written(record, verdict.state, verdict.decision),
    )


def written(record: Record, state: ScalingState, decision: Decision) -> ScalingState:
    """Return a state with the write in it, where the record tells that there was one."""
    if record.outcome is not Outcome.SCALED:
        return state
    return remember(record.policy, state, decision.to - decision.from_, record.observation.now)


def compare(where: str, recorded: Json, decided: Json) -> Iterator[Difference]:
    """Yield the places at which two values differ, as deep as they go."""
    if isinstance(recorded, dict) and isinstance(decided, dict):
        for key in {**recorded, **decided}:
            sides = recorded.get(key, NOTHING), decided.get(key, NOTHING)
            yield from compare(f"{where}.{key}", *sides)
    elif isinstance(recorded, list) and isinstance(decided, list):
        pairs = zip_longest(recorded, decided, fillvalue=NOTHING)
        for index, (one, other) in enumerate(pairs):
            yield from compare(f"{where}[{index}]", one, other)
    elif recorded != decided:
        yield Difference(where=where, recorded=recorded, decided=decided)


def _contradictions(record: Record, decision: Decision) -> Iterator[Difference]:
    """Yield what cannot be, whatever the rules say."""
    if record.policy.mode is Mode.SHADOW and record.mode is not Mode.SHADOW:
        yield Difference(where="mode", recorded=str(record.mode), decided=str(Mode.SHADOW))
    outcomes = _outcomes(record, decision)
    if record.outcome not in outcomes:
        right = " or ".join(outcomes)
        yield Difference(where="outcome", recorded=str(record.outcome), decided=right)
    last, now = record.state.last_cycle, record.observation.now
    if last is not None and last >= now:
        rule = f"before {to_json(now)}, the time of this cycle"
        yield Difference(where="state.last_cycle", recorded=to_json(last), decided=rule)


def _outcomes(record: Record, decision: Decision) -> tuple[Outcome, ...]:
    """Return what a cycle with this decision can have come to."""
    holds = decision.direction is Direction.HOLD
    if holds and decision.replace is None:
        return (Outcome.HELD,)
    if record.mode is Mode.SHADOW:
        return (Outcome.DRY_RUN,)
    done = Outcome.REPLACED if holds else Outcome.SCALED
    return _WRITES.get(record.observation.write, (done,))

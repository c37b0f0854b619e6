"""Observations in, records out: `autoscaler decide`. No network, no clock."""

import json
from collections.abc import Iterable, Iterator

from autoscaler.decision.decide import decide, remember
from autoscaler.decision.model import Decision, Observation, Policy, ScalingState
from autoscaler.decision.record import Outcome, Record, observation_from_json, to_json
from autoscaler.decision.refusal import require_distinct
from autoscaler.decision.words import Direction, Mode, WriteResult
from autoscaler.errors import InputError

_WRITTEN = {
    WriteResult.OK: Outcome.SCALED,
    WriteResult.FAILED: Outcome.FAILED,
    WriteResult.CONFLICT: Outcome.CONFLICTED,
}


def replay(policy: Policy, target: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield one record per observation line, each before the next line is read.

    The state starts fresh and is carried from line to line. A decision that moves the number, or
    replaces a pod, counts as written unless its own line says otherwise; shadow mode never writes.
    Raises InputError with the 1-based line number; blank lines are passed over.
    """
    state = ScalingState()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        observation = _parse(line, number, state)
        before = state
        verdict = decide(policy, before, observation)
        outcome = _outcome(policy, verdict.decision, observation.write)
        state = verdict.state
        if outcome is Outcome.SCALED:
            change = verdict.decision.to - verdict.decision.from_
            state = remember(policy, state, change, observation.now)
        record = Record(
            target=target,
            policy=policy,
            observation=observation,
            state=before,
            steps=verdict.steps,
            decision=verdict.decision,
            outcome=outcome,
            mode=policy.mode,
        )
        yield json.dumps(to_json(record), separators=(",", ":"), allow_nan=False)


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a key that stands twice: the parser would keep the last without a word."""
    require_distinct("keys", [key for key, _ in pairs])
    return dict(pairs)


def _outcome(policy: Policy, decision: Decision, write: WriteResult) -> Outcome:
    holds = decision.direction is Direction.HOLD
    if holds and decision.replace is None:
        return Outcome.HELD
    if policy.mode is Mode.SHADOW:
        return Outcome.DRY_RUN
    return Outcome.REPLACED if holds and write is WriteResult.OK else _WRITTEN[write]


def _parse(line: str, number: int, state: ScalingState) -> Observation:
    try:
        data = json.loads(line, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise _refusal(number, f"not JSON: {error}, must be one object") from error
    except ValueError as error:  # a key that stands twice, an integer with too many digits
        raise _refusal(number, str(error)) from error
    except RecursionError as error:
        raise _refusal(number, "not JSON: nested too deeply, must be one object") from error
    try:
        observation = observation_from_json(data)
    except ValueError as refusal:
        raise _refusal(number, str(refusal)) from refusal
    if state.last_cycle is not None and observation.now <= state.last_cycle:
        now, before = observation.now.isoformat(), state.last_cycle.isoformat()
        raise _refusal(number, f"now = {now}, must be later than the line before ({before})")
    return observation


def _refusal(number: int, what: str) -> InputError:
    return InputError(
        f"line {number}: {what}",
        next_step=f"mend line {number} of the input; README.md has one that works (Commands)",
    )

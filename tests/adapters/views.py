"""Views of cycles that saw more than the loop's stand-ins show."""

from dataclasses import replace
from datetime import timedelta

from autoscaler.adapters.cycle_view import CycleView, view_of
from autoscaler.decision.decide import decide
from autoscaler.decision.model import Observation, Pod, Sample, Samples, ScalingState
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.words import Mode
from autoscaler.ports import CycleReport
from tests.cycles import POLICY, START

STANDBY = CycleReport(
    target="llm/ollama",
    at=START,
    duration=timedelta(0),
    outcome=Outcome.SKIPPED,
    record=None,
    reason="NotLeader",
)


def pods(*in_flight: int | None, **changes) -> tuple[Pod, ...]:
    """Return as many pods, a, b, c and so on, with these requests."""
    return tuple(
        Pod(name=f"ollama-{letter}", in_flight=requests, created=START, **changes)
        for letter, requests in zip("abcdef", in_flight, strict=False)
    )


def seen(
    value=1.6, *, policy=POLICY, state=None, outcome=Outcome.HELD, changes=None, **observed
) -> CycleView:
    """Return the view of one cycle: its metric's value, and what else it saw.

    `changes` are those of its record, for what no rule brings about by itself.
    """
    sample = Sample(value=value, at=START)
    observation = Observation(
        **{
            "now": START,
            "current": 2,
            "ready": 2,
            "metrics": {"queue_depth": Samples(samples=(sample,))},
        }
        | observed
    )
    state = state or ScalingState()
    verdict = decide(policy, state, observation)
    record = Record(
        target="llm/ollama",
        policy=policy,
        observation=observation,
        state=state,
        steps=verdict.steps,
        decision=verdict.decision,
        outcome=outcome,
        mode=Mode.ACT,
    )
    return view_of(
        CycleReport(
            target="llm/ollama",
            at=START,
            duration=timedelta(0),
            outcome=outcome,
            record=replace(record, **(changes or {})),
        )
    )

"""Short words for the values that the stories of these tests are made of."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import (
    Decision,
    Metric,
    Missing,
    Observation,
    Pod,
    Policy,
    RatePolicy,
    Sample,
    Samples,
    Scaling,
    ScalingState,
)
from autoscaler.decision.words import (
    Direction,
    MetricType,
    MissingKind,
    PodPhase,
    PolicyType,
    WriteResult,
)

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def change(decision: Decision) -> int:
    """Return by how much a decision moves the number."""
    return decision.to - decision.from_


def seconds(count: float) -> timedelta:
    """Return a span."""
    return timedelta(seconds=count)


def at(count: float) -> datetime:
    """Return the time so many seconds after the start of the story."""
    return START + seconds(count)


def pods_per(value: int, period: float) -> RatePolicy:
    """Return a rate policy in pods."""
    return RatePolicy(type=PolicyType.PODS, value=value, period=seconds(period))


def percent_per(value: int, period: float) -> RatePolicy:
    """Return a rate policy in percent."""
    return RatePolicy(type=PolicyType.PERCENT, value=value, period=seconds(period))


QUEUE = Metric(name="queue_depth", type=MetricType.TOTAL, target=0.8)
CPU = Metric(name="cpu_to_limit", type=MetricType.POD, target=0.7)

FREE = Policy(
    min_replicas=1,
    max_replicas=20,
    metrics=(QUEUE,),
    scale_up=Scaling(tolerance=0.1),
    scale_down=Scaling(tolerance=0.2),
    hold_limit=seconds(900),
    pending_limit=seconds(300),
    conflict_hold=seconds(600),
)
"""One metric, no window, no cooldown, no rate policy: each test adds what it is about."""


def policy(**changes: Any) -> Policy:
    """Return FREE with changes; `up_` and `down_` keys change one direction."""
    plain: dict[str, Any] = {}
    up: dict[str, Any] = {}
    down: dict[str, Any] = {}
    for key, value in changes.items():
        if key.startswith("up_"):
            up[key.removeprefix("up_")] = value
        elif key.startswith("down_"):
            down[key.removeprefix("down_")] = value
        else:
            plain[key] = value
    return replace(
        FREE,
        scale_up=replace(FREE.scale_up, **up),
        scale_down=replace(FREE.scale_down, **down),
        **plain,
    )


def one(value: float, age: float = 2, now: float = 0) -> Samples:
    """Return the answer of a `total` metric."""
    return Samples(samples=(Sample(value=value, at=at(now - age)),))


def per_pod(values: Mapping[str, float], age: float = 2, now: float = 0) -> Samples:
    """Return the answer of a `pod` metric."""
    return Samples(
        samples=tuple(
            Sample(labels={"pod": pod}, value=value, at=at(now - age))
            for pod, value in values.items()
        )
    )


def missing(kind: str = "Failed", detail: str = "") -> Missing:
    """Return a metric's absence."""
    return Missing(missing=MissingKind(kind), detail=detail)


def running(*names: str) -> tuple[Pod, ...]:
    """Return ready pods."""
    return tuple(Pod(name=name, created=at(-3600)) for name in names)


def pending(*names: str, born: float = -10) -> tuple[Pod, ...]:
    """Return pods that have not started."""
    return tuple(
        Pod(name=name, phase=PodPhase.PENDING, ready=False, created=at(born)) for name in names
    )


def seen(current: int, *, now: float = 0, ready: int | None = None, **rest: Any) -> Observation:
    """Return an observation; `queue` and `cpu` are short for the two metrics."""
    metrics: dict[str, Any] = {}
    for short, name in (("queue", "queue_depth"), ("cpu", "cpu_to_limit")):
        if short in rest:
            value = rest.pop(short)
            number = isinstance(value, int | float)
            metrics[name] = one(value, now=now) if number else value
    return Observation(
        now=at(now),
        current=current,
        ready=current if ready is None else ready,
        metrics=metrics,
        **rest,
    )


class Story:
    """Cycles in a row, each decision written unless its observation says otherwise."""

    def __init__(self, policy: Policy, current: int) -> None:
        self.policy = policy
        self.current = current
        self.state = ScalingState()

    def cycle(self, now: float, **rest: Any) -> Verdict:
        """Run one cycle and carry its state on."""
        observation = seen(self.current, now=now, **rest)
        verdict = decide(self.policy, self.state, observation)
        self.state = verdict.state
        moved = verdict.decision.direction is not Direction.HOLD
        if moved and observation.write is WriteResult.OK:
            self.state = remember(
                self.policy, self.state, change(verdict.decision), observation.now
            )
            self.current = verdict.decision.to
        return verdict

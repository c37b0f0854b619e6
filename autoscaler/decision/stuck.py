"""Replicas that have requests and do nothing about them.

An aborted client can take an Ollama's only slot for good: whoever is sent there then waits for
ever. Such a pod has requests in flight while no `pod` metric shows any use of it.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from math import isfinite
from types import MappingProxyType

from autoscaler.decision.model import Metric, Observation, Pod, Policy, Samples, ScalingState
from autoscaler.decision.numbers import at_most
from autoscaler.decision.words import MetricType, PodPhase

_NO_USE = 1 / 20
"""Of the target value: what a process that waits still uses, with room to spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What one cycle makes of the pods."""

    stuck: tuple[str, ...] = ()
    """Names of the pods that are stuck now, the longest stuck first."""
    since: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    """Since when each pod has looked stuck, for the next cycle."""


class _Sign(Enum):
    SUSPECT = auto()
    ALIVE = auto()
    UNKNOWN = auto()


def watch(policy: Policy, state: ScalingState, observation: Observation) -> Watch:
    """Look at each pod that has requests, or whose clock runs and whose requests are not known.

    What is not known neither ends a clock nor lets it conclude.
    """
    now, limit = observation.now, policy.stuck_after
    if limit is None:
        return Watch()
    known = state.stuck if state.watched(now, limit) else {}
    pods = [
        pod
        for pod in observation.pods or ()
        if not pod.deleting and (pod.in_flight or (pod.in_flight is None and pod.name in known))
    ]
    if not pods:
        return Watch()
    metrics = [metric for metric in policy.metrics if metric.type is MetricType.POD]
    names = {pod.name for pod in pods}
    uses = [_uses(metric, observation, names) for metric in metrics]
    clocks, due = {}, []
    for pod in pods:
        sign = _sign(pod, [use.get(pod.name) for use in uses])
        if sign is _Sign.ALIVE or (sign is _Sign.UNKNOWN and pod.name not in known):
            continue
        clocks[pod.name] = since = known.get(pod.name, now)
        if sign is _Sign.SUSPECT and now - since >= limit:
            due.append((since, pod.name))
    return Watch(stuck=tuple(name for _, name in sorted(due)), since=clocks)


def _sign(pod: Pod, uses: list[float | None]) -> _Sign:
    """Tell what a pod's use by each metric shows; None: that is not known."""
    if any(use is not None and not at_most(use, _NO_USE) for use in uses):
        return _Sign.ALIVE
    serves = pod.ready and pod.phase is PodPhase.RUNNING
    if serves and pod.in_flight and uses and None not in uses:
        return _Sign.SUSPECT
    return _Sign.UNKNOWN


def _uses(
    metric: Metric, observation: Observation, names: AbstractSet[str]
) -> dict[str, float | None]:
    """Return each pod's sample by the target value; None where there is not one good sample."""
    answer = observation.metrics.get(metric.name)
    uses: dict[str, float | None] = {}
    for sample in answer.samples if isinstance(answer, Samples) else ():
        pod, value = sample.labels.get("pod", ""), sample.value
        if pod not in names:
            continue
        stale = observation.now - sample.at > metric.max_age
        good = pod not in uses and not stale and isfinite(value) and value >= 0
        uses[pod] = value / metric.target if good else None
    return uses

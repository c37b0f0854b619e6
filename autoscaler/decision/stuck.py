"""Replicas that have requests and do nothing about them.

An aborted client can take an Ollama's only slot for good: whoever is sent there then waits for
ever. Such a pod has requests in flight while no `pod` metric shows any use of it.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from math import isfinite

from autoscaler.decision.model import Metric, Observation, Pod, Policy, Samples, ScalingState
from autoscaler.decision.numbers import at_most
from autoscaler.decision.words import MetricType, PodPhase

_NO_USE = 1 / 20
"""Of the target value: what a process that waits still uses, with room to spare."""


class _Sign(Enum):
    SUSPECT = auto()
    ALIVE = auto()
    UNKNOWN = auto()


def stuck_pods(policy: Policy, state: ScalingState, observation: Observation) -> tuple[str, ...]:
    """Return the pods that are stuck now, the longest stuck first."""
    if policy.stuck_after is None:
        return ()
    due = [
        (since, pod.name)
        for pod, sign, since in _watch(policy, state, observation)
        if sign is _Sign.SUSPECT and observation.now - since >= policy.stuck_after
    ]
    return tuple(name for _, name in sorted(due))


def stuck_clocks(
    policy: Policy, state: ScalingState, observation: Observation
) -> Mapping[str, datetime]:
    """Return since when each pod has looked stuck, for the next cycle."""
    if policy.stuck_after is None:
        return {}
    return {pod.name: since for pod, _, since in _watch(policy, state, observation)}


def _watch(
    policy: Policy, state: ScalingState, observation: Observation
) -> list[tuple[Pod, _Sign, datetime]]:
    """Return each pod whose clock runs, what this cycle shows of it, and since when.

    What is not known neither ends a clock nor lets it conclude.
    """
    now, limit = observation.now, policy.stuck_after
    known = state.stuck if limit and state.watched(now, limit) else {}
    pods = [
        pod
        for pod in observation.pods or ()
        if not pod.deleting and (pod.in_flight or (pod.in_flight is None and pod.name in known))
    ]
    if not pods:
        return []
    metrics = [metric for metric in policy.metrics if metric.type is MetricType.POD]
    uses = [_uses(metric, observation) for metric in metrics]
    found = []
    for pod in pods:
        sign = _sign(pod, [use.get(pod.name) for use in uses])
        if sign is _Sign.SUSPECT or (sign is _Sign.UNKNOWN and pod.name in known):
            found.append((pod, sign, known.get(pod.name, now)))
    return found


def _sign(pod: Pod, uses: list[float | None]) -> _Sign:
    """Tell what a pod's use by each metric shows; None: that is not known."""
    if any(use is not None and not at_most(use, _NO_USE) for use in uses):
        return _Sign.ALIVE
    serves = pod.ready and pod.phase is PodPhase.RUNNING
    if serves and pod.in_flight and uses and None not in uses:
        return _Sign.SUSPECT
    return _Sign.UNKNOWN


def _uses(metric: Metric, observation: Observation) -> dict[str, float | None]:
    """Return each pod's sample by the target value; None where there is not one good sample."""
    answer = observation.metrics.get(metric.name)
    uses: dict[str, float | None] = {}
    for sample in answer.samples if isinstance(answer, Samples) else ():
        pod, value = sample.labels.get("pod", ""), sample.value
        stale = observation.now - sample.at > metric.max_age
        good = pod not in uses and not stale and isfinite(value) and value >= 0
        uses[pod] = value / metric.target if good else None
    return uses

"""Since when something has been so: what idle and failing replicas are judged by.

The clocks of missing metrics are in `quality.py`, those of stuck pods in `stuck.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from autoscaler.decision.model import Observation, Policy, ScalingState
from autoscaler.decision.numbers import at_most
from autoscaler.decision.quality import Reading
from autoscaler.decision.words import ALIVE, MetricType


def why_not_idle(observation: Observation, readings: Sequence[Reading]) -> str:
    """Return what says that requests may be in the system; empty where it is known that none are.

    Nothing less than every total, whole and zero, shows that.
    """
    totals = [reading for reading in readings if reading.metric.type is MetricType.TOTAL]
    for reading in totals:
        if not reading.whole:
            return f"{reading.metric.name} is {reading.quality}"
        if not at_most(reading.load, 0):
            return f"{reading.metric.name} is {reading.load:g}"
    busy = [pod.name for pod in observation.pods or () if pod.in_flight]
    if busy:
        return f"{busy[0]} has requests in flight"
    return "" if totals else "no metric counts the requests of all replicas"


def idle_since(
    policy: Policy, state: ScalingState, observation: Observation, readings: Sequence[Reading]
) -> datetime | None:
    """Return the first cycle of the present stretch with nothing in the system, if it is one."""
    if why_not_idle(observation, readings):
        return None
    now = observation.now
    span = policy.idle_period
    known = state.idle_since if not span or state.watched(now, span) else None
    return known or now


def failing_since(state: ScalingState, observation: Observation) -> Mapping[str, datetime]:
    """Return since when each pod has failed to come up; being ready ends it.

    A container that crashes again and again runs for a moment in between.
    """
    if observation.pods is None:
        return state.failing
    return {
        pod.name: state.failing.get(pod.name, observation.now)
        for pod in observation.pods
        if pod.phase in ALIVE
        and not pod.deleting
        and not pod.ready
        and (pod.failing or pod.name in state.failing)
    }

"""The last replica goes only after nothing has been in the system for a while."""

from datetime import timedelta

from autoscaler.decision.clocks import why_not_idle
from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Step
from autoscaler.decision.words import Reason, Stage


def keep_last(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Stay at one replica until `idle_period` has passed without a request."""
    period = cycle.policy.idle_period
    concerned = number == 0 < cycle.current and cycle.bounds.min_replicas == 0
    if not concerned or period == timedelta(0):
        return ()
    idle = cycle.observation.now - cycle.idle_since if cycle.idle_since else None
    if idle is not None and idle >= period:
        return ()
    if idle is None:
        detail = why_not_idle(cycle.observation, cycle.readings)
    else:
        detail = f"idle for {idle.total_seconds():g}s of {period.total_seconds():g}s"
    return (Step(stage=Stage.IDLE, from_=number, to=1, reason=Reason.NOT_IDLE, detail=detail),)

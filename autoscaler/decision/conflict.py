"""Another writer changed `replicas`: stand down for a while, never fight."""

from datetime import datetime

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Step
from autoscaler.decision.words import Reason, Stage


def stand_down(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Hold until `conflict_hold` has passed since the last foreign write."""
    since = conflict_since(cycle)
    if since is None or cycle.observation.now - since >= cycle.policy.conflict_hold:
        return ()
    return (
        Step(
            stage=Stage.CONFLICT,
            from_=number,
            to=cycle.current,
            reason=Reason.CONFLICT,
            detail=f"another writer changed replicas, seen at {since.isoformat()}",
        ),
    )


def conflict_since(cycle: Cycle) -> datetime | None:
    """Return the time of the last foreign write; each one starts the hold anew."""
    if cycle.observation.foreign_write is not None:
        return cycle.observation.now
    return cycle.state.conflict_since

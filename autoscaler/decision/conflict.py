"""Another writer changed `replicas`: stand down for a while, never fight."""

from datetime import datetime

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Step
from autoscaler.decision.words import Reason, Stage


def stands_down(cycle: Cycle) -> bool:
    """Tell whether the hold of the last foreign write is not yet over."""
    return bool(stand_down(cycle, cycle.current))


def stand_down(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Hold until `conflict_hold` has passed since the last foreign write."""
    since, manager = last_foreign_write(cycle)
    if since is None or cycle.observation.now - since >= cycle.policy.conflict_hold:
        return ()
    return (
        Step(
            stage=Stage.CONFLICT,
            from_=number,
            to=cycle.current,
            reason=Reason.CONFLICT,
            detail=f"{manager or 'another writer'} changed replicas, seen at {since.isoformat()}",
        ),
    )


def last_foreign_write(cycle: Cycle) -> tuple[datetime | None, str]:
    """Return when the last foreign write was seen, and whose; each one starts the hold anew."""
    write = cycle.observation.foreign_write
    if write is not None:
        return cycle.observation.now, write.manager
    return cycle.state.conflict_since, cycle.state.conflict_with

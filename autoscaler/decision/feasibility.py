"""Shrinking only where the survivors can carry the load without asking to grow again."""

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Step
from autoscaler.decision.recommend import filled_load, needed
from autoscaler.decision.words import Reason, Stage, UseFor


def keep_feasible(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Raise a shrinking number to the smallest one whose survivors do not ask to grow."""
    if number >= cycle.current:
        return ()
    edge = 1 + cycle.policy.scale_up.tolerance
    least, name = number, ""
    for reading in cycle.readings:
        if reading.missing or reading.metric.use_for is UseFor.SCALE_DOWN:
            continue
        survivors = needed(cycle, reading, filled_load(reading), edge)
        if survivors > least:
            least, name = survivors, reading.metric.name
    if least == number:
        return ()
    return (
        Step(
            stage=Stage.FEASIBILITY,
            from_=number,
            to=min(least, cycle.current),
            reason=Reason.NOT_FEASIBLE,
            detail=f"{number} would leave {name} above its scale-up threshold",
        ),
    )

"""Switches that a person throws: replicas 0, and the pause of one direction or both."""

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Step
from autoscaler.decision.words import Direction, Reason, Stage


def is_off(cycle: Cycle) -> bool:
    """Tell whether a person has switched scaling off: zero is nothing that we ever ask for."""
    return cycle.current == 0 and cycle.policy.least_replicas > 0


def hold_all(cycle: Cycle) -> tuple[Step, ...]:
    """Hold whatever there is, bounds or not, where scaling is switched off or paused."""
    if is_off(cycle):
        detail = "replicas is 0: switched off by a person"
        return (_hold(cycle, cycle.current, Reason.SCALING_DISABLED, detail),)
    if cycle.observation.paused:
        return (_hold(cycle, cycle.current, Reason.PAUSED, "paused"),)
    return ()


def hold_direction(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Hold a number that goes where scaling is paused."""
    paused = cycle.observation.paused_direction
    goes = Direction.UP if number > cycle.current else Direction.DOWN
    if number == cycle.current or paused is not goes:
        return ()
    return (_hold(cycle, number, Reason.PAUSED, f"scaling {paused} is paused"),)


def _hold(cycle: Cycle, number: int, reason: Reason, detail: str) -> Step:
    return Step(stage=Stage.SWITCH, from_=number, to=cycle.current, reason=reason, detail=detail)

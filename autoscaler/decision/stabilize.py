"""Stabilization windows: up takes the lowest recommendation of its window, down the highest.

HPA's clamp: the current replicas are forced into [lowest of the up window, highest of the down
window], both including the newest recommendation. An entry exactly as old as its window has
left it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Policy, Recommendation, ScalingState, Step
from autoscaler.decision.words import Reason, Stage


def stabilize(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Move no further than the windows agree on."""
    up, down = cycle.policy.scale_up, cycle.policy.scale_down
    lowest = min([number, *_inside(cycle, up.stabilization_window)])
    highest = max([number, *_inside(cycle, down.stabilization_window)])
    to = min(max(cycle.current, lowest), highest)
    if to == number:
        return ()
    growing = number > cycle.current
    word, extreme = ("lowest", lowest) if growing else ("highest", highest)
    span = (up if growing else down).stabilization_window.total_seconds()
    return (
        Step(
            stage=Stage.STABILIZATION,
            from_=number,
            to=to,
            reason=Reason.STABILIZED,
            detail=f"{word} recommendation of the last {span:g}s is {extreme}",
        ),
    )


def seeded(state: ScalingState, now: datetime, current: int) -> tuple[Recommendation, ...]:
    """Return the window's entries; a target never seen before has its current replicas in it."""
    if state.last_cycle is None:
        return (Recommendation(at=now, replicas=current),)
    return state.recommendations


def resumed(policy: Policy, state: ScalingState, now: datetime, current: int) -> ScalingState:
    """Return the state after cycles that could not see: windows hold what was watched.

    Where nobody watched for a whole window of shrinking, its only entry would be the first new
    number; so it begins with the current replicas, as that of a target that was never seen does.
    """
    last = state.last_cycle
    if last is None or now - last < policy.scale_down.stabilization_window:
        return state
    entry = Recommendation(at=now, replicas=current)
    return replace(state, recommendations=(*state.recommendations, entry))


def recorded(
    policy: Policy, entries: tuple[Recommendation, ...], now: datetime, number: int
) -> tuple[Recommendation, ...]:
    """Add this cycle's recommendation and drop those that cannot count any more.

    Gone are those that have left both windows, and those between a lower (or equal) and a higher
    (or equal) newer one: the newer stay longer, so an older in between is never the extreme.
    """
    window = max(policy.scale_up.stabilization_window, policy.scale_down.stabilization_window)
    kept = [Recommendation(at=now, replicas=number)]
    lowest = highest = number
    for entry in reversed(entries):
        if now - entry.at < window and not lowest <= entry.replicas <= highest:
            kept.append(entry)
            lowest, highest = min(lowest, entry.replicas), max(highest, entry.replicas)
    return tuple(reversed(kept))


def _inside(cycle: Cycle, window: timedelta) -> list[int]:
    if not window:  # an entry exactly as old as its window has left it
        return []
    now = cycle.observation.now
    entries = seeded(cycle.state, now, cycle.current)
    return [entry.replicas for entry in entries if now - entry.at < window]

"""How fast and how far: cooldown, rate policies, bounds."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Policy, RatePolicy, ScaleEvent, Scaling, Step
from autoscaler.decision.numbers import round_up, truncate
from autoscaler.decision.words import PolicyType, Reason, SelectPolicy, Stage


def cool_down(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Hold until the cooldown since the last successful write in this direction is over."""
    if number == cycle.current:
        return ()
    growing = number > cycle.current
    scaling = cycle.policy.scale_up if growing else cycle.policy.scale_down
    last = cycle.state.last_up if growing else cycle.state.last_down
    if last is None or (elapsed := cycle.observation.now - last) >= scaling.cooldown:
        return ()
    left = (scaling.cooldown - elapsed).total_seconds()
    return (
        Step(
            stage=Stage.COOLDOWN,
            from_=number,
            to=cycle.current,
            reason=Reason.COOLING_DOWN,
            detail=f"{left:g}s left since the last change in this direction",
        ),
    )


def limit_rate(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Move no faster than the rate policies allow (HPA's semantics)."""
    if number == cycle.current:
        return ()
    growing = number > cycle.current
    scaling = cycle.policy.scale_up if growing else cycle.policy.scale_down
    allowed = _allowed(cycle, scaling, growing=growing)
    if allowed is None or (number <= allowed if growing else number >= allowed):
        return ()
    return (
        Step(
            stage=Stage.RATE,
            from_=number,
            to=allowed,
            reason=Reason.RATE_LIMITED,
            detail=f"rate policies allow {allowed} now",
        ),
    )


def keep_bounds(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Keep the number within the bounds that are in force."""
    low, high = cycle.bounds.min_replicas, cycle.bounds.max_replicas
    if low <= number <= high:
        return ()
    to, reason = (low, Reason.AT_MINIMUM) if number < low else (high, Reason.AT_MAXIMUM)
    detail = f"min_replicas {low}, max_replicas {high}"
    if cycle.bounds.schedule:
        detail += f" by schedule {cycle.bounds.schedule}"
    return (Step(stage=Stage.BOUNDS, from_=number, to=to, reason=reason, detail=detail),)


def remembered_events(
    policy: Policy, events: Sequence[ScaleEvent], now: datetime
) -> tuple[ScaleEvent, ...]:
    """Drop the writes that no rate policy looks back to any more."""
    policies = (*policy.scale_up.policies, *policy.scale_down.policies)
    longest = max((rate.period for rate in policies), default=timedelta(0))
    return tuple(event for event in events if now - event.at < longest)


def _allowed(cycle: Cycle, scaling: Scaling, *, growing: bool) -> int | None:
    """Return the furthest number; None where nothing limits it. Never against the direction."""
    if scaling.select_policy is SelectPolicy.DISABLED:
        return cycle.current
    if not scaling.policies:
        return None
    limits = [_furthest(cycle, rate, growing=growing) for rate in scaling.policies]
    if growing:
        pick = max if scaling.select_policy is SelectPolicy.MAX else min
        return max(pick(limits), cycle.current)
    pick = min if scaling.select_policy is SelectPolicy.MAX else max
    return min(pick(limits), cycle.current)


def _furthest(cycle: Cycle, rate: RatePolicy, *, growing: bool) -> int:
    """Return where one policy ends, counted from the replicas at the start of its period."""
    now = cycle.observation.now
    moved = sum(event.change for event in cycle.state.events if now - event.at < rate.period)
    base = max(0, cycle.current - moved)
    if rate.type is PolicyType.PODS:
        return base + rate.value if growing else base - rate.value
    if growing:
        # A percentage of nothing is nothing: without this, zero would be for ever.
        return max(1, round_up(base * (1 + rate.value / 100)))
    return truncate(max(0.0, base * (1 - rate.value / 100)))

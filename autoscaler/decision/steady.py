"""When a cycle need not be decided again: nothing but the time is new, and nothing waits for it.

A simulation of quiet weeks consists mostly of such cycles. What `decide` makes of time is listed
here, one condition for each; a property test holds that the next decision is then the same, step by
step, and that `moved_on` is the state that it leaves.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from autoscaler.decision.decide import Verdict
from autoscaler.decision.model import Observation, Policy, Recommendation, Scaling, ScalingState
from autoscaler.decision.words import Direction, PodPhase


def is_steady(
    policy: Policy, before: ScalingState, observation: Observation, verdict: Verdict
) -> bool:
    """Tell whether the cycles after this one decide the same, as long as they see the same.

    They must see all of it, but for the times; samples that are young enough must be so again; and
    they must be no further apart than this cycle was from the one before.
    """
    decision, after, now = verdict.decision, verdict.state, observation.now
    if decision.direction is not Direction.HOLD or decision.replace is not None:
        return False
    return (
        not (before.events or after.events)  # no rate policy looks back to anything
        and _one_recommendation(before, after, now)
        and not (before.holds or after.holds or before.failing or after.failing)
        and not (before.stuck or after.stuck)
        and before.given_back is None
        and after.given_back is None
        and after.conflict_since is None
        and not policy.schedules
        and _cooled(policy.scale_up, after.last_up, now)
        and _cooled(policy.scale_down, after.last_down, now)
        and _idles_on(policy, before, after, now)
        and all(pod.phase is not PodPhase.PENDING for pod in observation.pods or ())
    )


def moved_on(state: ScalingState, now: datetime) -> ScalingState:
    """Return the state of a steady target after more cycles, the last of them at that time."""
    (entry,) = state.recommendations
    return replace(
        state,
        last_cycle=now,
        recommendations=(Recommendation(at=now, replicas=entry.replicas),),
    )


def _one_recommendation(before: ScalingState, after: ScalingState, now: datetime) -> bool:
    """Tell whether the windows hold one number alone, and this cycle has put it there."""
    if before.last_cycle is None or len(after.recommendations) != 1:
        return False
    (newest,) = after.recommendations
    same = all(entry.replicas == newest.replicas for entry in before.recommendations)
    return same and newest.at == now


def _cooled(scaling: Scaling, last: datetime | None, now: datetime) -> bool:
    return last is None or now - last >= scaling.cooldown


def _idles_on(policy: Policy, before: ScalingState, after: ScalingState, now: datetime) -> bool:
    """Tell whether no idle period runs that could end, or whose clock the next cycle would set."""
    if after.idle_since is None:
        return True
    span = policy.idle_period
    return policy.least_replicas > 0 and (span == timedelta(0) or before.watched(now, span))

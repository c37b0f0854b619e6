"""Replicas that cannot run are given back, and not asked for again for a while.

While own replicas are starting, nothing is added on their account: the recommendation counts
them (`recommend.py`). This stage handles those that do not start at all.
"""

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import PodPhase, Reason, Recommendation, Stage, Step


def stuck_count(cycle: Cycle) -> int:
    """Return how many pods have been pending for `pending_limit` or longer."""
    now, limit = cycle.observation.now, cycle.policy.pending_limit
    return sum(
        pod.phase is PodPhase.PENDING
        and not pod.deleting
        and pod.created is not None
        and now - pod.created >= limit
        for pod in cycle.observation.pods or ()
    )


def give_back(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Give back stuck replicas; afterwards do not grow beyond what ran, for `pending_limit`."""
    returned = given_back(cycle)
    if returned is None:
        return ()
    now = cycle.observation.now
    if returned.at == now and number > returned.replicas and cycle.veto is None:
        return (
            Step(
                stage=Stage.PENDING,
                from_=number,
                to=returned.replicas,
                reason=Reason.GIVEN_BACK,
                detail=f"{cycle.current - returned.replicas} replicas could not be started",
            ),
        )
    ceiling = max(cycle.current, returned.replicas)
    if number <= ceiling or now - returned.at >= cycle.policy.pending_limit:
        return ()
    return (
        Step(
            stage=Stage.PENDING,
            from_=number,
            to=ceiling,
            reason=Reason.PODS_PENDING,
            detail=f"more than {returned.replicas} could not be started",
        ),
    )


def given_back(cycle: Cycle) -> Recommendation | None:
    """Return when replicas were last stuck, and how many were not."""
    stuck = stuck_count(cycle)
    if stuck:
        able = max(0, cycle.current - stuck)
        return Recommendation(at=cycle.observation.now, replicas=able)
    return cycle.state.given_back

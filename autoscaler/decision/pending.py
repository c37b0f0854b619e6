"""Replicas that cannot run are given back, and not asked for again for a while.

While own replicas are starting, nothing is added on their account: the recommendation counts
them (`recommend.py`). This stage handles those that do not start at all.
"""

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Pod, Recommendation, Step
from autoscaler.decision.words import ALIVE, PodPhase, Reason, Stage


def runnable(cycle: Cycle) -> int | None:
    """Return how many of the current replicas can run; None where none is stuck.

    Stuck is who has been pending for `pending_limit` and found no node (or, where that is not
    known, is merely pending). The last replica is never given back for it: a cluster may only
    add a node for a pod that waits.
    """
    pods = cycle.observation.pods or ()
    stuck = sum(_stuck(cycle, pod) for pod in pods)
    if not stuck:
        return None
    alive = sum(not pod.deleting and pod.phase in ALIVE for pod in pods)  # the stuck among them
    return min(cycle.current, max(1, cycle.current - stuck, alive - stuck))


def give_back(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Give back stuck replicas; afterwards do not grow beyond what ran, for `pending_limit`."""
    able = runnable(cycle)
    if able is not None and cycle.veto is None and number > able:
        return (
            Step(
                stage=Stage.PENDING,
                from_=number,
                to=able,
                reason=Reason.GIVEN_BACK,
                detail=f"{cycle.current - able} of {cycle.current} replicas could not be started",
            ),
        )
    past = cycle.state.given_back
    if able is None and (past is None or _over(cycle, past)):
        return ()
    ceiling = cycle.current if past is None else max(cycle.current, past.replicas)
    if number <= ceiling:
        return ()
    return (
        Step(
            stage=Stage.PENDING,
            from_=number,
            to=ceiling,
            reason=Reason.PODS_PENDING,
            detail=f"more than {ceiling} could not be started",
        ),
    )


def given_back(cycle: Cycle) -> Recommendation | None:
    """Return when replicas were last given back, and how many could run, while that counts."""
    able = runnable(cycle)
    if able is not None and cycle.veto is None:
        return Recommendation(at=cycle.observation.now, replicas=able)
    past = cycle.state.given_back
    return None if past is None or _over(cycle, past) else past


def _stuck(cycle: Cycle, pod: Pod) -> bool:
    return (
        pod.phase is PodPhase.PENDING
        and not pod.deleting
        and pod.unschedulable is not False
        and pod.created is not None
        and cycle.observation.now - pod.created >= cycle.policy.pending_limit
    )


def _over(cycle: Cycle, past: Recommendation) -> bool:
    """Tell whether there is room again: time has passed, or more run than could before."""
    waited = cycle.observation.now - past.at >= cycle.policy.pending_limit
    return waited or cycle.observation.ready > past.replicas

"""Replicas that cannot run are given back, and not asked for again for a while.

While own replicas are starting, nothing is added on their account: the recommendation counts
them, but for those that fail (`recommend.py`). This stage handles those that do not start at all.
"""

from collections import Counter

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Pod, Recommendation, Step
from autoscaler.decision.words import ALIVE, PodPhase, Reason, Stage


def runnable(cycle: Cycle) -> int | None:
    """Return how many of the current replicas can run; None where none is lost.

    Lost is who has found no node (or, where that is not known, has been pending) or has failed to
    come up for `pending_limit`. The last replica is never given back for it: a cluster may only
    add a node for a pod that waits.
    """
    pods = cycle.observation.pods or ()
    lost = len(_lost_pods(cycle))
    if not lost:
        return None
    alive = sum(not pod.deleting and pod.phase in ALIVE for pod in pods)  # the lost among them
    return min(cycle.current, max(1, cycle.current - lost, alive - lost))


def give_back(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Give back lost replicas; afterwards do not grow beyond what ran, for `pending_limit`."""
    able = runnable(cycle)
    if able is not None and able < cycle.current and _may_give_back(cycle) and number > able:
        return (
            Step(
                stage=Stage.PENDING,
                from_=number,
                to=able,
                reason=Reason.GIVEN_BACK,
                detail=f"{cycle.current - able} of {cycle.current} replicas could not be started: "
                f"{_why(cycle)}",
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
            detail=f"more than {ceiling} could not be started{_until(cycle)}",
        ),
    )


def given_back(cycle: Cycle) -> Recommendation | None:
    """Return when replicas were last given back, and how many could run, while that counts."""
    able = runnable(cycle)
    if able is not None and _may_give_back(cycle):
        return Recommendation(at=cycle.observation.now, replicas=able)
    past = cycle.state.given_back
    return None if past is None or _over(cycle, past) else past


def _may_give_back(cycle: Cycle) -> bool:
    """Tell whether it would be the lost ones that go.

    In a rollout it would not: a Deployment that shrinks takes pods of the old template, which run,
    along with those of the new one that do not come up.
    """
    alive = (p for p in cycle.observation.pods or () if p.phase in ALIVE and not p.deleting)
    templates = {pod.template for pod in alive if pod.template is not None}
    return cycle.veto is None and len(templates) <= 1


def _lost_pods(cycle: Cycle) -> tuple[Pod, ...]:
    failing = cycle.failing
    return tuple(
        pod
        for pod in cycle.observation.pods or ()
        if (pod.phase is PodPhase.PENDING or pod.name in failing) and _lost(cycle, pod)
    )


def _why(cycle: Cycle) -> str:
    """Tell what keeps those that are lost from running, and how many of them."""
    kinds = Counter(
        "failed to come up"
        if pod.name in cycle.failing
        else "found no node"
        if pod.unschedulable
        else "pending"
        for pod in _lost_pods(cycle)
    )
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))


def _lost(cycle: Cycle, pod: Pod) -> bool:
    now, limit = cycle.observation.now, cycle.policy.pending_limit
    if pod.name in cycle.failing and now - cycle.failing[pod.name] >= limit:
        return True
    return (
        pod.phase is PodPhase.PENDING
        and not pod.deleting
        and pod.unschedulable is not False
        and pod.created is not None
        and now - pod.created >= limit
    )


def _over(cycle: Cycle, past: Recommendation) -> bool:
    """Tell whether there is room again: time has passed, or more run than could before."""
    waited = cycle.observation.now - past.at >= cycle.policy.pending_limit
    return waited or cycle.observation.ready > past.replicas


def _until(cycle: Cycle) -> str:
    """Tell from when on more are asked for again, where that is known."""
    past = given_back(cycle)
    return (
        f", asked for again at {(past.at + cycle.policy.pending_limit).isoformat()}" if past else ""
    )

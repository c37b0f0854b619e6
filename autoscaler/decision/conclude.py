"""What the steps come to: the decision, its reason, who goes, and who is replaced."""

from autoscaler.decision.conflict import stands_down
from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Decision, Step
from autoscaler.decision.switches import hold_all
from autoscaler.decision.victims import choose_victims, tell_victims
from autoscaler.decision.words import FINISHED, Direction, PodPhase, Reason, Stage


def conclude(cycle: Cycle, steps: tuple[Step, ...]) -> tuple[Decision, tuple[Step, ...]]:
    """Return the decision, and the steps with the one that names the victims of a shrink."""
    current = cycle.current
    to = steps[-1].to if steps else current
    if to == current:
        pod = _replaceable(cycle)
        reason = Reason.REPLICA_STUCK if pod else _hold_reason(cycle, steps)
        hold = Decision(from_=current, to=to, direction=Direction.HOLD, reason=reason, replace=pod)
        return hold, steps
    direction = Direction.UP if to > current else Direction.DOWN
    reason = _move_reason(current, to, steps)
    names: tuple[str, ...] = ()
    if direction is Direction.DOWN:
        victims = choose_victims(cycle.observation, to, cycle.stuck)
        names = tuple(pod.name for pod in victims)
        steps = (*steps, tell_victims(cycle, to, reason, victims))
    move = Decision(from_=current, to=to, direction=direction, reason=reason, victims=names)
    return move, steps


def tell_quality(cycle: Cycle) -> tuple[Step, ...]:
    """Leave a step for each metric that is not whole."""
    return tuple(
        Step(
            stage=Stage.QUALITY,
            from_=cycle.current,
            to=cycle.current,
            reason=Reason.HOLD_EXPIRED if reading.missing and reading.expired else reading.reason,
            detail=f"{reading.metric.name} {reading.quality}: {reading.detail}".rstrip(": "),
        )
        for reading in cycle.readings
        if not reading.whole
    )


def tell_stuck(cycle: Cycle) -> tuple[Step, ...]:
    """Leave a step that names the stuck pods."""
    if not cycle.stuck:
        return ()
    return (
        Step(
            stage=Stage.STUCK,
            from_=cycle.current,
            to=cycle.current,
            reason=Reason.REPLICA_STUCK,
            detail=f"requests in flight and no use: {', '.join(cycle.stuck)}",
        ),
    )


def _move_reason(current: int, to: int, steps: tuple[Step, ...]) -> Reason:
    """Return what asked for the move; the rules that only shortened it stand in the trail."""
    return next(step.reason for step in steps if (step.to - current) * (to - current) > 0)


def _hold_reason(cycle: Cycle, steps: tuple[Step, ...]) -> Reason:
    """Return what keeps the number: a switch or conflict, else the last rule that turned it back.

    Where only the metrics had a say, one that is missing and blocks is the reason worth telling.
    """
    if steps and steps[-1].stage in (Stage.SWITCH, Stage.CONFLICT):
        return steps[-1].reason
    turned = next((step for step in reversed(steps) if step.from_ != step.to), None)
    if turned and turned.stage not in (Stage.RECOMMEND, Stage.TOLERANCE):
        return turned.reason
    if cycle.veto:
        return cycle.veto.reason
    last = turned or (steps[-1] if steps else None)
    return last.reason if last else Reason.WITHIN_TOLERANCE


def _replaceable(cycle: Cycle) -> str | None:
    """Return the stuck pod to delete now, one at a time: the others serve, and nobody is on a way.

    Only for a decision that holds, and never while a person or another writer is at work.
    """
    if not cycle.stuck or not cycle.policy.restart_stuck:
        return None
    if hold_all(cycle) or stands_down(cycle):
        return None
    pods = [pod for pod in cycle.observation.pods or () if pod.phase not in FINISHED]
    ready = [pod for pod in pods if pod.ready and pod.phase is PodPhase.RUNNING]
    at_rest = len(ready) == len(pods) >= cycle.current and not any(pod.deleting for pod in pods)
    others = len(ready) > len(cycle.stuck)
    return cycle.stuck[0] if at_rest and others else None

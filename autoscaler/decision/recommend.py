"""From the metrics to a raw recommendation, and the band in which nothing moves.

`total`: ceil(load / target). `pod`: ceil(sum / target) over ready pods. Several metrics: the
largest. Tolerance is judged per metric on its usage ratio, as HPA does: pods without a sample
count as the target when the ratio asks to shrink and as nothing when it asks to grow, pods that
are still starting count as idle when it asks to grow, and neither may turn the direction round.
Stuck replicas serve nothing: what the load needs comes on top of them.
"""

from dataclasses import dataclass

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Policy, Step
from autoscaler.decision.numbers import at_most, replicas_for
from autoscaler.decision.quality import Reading
from autoscaler.decision.words import FallbackBehavior, MetricType, Reason, Stage, UseFor


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What one metric asks for."""

    reading: Reading
    replicas: int
    reason: Reason


def usage_ratio(reading: Reading, working: int) -> float | None:
    """Return observed / target value; None where there is nothing to divide by."""
    count = working if reading.metric.type is MetricType.TOTAL else reading.counted
    return reading.load / (reading.metric.target * count) if count else None


def recommend(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Take the largest number that a usable metric asks for; the fallback where none is left."""
    wants = [want for reading in cycle.readings if (want := _raw(cycle, reading))]
    if wants:
        best = max(wants, key=lambda want: want.replicas)
        return (_step(cycle, Stage.RECOMMEND, number, best),)
    if cycle.fallen_back:
        return (
            Step(
                stage=Stage.RECOMMEND,
                from_=number,
                to=fallback(cycle.policy, number),
                reason=Reason.HOLD_EXPIRED,
                detail=f"no metric for hold_limit: fallback {cycle.policy.fallback.behavior}",
            ),
        )
    return ()


def tolerate(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Keep the current replicas for each metric whose usage ratio is in the band."""
    usable = [reading for reading in cycle.readings if not reading.missing]
    if not usable:
        return ()
    wants = [want for reading in usable if (want := wanted(cycle, reading))]
    if not wants:
        return (
            Step(
                stage=Stage.TOLERANCE,
                from_=number,
                to=cycle.current,
                reason=Reason.WITHIN_TOLERANCE,
                detail="no usable metric may ask for another number",
            ),
        )
    best = max(wants, key=lambda want: want.replicas)
    if best.replicas == number and best.reason in (Reason.ABOVE_TARGET, Reason.BELOW_TARGET):
        return ()
    return (_step(cycle, Stage.TOLERANCE, number, best),)


def permit(cycle: Cycle, number: int) -> tuple[Step, ...]:
    """Block shrinking while a metric is missing."""
    veto = cycle.veto
    if veto is None or number >= cycle.current:
        return ()
    return (
        Step(
            stage=Stage.QUALITY,
            from_=number,
            to=cycle.current,
            reason=veto.reason,
            detail=f"no shrinking while {veto.metric.name} is {veto.quality}",
        ),
    )


def fallback(policy: Policy, current: int) -> int:
    """Return the replicas that are declared for a time without any metric."""
    replicas = policy.fallback.replicas or 0
    options = {
        FallbackBehavior.CURRENT_REPLICAS: current,
        FallbackBehavior.STATIC: replicas,
        FallbackBehavior.CURRENT_IF_HIGHER: max(current, replicas),
        FallbackBehavior.CURRENT_IF_LOWER: min(current, replicas),
    }
    return options[policy.fallback.behavior]


def filled_load(reading: Reading) -> float:
    """Return the load with each pod that lacks a sample counted as the target."""
    return reading.load + reading.lacking * reading.metric.target


def needed(cycle: Cycle, reading: Reading, load: float, edge: float = 1) -> int:
    """Return how many replicas a load needs at the target value times `edge`, stuck ones on top.

    What an idle process still uses is no reason for the last replica.
    """
    replicas = replicas_for(load, reading.metric.target * edge)
    per_pod = reading.metric.type is MetricType.POD
    if replicas == 1 and cycle.may_empty and per_pod and not reading.lacking:
        return 0
    return replicas + len(cycle.stuck)


def wanted(cycle: Cycle, reading: Reading) -> Want | None:
    """Return what one metric asks for, were it alone; None where it has no say."""
    want = _raw(cycle, reading)
    ratio = usage_ratio(reading, cycle.working)
    if want is None or ratio is None:
        return want
    if _within(cycle.policy, ratio):
        return _keep(cycle, reading, Reason.WITHIN_TOLERANCE)
    if reading.metric.type is MetricType.TOTAL:
        return want
    filled = _filled_ratio(cycle, reading, ratio)
    turned = (ratio > 1) != (filled > 1) or (want.replicas - cycle.current) * (ratio - 1) < 0
    if turned or _within(cycle.policy, filled):
        return _keep(cycle, reading, _why_filled(cycle, reading))
    return want


def _raw(cycle: Cycle, reading: Reading) -> Want | None:
    if reading.missing:
        return None
    ratio = usage_ratio(reading, cycle.working)
    shrinking = ratio is not None and ratio < 1
    load = filled_load(reading) if shrinking else reading.load
    return _permitted_use(reading, needed(cycle, reading, load), cycle.current)


def _keep(cycle: Cycle, reading: Reading, reason: Reason) -> Want | None:
    """Ask for the current replicas; a metric that only grows has no say in keeping them."""
    if reading.metric.use_for is UseFor.SCALE_UP:
        return None
    return Want(reading=reading, replicas=cycle.current, reason=reason)


def _why_filled(cycle: Cycle, reading: Reading) -> Reason:
    """Name those who said nothing and were filled in for."""
    if reading.lacking:
        return Reason.METRIC_PARTIAL
    starting = cycle.working > reading.counted
    return Reason.PODS_PENDING if starting else Reason.WITHIN_TOLERANCE


def _filled_ratio(cycle: Cycle, reading: Reading, ratio: float) -> float:
    """Count the pods that say nothing in the way that moves the least; failing ones do not come."""
    serving = reading.counted + reading.lacking
    target = reading.metric.target
    if ratio > 1:
        coming = cycle.working - len(cycle.failing)
        return reading.load / (target * max(serving, coming))
    return filled_load(reading) / (target * serving)


def _within(policy: Policy, ratio: float) -> bool:
    low, high = 1 - policy.scale_down.tolerance, 1 + policy.scale_up.tolerance
    return at_most(low, ratio) and at_most(ratio, high)


def _permitted_use(reading: Reading, replicas: int, current: int) -> Want | None:
    """Let a metric ask only for the directions it is used for."""
    if reading.metric.use_for is UseFor.SCALE_UP and replicas <= current:
        return None
    if reading.metric.use_for is UseFor.SCALE_DOWN:
        replicas = min(replicas, current)
    if replicas == current:
        reason = Reason.WITHIN_TOLERANCE
    else:
        reason = Reason.ABOVE_TARGET if replicas > current else Reason.BELOW_TARGET
    return Want(reading=reading, replicas=replicas, reason=reason)


def _step(cycle: Cycle, stage: Stage, number: int, want: Want) -> Step:
    metric, load = want.reading.metric, round(want.reading.load, 3)
    over = "" if metric.type is MetricType.TOTAL else f" over {want.reading.counted} pods"
    more = f", {len(cycle.stuck)} stuck on top" if cycle.stuck else ""
    return Step(
        stage=stage,
        from_=number,
        to=want.replicas,
        reason=want.reason,
        detail=f"{metric.name} {load:g}{over}, target {metric.target:g} per replica{more}",
    )

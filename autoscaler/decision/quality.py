"""How good each metric's answer is, and how long a missing one may hold the number.

Absence is never zero: a metric without a usable answer is `missing` and says why. A per-pod
metric that lacks some ready pods is partial; it is filled in by the stages in the way that
moves the least (HPA's rule).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isfinite

from autoscaler.decision.model import (
    Metric,
    Missing,
    Observation,
    Policy,
    Sample,
    Samples,
    ScalingState,
)
from autoscaler.decision.refusal import shown
from autoscaler.decision.words import MetricType, MissingKind, OnEmpty, PodPhase, Reason

_NOT_OBSERVED = Missing(missing=MissingKind.FAILED, detail="not in the observation")

_REASONS = {
    MissingKind.STALE: Reason.METRIC_STALE,
    MissingKind.EMPTY: Reason.METRIC_EMPTY,
    MissingKind.NOT_A_NUMBER: Reason.METRIC_NOT_A_NUMBER,
    MissingKind.TOO_MANY_SERIES: Reason.TOO_MANY_SERIES,
    MissingKind.FAILED: Reason.METRIC_FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One metric's answer, judged."""

    metric: Metric
    missing: MissingKind | None = None
    detail: str = ""
    load: float = 0.0
    """The total, or the sum over the pods that have a sample."""
    counted: int = 0
    """Pods that have a sample (`pod` metrics)."""
    lacking: int = 0
    """Ready pods without one (`pod` metrics)."""
    age: timedelta | None = None
    """Of the oldest sample that counts."""
    since: datetime | None = None
    """First cycle of the present stretch without a usable answer: the hold clock."""
    expired: bool = False
    """The hold clock has passed the hold limit."""

    @property
    def whole(self) -> bool:
        """Tell whether nothing is missing."""
        return self.missing is None and not self.lacking

    @property
    def reason(self) -> Reason:
        """Return the reason that names what is wrong with an answer that is not whole."""
        return _REASONS[self.missing] if self.missing else Reason.METRIC_PARTIAL

    @property
    def quality(self) -> str:
        """Return the quality state in one word."""
        return str(self.missing or ("Partial" if self.lacking else "Fresh"))


def read_metrics(
    policy: Policy,
    state: ScalingState,
    observation: Observation,
    stuck: tuple[str, ...] = (),
) -> tuple[Reading, ...]:
    """Judge each metric of the policy, with its hold clock. What is stuck does not serve."""
    seen = _see(observation, stuck)
    return tuple(_read(metric, policy, state, seen) for metric in policy.metrics)


def hold_clocks(readings: Iterable[Reading]) -> Mapping[str, datetime]:
    """Return the clocks that go on into the next cycle."""
    return {reading.metric.name: reading.since for reading in readings if reading.since}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """An observation, and who serves in it."""

    observation: Observation
    serving: frozenset[str] | None
    """Names of the pods; None where they are not known."""
    count: int


def _see(observation: Observation, stuck: tuple[str, ...]) -> _Seen:
    if observation.pods is None:
        return _Seen(observation=observation, serving=None, count=observation.ready)
    serving = frozenset(
        pod.name
        for pod in observation.pods
        if pod.ready and pod.phase is PodPhase.RUNNING and not pod.deleting
    ).difference(stuck)
    return _Seen(observation=observation, serving=serving, count=len(serving))


def _read(metric: Metric, policy: Policy, state: ScalingState, seen: _Seen) -> Reading:
    """Judge one metric and set its clock: only a whole answer ends it.

    One that has run out begins anew with a partial answer: the fallback is left, and not entered
    again before another hold limit, so that it cannot take turns with what is half known.
    """
    reading, now = _judge(metric, seen), seen.observation.now
    since = state.holds.get(metric.name)
    if reading.whole:
        since = None
    elif reading.missing:
        since = since or now
    elif since and now - since >= policy.hold_limit:
        since = now
    if since is None:
        return reading
    expired = now - since >= policy.hold_limit
    return replace(reading, since=since, expired=expired)


def _judge(metric: Metric, seen: _Seen) -> Reading:
    answer = seen.observation.metrics.get(metric.name, _NOT_OBSERVED)
    if isinstance(answer, Samples) and not answer.samples:
        answer = Missing(missing=MissingKind.EMPTY, detail="no series")
    if isinstance(answer, Missing):
        if answer.missing is MissingKind.EMPTY and _empty_is_nothing(metric, seen):
            return Reading(metric=metric, counted=seen.count, detail="empty is 0")
        return Reading(metric=metric, missing=answer.missing, detail=answer.detail)
    if metric.type is MetricType.TOTAL:
        return _judge_total(metric, answer.samples, seen.observation.now)
    if seen.observation.current == 0:  # samples of pods that have gone
        return Reading(metric=metric, detail="no replica")
    return _judge_pods(metric, answer.samples, seen)


def _empty_is_nothing(metric: Metric, seen: _Seen) -> bool:
    """Tell whether an empty answer is a measured zero.

    Without a single replica there is no pod to have a sample, so nothing is missing. While all
    of them are still starting, nothing is known of their load, whatever is declared.
    """
    if metric.type is MetricType.POD and seen.observation.current == 0:
        return True
    serves = metric.type is MetricType.TOTAL or seen.count > 0
    return metric.on_empty is OnEmpty.ZERO and serves


def _judge_total(metric: Metric, samples: tuple[Sample, ...], now: datetime) -> Reading:
    if len(samples) > 1:
        return Reading(
            metric=metric,
            missing=MissingKind.TOO_MANY_SERIES,
            detail=f"{len(samples)} series where one belongs",
        )
    return _weigh(metric, samples, now, expected=1)


def _judge_pods(metric: Metric, samples: tuple[Sample, ...], seen: _Seen) -> Reading:
    if any(not sample.labels.get("pod") for sample in samples):
        return Reading(
            metric=metric, missing=MissingKind.FAILED, detail="a series lacks the label `pod`"
        )
    if seen.serving is not None:
        samples = tuple(sample for sample in samples if sample.labels["pod"] in seen.serving)
    names = [sample.labels["pod"] for sample in samples]
    if len(set(names)) < len(names):
        ((pod, count),) = Counter(names).most_common(1)
        return Reading(
            metric=metric,
            missing=MissingKind.TOO_MANY_SERIES,
            detail=f"{count} series for pod {shown(pod)}",
        )
    return _weigh(metric, samples, seen.observation.now, expected=seen.count)


def _weigh(metric: Metric, samples: tuple[Sample, ...], now: datetime, expected: int) -> Reading:
    """Add up the samples that are young enough; `expected` is how many there should be."""
    if not samples:
        return Reading(metric=metric, missing=MissingKind.EMPTY, detail="no series for a ready pod")
    young = [sample for sample in samples if now - sample.at <= metric.max_age]
    if not young:
        age = now - max(sample.at for sample in samples)
        return Reading(
            metric=metric,
            missing=MissingKind.STALE,
            age=age,
            detail=f"{age.total_seconds():g}s old, max_age {metric.max_age.total_seconds():g}s",
        )
    age = now - min([sample.at for sample in young])
    load = sum(values := [sample.value for sample in young])
    for sample in () if isfinite(load) and min(values) >= 0 else young:
        if not isfinite(sample.value) or sample.value < 0:
            return Reading(
                metric=metric,
                missing=MissingKind.NOT_A_NUMBER,
                age=age,
                detail=f"the value is {sample.value:g}",
            )
    lacking = max(0, expected - len(young))
    return Reading(
        metric=metric,
        load=load,
        counted=len(young),
        lacking=lacking,
        age=age,
        detail=f"{lacking} of {expected} ready pods lack a sample" if lacking else "",
    )

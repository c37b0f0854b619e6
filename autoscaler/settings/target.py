"""A target's section, and the policy and queries that are made of it."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from autoscaler.decision import model, windows, words
from autoscaler.ports import MetricQuery
from autoscaler.settings.base import Section, across
from autoscaler.settings.values import (
    BackendName,
    CronExpression,
    Duration,
    GatewayUrl,
    MetricName,
    Namespace,
    Number,
    ObjectName,
    Period,
    Query,
    Replicas,
    ScheduleName,
    Span,
    TimeZone,
    Whole,
    within,
)


class MetricSettings(Section):
    """One metric of a target."""

    name: MetricName
    query: Query
    type: words.MetricType
    target: Annotated[Number, Field(gt=0, le=1e15)]
    max_age: Annotated[Duration, within("1ms", "1d")] = timedelta(seconds=30)
    use_for: words.UseFor = words.UseFor.BOTH
    on_empty: words.OnEmpty = words.OnEmpty.MISSING


class RateSettings(Section):
    """One rate policy."""

    type: words.PolicyType
    value: Annotated[Whole, Field(gt=0, le=10_000)]
    period: Period


class ScalingSettings(Section):
    """How replicas may move in one direction."""

    tolerance: Annotated[Number, Field(ge=0, le=10)]
    stabilization_window: Span
    cooldown: Span
    policies: Annotated[tuple[RateSettings, ...], Field(max_length=16)]
    select_policy: words.SelectPolicy = words.SelectPolicy.MAX


_PODS, _PERCENT = words.PolicyType.PODS, words.PolicyType.PERCENT
_15S, _1M = timedelta(seconds=15), timedelta(minutes=1)


class ScaleUpSettings(ScalingSettings):
    """Growing: at once, at most four replicas or a doubling each 15 seconds (HPA's default)."""

    tolerance: Annotated[Number, Field(ge=0, le=10)] = 0.1
    stabilization_window: Span = timedelta(0)
    cooldown: Span = timedelta(0)
    policies: Annotated[tuple[RateSettings, ...], Field(max_length=16)] = (
        RateSettings(type=_PODS, value=4, period=_15S),
        RateSettings(type=_PERCENT, value=100, period=_15S),
    )


class ScaleDownSettings(ScalingSettings):
    """Shrinking: after five calm minutes, by at most half each minute."""

    tolerance: Annotated[Number, Field(ge=0, lt=1)] = 0.2
    stabilization_window: Span = timedelta(minutes=5)
    cooldown: Span = timedelta(minutes=1)
    policies: Annotated[tuple[RateSettings, ...], Field(max_length=16)] = (
        RateSettings(type=_PERCENT, value=50, period=_1M),
    )


class FallbackSettings(Section):
    """What gives the number once every metric has been missing for `hold_limit`."""

    behavior: words.FallbackBehavior = words.FallbackBehavior.CURRENT_REPLICAS
    replicas: Replicas | None = None

    @model_validator(mode="after")
    def _makes_a_fallback(self) -> Self:
        try:
            model.Fallback(behavior=self.behavior, replicas=self.replicas)
        except ValueError as error:
            raise across(str(error)) from error
        return self


class ScheduleSettings(Section):
    """A window of time with bounds of its own."""

    name: ScheduleName
    start: CronExpression
    end: CronExpression
    timezone: TimeZone = "UTC"
    min_replicas: Replicas | None = None
    max_replicas: Annotated[Replicas, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _makes_a_schedule(self) -> Self:
        try:
            model.Schedule(**self.model_dump())
        except ValueError as error:
            raise across(str(error)) from error
        return self


class TargetSettings(Section):
    """One Deployment and its policy."""

    namespace: Namespace
    deployment: ObjectName
    min_replicas: Replicas = 2
    max_replicas: Annotated[Replicas, Field(ge=1)] = 6
    metrics: Annotated[tuple[MetricSettings, ...], Field(min_length=1, max_length=32)]
    scale_up: ScaleUpSettings = ScaleUpSettings()
    scale_down: ScaleDownSettings = ScaleDownSettings()
    hold_limit: Span = timedelta(minutes=15)
    fallback: FallbackSettings = FallbackSettings()
    pending_limit: Span = timedelta(minutes=5)
    conflict_hold: Span = timedelta(minutes=10)
    idle_period: Annotated[Duration, within("1s", "7d")] = timedelta(minutes=10)
    stuck_after: Span = timedelta(minutes=5)
    restart_stuck: Annotated[bool, Strict()] = False
    schedules: Annotated[tuple[ScheduleSettings, ...], Field(max_length=16)] = ()
    gateway_backend: BackendName = "ollama"
    gateway_stats_url: GatewayUrl = ""
    mode: words.Mode = words.Mode.ACT

    @property
    def name(self) -> str:
        """The target's name everywhere: namespace/deployment."""
        return f"{self.namespace}/{self.deployment}"

    @model_validator(mode="after")
    def _makes_a_policy(self) -> Self:
        try:
            policy = to_policy(self)
            windows.require_windows(policy.schedules)
        except ValueError as error:
            raise across(str(error)) from error
        self._require_a_way_back(policy)
        replicas = self.fallback.replicas
        if replicas is not None and not self.min_replicas <= replicas <= self.max_replicas:
            rule = f"must lie within {self.min_replicas}..{self.max_replicas} (the bounds)"
            raise across(f"fallback.replicas = {replicas}, {rule}")
        return self

    def _require_a_way_back(self, policy: model.Policy) -> None:
        """Refuse zero replicas where nothing could bring them back: no pod, no `pod` metric."""
        grows = (words.UseFor.BOTH, words.UseFor.SCALE_UP)
        if any(m.type is words.MetricType.TOTAL and m.use_for in grows for m in policy.metrics):
            return
        lows = {f"schedules[{i}].": each.min_replicas for i, each in enumerate(policy.schedules)}
        for key, low in {"": policy.min_replicas, **lows}.items():
            if low == 0:
                rule = "must be above 0 without a metric of type total that may grow"
                raise across(f"{key}min_replicas = 0, {rule}")


def to_policy(target: TargetSettings) -> model.Policy:
    """Turn a target's settings into what decisions are made by. Raises ValueError."""
    return model.Policy(
        min_replicas=target.min_replicas,
        max_replicas=target.max_replicas,
        metrics=tuple(
            model.Metric(**metric.model_dump(exclude={"query"})) for metric in target.metrics
        ),
        scale_up=_to_scaling(target.scale_up),
        scale_down=_to_scaling(target.scale_down),
        hold_limit=target.hold_limit,
        fallback=model.Fallback(**target.fallback.model_dump()),
        pending_limit=target.pending_limit,
        conflict_hold=target.conflict_hold,
        idle_period=target.idle_period,
        stuck_after=target.stuck_after or None,
        restart_stuck=target.restart_stuck,
        schedules=tuple(model.Schedule(**schedule.model_dump()) for schedule in target.schedules),
        mode=target.mode,
    )


def to_queries(target: TargetSettings) -> tuple[MetricQuery, ...]:
    """Return the questions that a target's metrics ask."""
    return tuple(
        MetricQuery(
            name=metric.name, query=metric.query, per_pod=metric.type is words.MetricType.POD
        )
        for metric in target.metrics
    )


def _to_scaling(scaling: ScalingSettings) -> model.Scaling:
    return model.Scaling(
        tolerance=scaling.tolerance,
        stabilization_window=scaling.stabilization_window,
        cooldown=scaling.cooldown,
        policies=tuple(model.RatePolicy(**rate.model_dump()) for rate in scaling.policies),
        select_policy=scaling.select_policy,
    )

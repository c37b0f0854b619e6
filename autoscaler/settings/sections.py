"""The configuration's sections; `config/autoscaler.yaml` explains every key."""

from collections import Counter
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from autoscaler.decision import model, windows, words
from autoscaler.duration import format_duration
from autoscaler.ports import MetricQuery
from autoscaler.settings.values import (
    BackendName,
    CronExpression,
    Duration,
    GatewayUrl,
    HeaderName,
    HeaderValue,
    MetricName,
    Namespace,
    Number,
    ObjectName,
    OptionalNamespace,
    OptionalPath,
    OptionalText,
    Pause,
    Period,
    Query,
    Replicas,
    ScheduleName,
    TimeZone,
    Url,
    Whole,
    within,
)

ENVIRONMENT = "AUTOSCALER_"
NESTING = "__"


class Section(BaseModel):
    """What every section has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PrometheusSettings(Section):
    """Where the metrics come from."""

    url: Url = "http://prometheus:9090"
    timeout: Annotated[Duration, within("10ms", "5m")] = timedelta(seconds=3)
    bearer_token_file: OptionalPath = None
    ca_file: OptionalPath = None
    headers: dict[HeaderName, HeaderValue] = {}


class GatewaySettings(Section):
    """Who knows how many requests each replica is serving."""

    stats_url: GatewayUrl = "http://gateway-metrics:8404/stats;csv"
    timeout: Annotated[Duration, within("10ms", "5m")] = timedelta(seconds=1)


class KubernetesSettings(Section):
    """Where the targets live; nothing set: in the cluster, else the user's kubeconfig."""

    kubeconfig: OptionalPath = None
    context: OptionalText = None
    timeout: Annotated[Duration, within("10ms", "5m")] = timedelta(seconds=5)


def _in_whole_seconds(span: timedelta) -> timedelta:
    if span % timedelta(seconds=1):
        raise ValueError("must be whole seconds")
    return span


class LeadershipSettings(Section):
    """How several daemons agree on which of them acts."""

    enabled: bool = True
    lease: ObjectName = "autoscaler"
    namespace: OptionalNamespace = None
    duration: Annotated[Duration, within("1s", "10m"), AfterValidator(_in_whole_seconds)] = (
        timedelta(seconds=15)
    )


class HttpSettings(Section):
    """The daemon's own port."""

    host: Annotated[str, Field(min_length=1)] = "0.0.0.0"  # noqa: S104 - a probe comes from outside
    port: Annotated[Whole, Field(ge=0, le=65535)] = 8080


class LogSettings(Section):
    """How the daemon talks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class RecordsSettings(Section):
    """Where every cycle's record is kept."""

    path: OptionalPath = None


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
    stabilization_window: Pause
    cooldown: Pause
    policies: Annotated[tuple[RateSettings, ...], Field(max_length=16)]
    select_policy: words.SelectPolicy = words.SelectPolicy.MAX


_PODS, _PERCENT = words.PolicyType.PODS, words.PolicyType.PERCENT
_15S, _1M = timedelta(seconds=15), timedelta(minutes=1)


class ScaleUpSettings(ScalingSettings):
    """Growing: at once, at most four replicas or a doubling each 15 seconds (HPA's default)."""

    tolerance: Annotated[Number, Field(ge=0, le=10)] = 0.1
    stabilization_window: Pause = timedelta(0)
    cooldown: Pause = timedelta(0)
    policies: Annotated[tuple[RateSettings, ...], Field(max_length=16)] = (
        RateSettings(type=_PODS, value=4, period=_15S),
        RateSettings(type=_PERCENT, value=100, period=_15S),
    )


class ScaleDownSettings(ScalingSettings):
    """Shrinking: after five calm minutes, by at most half each minute."""

    tolerance: Annotated[Number, Field(ge=0, lt=1)] = 0.2
    stabilization_window: Pause = timedelta(minutes=5)
    cooldown: Pause = timedelta(minutes=1)
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
            raise _across(str(error)) from error
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
            raise _across(str(error)) from error
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
    hold_limit: Pause = timedelta(minutes=15)
    fallback: FallbackSettings = FallbackSettings()
    pending_limit: Pause = timedelta(minutes=5)
    conflict_hold: Pause = timedelta(minutes=10)
    idle_period: Annotated[Duration, within("1s", "7d")] = timedelta(minutes=10)
    stuck_after: Pause = timedelta(minutes=5)
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
            raise _across(str(error)) from error
        self._require_a_way_back(policy)
        replicas = self.fallback.replicas
        if replicas is not None and not self.min_replicas <= replicas <= self.max_replicas:
            rule = f"must lie within {self.min_replicas}..{self.max_replicas} (the bounds)"
            raise _across(f"fallback.replicas = {replicas}, {rule}")
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
                raise _across(f"{key}min_replicas = 0, {rule}")


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENVIRONMENT, env_nested_delimiter=NESTING
    )

    interval: Annotated[Duration, within("100ms", "1h")] = timedelta(seconds=5)
    prometheus: PrometheusSettings = PrometheusSettings()
    gateway: GatewaySettings = GatewaySettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    leadership: LeadershipSettings = LeadershipSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    records: RecordsSettings = RecordsSettings()
    targets: Annotated[tuple[TargetSettings, ...], Field(min_length=1, max_length=2000)]

    @model_validator(mode="after")
    def _targets_are_distinct(self) -> Self:
        names = Counter(target.name for target in self.targets)
        if twice := next((name for name, times in names.items() if times > 1), None):
            raise _across(f'targets = "{twice}", must not stand twice')
        return self

    @model_validator(mode="after")
    def _cycles_end_in_time(self) -> Self:
        # A cycle makes at most five requests and asks the gateway; so it ends before five intervals
        # (30 s at least) have passed, and an outage of what it asks never looks like a loop that
        # hangs.
        most = max(self.interval, timedelta(seconds=5))
        for name, span in (
            ("prometheus.timeout", self.prometheus.timeout),
            ("gateway.timeout", self.gateway.timeout),
            ("kubernetes.timeout", self.kubernetes.timeout),
        ):
            if span > most:
                rule = f"must not be above {format_duration(most)} (interval, 5s at least)"
                raise _across(f'{name} = "{format_duration(span)}", {rule}')
        return self

    @model_validator(mode="after")
    def _spans_are_seen(self) -> Self:
        # Time that nobody watched counts for nothing; between two cycles is such a time.
        least = 2 * self.interval
        rule = f"at least {format_duration(least)} (twice the interval)"
        for number, target in enumerate(self.targets):
            spans = {"stuck_after": target.stuck_after}
            if to_policy(target).least_replicas == 0:
                spans["idle_period"] = target.idle_period
            for key, span in spans.items():
                if timedelta(0) < span < least:
                    must = "must be 0s or" if key == "stuck_after" else "must be"
                    told = f'"{format_duration(span)}", {must} {rule}'
                    raise _across(f"targets[{number}].{key} = {told}")
        return self

    @model_validator(mode="after")
    def _leading_leaves_time_to_write(self) -> Self:
        # A leader stops so long before its Lease may be taken that a write which it has begun ends
        # first. What is left must be enough for a renewal, and for one that fails before.
        least = 3 * self.kubernetes.timeout
        if self.leadership.enabled and self.leadership.duration < least:
            rule = f"must be at least {format_duration(least)} (three times kubernetes.timeout)"
            raise _across(
                f'leadership.duration = "{format_duration(self.leadership.duration)}", {rule}'
            )
        return self


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


def _across(message: str) -> PydanticCustomError:
    return PydanticCustomError("across", "{text}", {"text": message})

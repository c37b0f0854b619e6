"""The configuration's sections; `config/autoscaler.yaml` explains every key."""

from collections import Counter
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from autoscaler.duration import format_duration
from autoscaler.settings.base import Section, across
from autoscaler.settings.target import TargetSettings, to_policy
from autoscaler.settings.values import (
    Duration,
    GatewayUrl,
    HeaderName,
    HeaderValue,
    ObjectName,
    OptionalNamespace,
    OptionalPath,
    OptionalText,
    Size,
    Url,
    Whole,
    sized,
    within,
)

ENVIRONMENT = "AUTOSCALER_"
NESTING = "__"


class PrometheusSettings(Section):
    """Where the metrics come from."""

    url: Url = "http://prometheus:9090"
    timeout: Annotated[Duration, within("10ms", "5m")] = timedelta(seconds=3)
    bearer_token_file: OptionalPath = None
    ca_file: OptionalPath = None
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)


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
    max_size: Annotated[Size, sized("64Ki", "1000Gi")] = 16 << 20
    files: Annotated[Whole, Field(ge=1, le=1000)] = 4

    @property
    def to_output(self) -> bool:
        """Tell whether records go to standard output."""
        return str(self.path) == "-"


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
            raise across(f'targets = "{twice}", must not stand twice')
        return self

    @model_validator(mode="after")
    def _cycles_end_in_time(self) -> Self:
        # But for the marks of victims, a cycle makes at most five requests and asks the gateway; so
        # it ends before five intervals (30 s at least) have passed, and an outage of what it asks
        # never looks like a loop that hangs.
        most = max(self.interval, timedelta(seconds=5))
        for name, span in (
            ("prometheus.timeout", self.prometheus.timeout),
            ("gateway.timeout", self.gateway.timeout),
            ("kubernetes.timeout", self.kubernetes.timeout),
        ):
            if span > most:
                rule = f"must not be above {format_duration(most)} (interval, 5s at least)"
                raise across(f'{name} = "{format_duration(span)}", {rule}')
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
                    raise across(f"targets[{number}].{key} = {told}")
        return self

    @model_validator(mode="after")
    def _leading_leaves_time_to_write(self) -> Self:
        # A leader stops so long before its Lease may be taken that a write which it has begun ends
        # first. What is left must be enough for a renewal, and for one that fails before.
        least = 3 * self.kubernetes.timeout
        if self.leadership.enabled and self.leadership.duration < least:
            rule = f"must be at least {format_duration(least)} (three times kubernetes.timeout)"
            raise across(
                f'leadership.duration = "{format_duration(self.leadership.duration)}", {rule}'
            )
        return self

"""The values a decision is made of: policy, observation, state, decision.

All are frozen and check themselves, so an impossible one cannot be built; a refusal is a
ValueError with the field, the rule and the value. Times are `datetime`s with a zone, spans of
time are `timedelta`s, replica counts are whole numbers. Their words are in `words.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite
from types import MappingProxyType

from autoscaler.decision import cron, zones
from autoscaler.decision.refusal import (
    require,
    require_by,
    require_count,
    require_distinct,
    require_span,
    require_zone,
)
from autoscaler.decision.words import (
    Direction,
    FallbackBehavior,
    MetricType,
    MissingKind,
    Mode,
    OnEmpty,
    PodPhase,
    PolicyType,
    Reason,
    SelectPolicy,
    Stage,
    UseFor,
    WriteResult,
)

WRITTEN_IF_KNOWN: Mapping[str, bool] = MappingProxyType({"written_if_known": True})
"""Marks a field that JSON leaves out while it is None."""


# --- policy -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric and the value per replica that we try to hold."""

    name: str
    type: MetricType
    target: float
    """Target value per replica, in the metric's own unit."""
    max_age: timedelta = timedelta(seconds=30)
    """A sample older than this is stale."""
    use_for: UseFor = UseFor.BOTH
    on_empty: OnEmpty = OnEmpty.MISSING

    def __post_init__(self) -> None:
        require(bool(self.name), "name", self.name, "must not be empty")
        require(isfinite(self.target) and self.target > 0, "target", self.target, "must be above 0")
        require(self.max_age > timedelta(0), "max_age", str(self.max_age), "must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePolicy:
    """At most `value` pods or percent of the replicas may change within `period`."""

    type: PolicyType
    value: int
    period: timedelta

    def __post_init__(self) -> None:
        require(self.value > 0, "value", self.value, "must be above 0")
        require(self.period > timedelta(0), "period", str(self.period), "must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How replicas may move in one direction."""

    tolerance: float = 0.1
    """Half of the band around usage ratio 1.0 in which nothing moves, edges included."""
    stabilization_window: timedelta = timedelta(0)
    """Look-back over recommendations: up takes the lowest, down the highest."""
    cooldown: timedelta = timedelta(0)
    """Least time from the last successful write in this direction to the next."""
    policies: tuple[RatePolicy, ...] = ()
    """No policy: no limit."""
    select_policy: SelectPolicy = SelectPolicy.MAX

    def __post_init__(self) -> None:
        require(
            isfinite(self.tolerance) and self.tolerance >= 0,
            "tolerance",
            self.tolerance,
            "must not be negative",
        )
        require_span("stabilization_window", self.stabilization_window)
        require_span("cooldown", self.cooldown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What gives the number once no metric has answered for `hold_limit`."""

    behavior: FallbackBehavior = FallbackBehavior.CURRENT_REPLICAS
    replicas: int | None = None
    """Needed by every behavior but `current_replicas`."""

    def __post_init__(self) -> None:
        require(
            self.behavior is FallbackBehavior.CURRENT_REPLICAS or self.replicas is not None,
            "replicas",
            self.replicas,
            f"must be given where behavior is {self.behavior}",
        )
        require(
            self.replicas is None or self.replicas >= 0,
            "replicas",
            self.replicas,
            "must not be negative",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A window of time, given by when it starts and when it ends, with bounds of its own."""

    name: str
    start: str
    """Cron expression with five fields, in the time zone."""
    end: str
    """Cron expression with five fields, in the time zone."""
    timezone: str = "UTC"
    """IANA name."""
    min_replicas: int | None = None
    """None: as outside of the window."""
    max_replicas: int | None = None
    """None: as outside of the window."""

    def __post_init__(self) -> None:
        require(bool(self.name), "name", self.name, "must not be empty")
        require_by(cron.parse, "start", self.start)
        require_by(cron.parse, "end", self.end)
        require_by(zones.zone, "timezone", self.timezone)
        least, most = self.min_replicas, self.max_replicas
        given = least is not None or most is not None
        require(given, "min_replicas", None, "must be given where max_replicas is not")
        require_count("min_replicas", least)
        require(most is None or most >= 1, "max_replicas", most, "must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything about one target that a decision depends on, apart from what is observed."""

    min_replicas: int
    max_replicas: int
    metrics: tuple[Metric, ...]
    scale_up: Scaling
    scale_down: Scaling
    hold_limit: timedelta
    """How long a missing metric may block shrinking on its own."""
    fallback: Fallback = Fallback()
    pending_limit: timedelta
    """How long replicas may stay pending before they are given back."""
    conflict_hold: timedelta
    """How long to stand down after another writer changed `replicas`."""
    idle_period: timedelta = timedelta(0)
    """How long nothing must have been in the system before the last replica goes; 0: no matter."""
    stuck_after: timedelta | None = None
    """How long a replica may have requests and no CPU use before it is stuck; None: never."""
    restart_stuck: bool = False
    """Whether a stuck replica is replaced."""
    schedules: tuple[Schedule, ...] = ()
    """Times with other bounds; where two overlap, the first counts."""
    mode: Mode = Mode.ACT

    def __post_init__(self) -> None:
        require(self.min_replicas >= 0, "min_replicas", self.min_replicas, "must not be negative")
        require(self.max_replicas >= 1, "max_replicas", self.max_replicas, "must be at least 1")
        require(
            self.min_replicas <= self.max_replicas,
            "min_replicas",
            self.min_replicas,
            f"must not be above max_replicas = {self.max_replicas}",
        )
        require(bool(self.metrics), "metrics", [], "must name at least one metric")
        require_distinct("metrics", [metric.name for metric in self.metrics])
        for key in ("hold_limit", "pending_limit", "conflict_hold", "idle_period"):
            require_span(key, getattr(self, key))
        require(
            self.stuck_after is None or self.stuck_after > timedelta(0),
            "stuck_after",
            str(self.stuck_after),
            "must be above 0",
        )
        require_distinct("schedules", [schedule.name for schedule in self.schedules])
        for index, schedule in enumerate(self.schedules):
            self._require_order(f"schedules[{index}]", schedule)

    @property
    def least_replicas(self) -> int:
        """Return the lowest bound of any time; 0 where no replica may be what the load wants."""
        lows = [schedule.min_replicas for schedule in self.schedules]
        return min([self.min_replicas, *(low for low in lows if low is not None)])

    def _require_order(self, key: str, schedule: Schedule) -> None:
        """Refuse bounds that contradict each other once a schedule has changed them."""
        least, most = schedule.min_replicas, schedule.max_replicas
        low = self.min_replicas if least is None else least
        high = self.max_replicas if most is None else most
        if least is None:
            rule = f"must not be below min_replicas = {low}"
            require(low <= high, f"{key}.max_replicas", high, rule)
        rule = f"must not be above max_replicas = {high}"
        require(low <= high, f"{key}.min_replicas", low, rule)


# --- observation ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One number and the time at which it was measured (not the time it was asked for)."""

    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    value: float
    at: datetime

    def __post_init__(self) -> None:
        require_zone("at", self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """A metric's answer as it came; an empty one says that there was no series."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A metric's absence, with its cause."""

    missing: MissingKind
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod of the target, as the API shows it."""

    name: str
    phase: PodPhase = PodPhase.RUNNING
    ready: bool = True
    deleting: bool = False
    created: datetime | None = None
    in_flight: int | None = None
    """Requests that it is serving; None where nobody could be asked."""
    unschedulable: bool | None = field(default=None, metadata=WRITTEN_IF_KNOWN)
    """No node has room for it; None where that is not known."""
    failing: bool | None = field(default=None, metadata=WRITTEN_IF_KNOWN)
    """Its container does not come up (crash loop, image pull); None where that is not known."""
    template: str | None = field(default=None, metadata=WRITTEN_IF_KNOWN)
    """Which of the Deployment's pod templates it was made from; None where that is not known."""

    def __post_init__(self) -> None:
        require(bool(self.name), "name", self.name, "must not be empty")
        require_count("in_flight", self.in_flight)
        require_zone("created", self.created)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignWrite:
    """Another writer's change of `replicas`, seen since the last cycle."""

    manager: str
    at: datetime | None = None
    replicas: int | None = None

    def __post_init__(self) -> None:
        require_zone("at", self.at)
        require_count("replicas", self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one cycle saw of one target."""

    now: datetime
    current: int
    """Replicas asked for (the scale's spec)."""
    ready: int
    """Replicas that serve now."""
    pods: tuple[Pod, ...] | None = None
    """None: not known; then `ready` alone tells how many serve."""
    metrics: Mapping[str, Samples | Missing]
    """A metric of the policy that is not in it has failed."""
    paused: bool = False
    """Both directions."""
    paused_direction: Direction | None = field(default=None, metadata=WRITTEN_IF_KNOWN)
    """The one direction that is paused, up or down, where not both are."""
    foreign_write: ForeignWrite | None = None
    writer: str | None = field(default=None, metadata=WRITTEN_IF_KNOWN)
    """Who wrote the replicas last, by the name of its field manager: told in shadow mode, where
    another writer is expected. Nothing is decided by it."""
    write: WriteResult = WriteResult.OK
    """What became of the write that this very cycle asked for, as known afterwards."""

    def __post_init__(self) -> None:
        require_zone("now", self.now)
        require_count("current", self.current)
        require_count("ready", self.ready)
        require_distinct("pods", [pod.name for pod in self.pods or ()])


# --- state ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What the metrics wanted at one time, kept for the stabilization windows."""

    at: datetime
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleEvent:
    """One successful write."""

    at: datetime
    change: int
    """Replicas added (positive) or removed (negative)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingState:
    """What one cycle leaves to the next; empty for a target that was never seen."""

    last_cycle: datetime | None = None
    recommendations: tuple[Recommendation, ...] = ()
    events: tuple[ScaleEvent, ...] = ()
    """Successful writes, as far back as a rate policy's period reaches."""
    last_up: datetime | None = None
    last_down: datetime | None = None
    holds: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    """Metric name to the first cycle of the present stretch without a usable answer."""
    conflict_since: datetime | None = None
    """The last foreign write."""
    conflict_with: str = ""
    """Who it was, by the name of its field manager."""
    given_back: Recommendation | None = None
    """When replicas that could not run were last given back, and how many could."""
    idle_since: datetime | None = None
    """First cycle of the present stretch in which nothing was in the system."""
    failing: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    """Pod name to the first cycle in which it failed to come up; it ends with being ready."""
    stuck: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    """Pod name to the first cycle of the present stretch with requests and no CPU use."""

    def watched(self, now: datetime, span: timedelta) -> bool:
        """Tell whether the last cycle is no longer ago than a span that a clock must run for.

        Else the process stood still, or the time has jumped: that is no time that anybody saw.
        """
        return self.last_cycle is not None and now - self.last_cycle <= span


# --- decision ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one stage did to the number, or could have."""

    stage: Stage
    from_: int
    to: int
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The replica count to go to, why, and the trail that led there. To hold is one too."""

    from_: int
    to: int
    direction: Direction
    reason: Reason
    victims: tuple[str, ...] = ()
    """Names of the pods that should go first, where the decision shrinks."""
    replace: str | None = field(default=None, metadata=WRITTEN_IF_KNOWN)
    """Name of the stuck pod to delete, so that another takes its place."""

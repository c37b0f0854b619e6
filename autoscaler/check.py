"""`autoscaler check`: looks at all that a cycle needs, and says what to do where it is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from autoscaler.adapters.promql import check_query
from autoscaler.decision.model import Observation, ScalingState
from autoscaler.decision.quality import Reading, read_metrics
from autoscaler.decision.words import Mode, Reason
from autoscaler.errors import ObserveError
from autoscaler.ports import MetricSource, ScaleTarget, TargetState
from autoscaler.settings import Settings, TargetSettings, to_policy, to_queries


class Severity(StrEnum):
    """What a finding means for the daemon."""

    OK = "ok"
    WARNING = "warning"
    """It works, but not as one might think."""
    ERROR = "error"
    """It cannot do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    severity: Severity
    where: str
    what: str
    next_step: str = ""


class OtherScaler(Protocol):
    """Somebody else who writes the replicas."""

    @property
    def kind(self) -> str:
        """Return the kind of the object."""

    @property
    def name(self) -> str:
        """Return the object's name."""


class Checks(Protocol):
    """What can be asked about one target; each raises TargetReadError where it cannot look."""

    def missing_rights(self) -> Sequence[object]:
        """Return the rights that the daemon needs and has not."""

    def other_scalers(self) -> Sequence[OtherScaler]:
        """Return who else scales the target."""

    def cpu_limits(self) -> Mapping[str, object | None]:
        """Return each container's CPU limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One target's place in the cluster."""

    target: ScaleTarget
    checks: Checks


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is to look at, beyond the configuration."""

    source: MetricSource
    probes: Mapping[str, Probe]
    """By the target's name."""
    now: datetime


def check(settings: Settings, world: World | None = None) -> tuple[Finding, ...]:
    """Look at everything; without a world at the configuration and the queries' syntax only."""
    return tuple(_findings(settings, world))


def _findings(settings: Settings, world: World | None) -> Iterator[Finding]:
    yield from _records(settings)
    for target in settings.targets:
        yield _policy(target)
        yield from _syntax(target)
        if world is not None:
            yield from _look(target, world)


def _look(target: TargetSettings, world: World) -> Iterator[Finding]:
    probe = world.probes[target.name]
    state, finding = _read(target, probe.target)
    yield finding
    yield from _rights(target, probe.checks)
    yield from _rivals(target, probe.checks)
    yield from _limits(target, probe.checks)
    yield from _answers(target, state, world)


def _records(settings: Settings) -> Iterator[Finding]:
    path = settings.records.path
    if path is not None and not path.parent.is_dir():
        yield Finding(
            severity=Severity.WARNING,
            where="records.path",
            what=f"{path.parent} is no folder: no record will be kept",
            next_step="create it, or mount a volume there",
        )


def _policy(target: TargetSettings) -> Finding:
    names = ", ".join(metric.name for metric in target.metrics)
    bounds = f"{target.min_replicas}..{target.max_replicas} replicas"
    return Finding(
        severity=Severity.OK,
        where=target.name,
        what=f"{bounds} by {names}; mode {target.mode}",
    )


def _syntax(target: TargetSettings) -> Iterator[Finding]:
    for metric in target.metrics:
        if wrong := check_query(metric.query):
            yield Finding(
                severity=Severity.ERROR,
                where=f"{target.name} {metric.name}",
                what=f"the query cannot be used: {wrong}",
                next_step="mend the query; Prometheus' own page shows where it breaks off",
            )


# --- the cluster --------------------------------------------------------------------------------


def _read(target: TargetSettings, deployment: ScaleTarget) -> tuple[TargetState | None, Finding]:
    try:
        state = deployment.read()
    except ObserveError as error:
        return None, Finding(
            severity=Severity.ERROR,
            where=target.name,
            what=_bare(target, error),
            next_step="look at namespace, deployment, kubernetes.context and the daemon's rights",
        )
    told = f"{state.current} replicas, {state.ready} ready"
    finding = Finding(severity=Severity.OK, where=target.name, what=told)
    if state.current == 0 and target.min_replicas > 0:
        finding = Finding(
            severity=Severity.WARNING,
            where=target.name,
            what="0 replicas: switched off, so the daemon holds",
            next_step=f"scale it to {target.min_replicas} to switch it on",
        )
    elif not target.min_replicas <= state.current <= target.max_replicas:
        bounds = f"{target.min_replicas}..{target.max_replicas}"
        finding = Finding(
            severity=Severity.WARNING,
            where=target.name,
            what=f"{told}, outside {bounds}: the daemon will move it to the nearest bound at once",
            next_step="change min_replicas or max_replicas if that is not meant",
        )
    return state, finding


def _rights(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    try:
        missing = checks.missing_rights()
    except ObserveError as error:
        yield _could_not_look(target, "rights", error)
        return
    for right in missing:
        yield Finding(
            severity=Severity.ERROR,
            where=target.name,
            what=f"the right to {right} is missing",
            next_step=f"grant it in a Role of namespace {target.namespace}",
        )
    if not missing:
        yield Finding(severity=Severity.OK, where=target.name, what="all rights are granted")


def _rivals(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    try:
        rivals = checks.other_scalers()
    except ObserveError as error:
        yield _could_not_look(target, "other autoscalers", error)
        return
    for rival in rivals:
        shadow = target.mode is Mode.SHADOW
        yield Finding(
            # Beside a shadow, another autoscaler is just what one would expect.
            severity=Severity.OK if shadow else Severity.ERROR,
            where=target.name,
            what=f"{rival.kind} {rival.name} scales it, too",
            next_step="" if shadow else "delete it, or run this target with mode: shadow",
        )


def _limits(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    if not any("limit" in metric.query for metric in target.metrics):
        return
    try:
        limits = checks.cpu_limits()
    except ObserveError as error:
        yield _could_not_look(target, "CPU limits", error)
        return
    for container in (name for name, limit in limits.items() if limit is None):
        yield Finding(
            severity=Severity.WARNING,
            where=target.name,
            what=f"container {container} has no CPU limit, and a query divides by limits",
            next_step="set resources.limits.cpu in the Deployment",
        )


def _could_not_look(target: TargetSettings, at: str, error: ObserveError) -> Finding:
    return Finding(
        severity=Severity.WARNING,
        where=target.name,
        what=f"could not look at {at}: {_bare(target, error)}",
        next_step="run this as somebody who may, or look yourself",
    )


def _bare(target: TargetSettings, error: ObserveError) -> str:
    """Leave out the target's name, which stands in the finding's own place."""
    return str(error).removeprefix(f"{target.name}: ")


# --- the metrics --------------------------------------------------------------------------------


def _answers(target: TargetSettings, state: TargetState | None, world: World) -> Iterator[Finding]:
    """Ask every query and judge the answers exactly as a cycle would."""
    observation = Observation(
        now=world.now,
        current=state.current if state else 0,
        ready=state.ready if state else 0,
        pods=state.pods if state else None,
        metrics=world.source.ask(to_queries(target), world.now),
    )
    for reading in read_metrics(to_policy(target), ScalingState(), observation):
        yield _answer(target, reading)


def _answer(target: TargetSettings, reading: Reading) -> Finding:
    where = f"{target.name} {reading.metric.name}"
    if reading.whole:
        return Finding(severity=Severity.OK, where=where, what=_told(reading))
    return Finding(
        severity=Severity.ERROR if reading.missing else Severity.WARNING,
        where=where,
        what=f"{reading.quality}: {reading.detail}".rstrip(": "),
        next_step=_advice(reading),
    )


def _told(reading: Reading) -> str:
    over = f" over {reading.counted} pods" if reading.counted > 1 else ""
    age = "" if reading.age is None else f", {reading.age.total_seconds():.0f}s old"
    return f"{reading.load:g}{over}{age}; target {reading.metric.target:g} per replica"


def _advice(reading: Reading) -> str:
    if "label `pod`" in reading.detail:
        return "aggregate with `by (pod)`, or set type: total"
    advice = {
        Reason.METRIC_EMPTY: "ask Prometheus for the query's selectors: is that scraped?",
        Reason.METRIC_STALE: "look at what exports it, or raise max_age above its interval",
        Reason.METRIC_NOT_A_NUMBER: "look for a division by zero in the query",
        Reason.TOO_MANY_SERIES: "aggregate in the query: sum(...), or max by (pod) (...)",
        Reason.METRIC_PARTIAL: "look whether every ready pod is scraped",
        Reason.METRIC_FAILED: "look at prometheus.url, its credentials and prometheus.timeout",
    }
    return advice.get(reading.reason, "")

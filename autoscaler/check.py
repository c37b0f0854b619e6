"""`autoscaler check`: looks at all that a cycle needs, and says what to do where it is missing."""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from autoscaler.adapters import health, records
from autoscaler.adapters.promql import check_query
from autoscaler.decision.model import Observation, ScalingState
from autoscaler.decision.quality import Reading, read_metrics
from autoscaler.decision.words import Direction, Mode, Reason
from autoscaler.errors import ObserveError
from autoscaler.ports import BusySource, MetricSource, ScaleTarget, TargetState
from autoscaler.settings import Settings, TargetSettings, to_policy, to_queries

_QUERY_ADVICE = "mend the query; Prometheus' own page shows where it breaks off"
_LOOK_ADVICE = "run this as somebody who may, or look yourself"
_GATEWAY_ADVICE = "look at gateway.stats_url and gateway_backend; until then victims go blindly"
_BEARER_ADVICE = "put the token there, or correct prometheus.bearer_token_file"


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

    def rights(self, *, acts: bool, replaces: bool) -> Mapping[str, bool]:
        """Return each right that is needed to scale and to replace, and whether we have it."""

    def unknown_annotations(self) -> Mapping[str, str]:
        """Return annotations for us that mean nothing to us, with their values."""

    def other_scalers(self) -> Sequence[OtherScaler]:
        """Return who else scales the target."""

    def cpu_limits(self) -> Mapping[str, object | None]:
        """Return each container's CPU limit."""


class LeaseChecks(Protocol):
    """What can be asked about the Lease; raises TargetReadError where it cannot look."""

    def rights(self) -> Mapping[str, bool]:
        """Return each right that leadership needs, and whether we have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One target's place in the cluster."""

    target: ScaleTarget
    checks: Checks
    busy: BusySource | None = None
    """None: no gateway is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseProbe:
    """The Lease by which daemons tell who acts."""

    namespace: str
    name: str
    checks: LeaseChecks


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is to look at, beyond the configuration."""

    source: MetricSource
    probes: Mapping[str, Probe]
    """By the target's name."""
    now: datetime
    lease: LeaseProbe | None = None
    """None: the daemon shares its targets with no other."""


def _ok(where: str, what: str) -> Finding:
    return Finding(severity=Severity.OK, where=where, what=what)


def _warning(where: str, what: str, next_step: str) -> Finding:
    return Finding(severity=Severity.WARNING, where=where, what=what, next_step=next_step)


def _error(where: str, what: str, next_step: str) -> Finding:
    return Finding(severity=Severity.ERROR, where=where, what=what, next_step=next_step)


def check(settings: Settings, world: World | None = None) -> tuple[Finding, ...]:
    """Look at everything; without a world at the configuration, its files and queries only."""
    return tuple(_findings(settings, world))


def _findings(settings: Settings, world: World | None) -> Iterator[Finding]:
    yield from _files(settings)
    if world is not None:
        yield from _port(settings)
        yield from _lease(settings, world)
    for target in settings.targets:
        yield _policy(target)
        yield from _syntax(target)
        if world is not None:
            yield from _look(target, world)


def _look(target: TargetSettings, world: World) -> Iterator[Finding]:
    probe = world.probes[target.name]
    state, finding = _read(target, probe.target)
    yield finding
    yield from _pauses(target, state, probe.checks)
    yield from _rights(target, probe.checks)
    yield from _rivals(target, probe.checks)
    yield from _gateway(target, state, probe.busy)
    yield from _limits(target, probe.checks)
    yield from _answers(target, state, world)


# --- the configuration --------------------------------------------------------------------------


def _files(settings: Settings) -> Iterator[Finding]:
    path = settings.records.path
    if path is not None and (wrong := records.why_not(path)):
        what = f"no record will be kept: {path}: {wrong}"
        yield _warning("records.path", what, "name a file in a folder that can be written to")
    path = settings.prometheus.bearer_token_file
    if path is not None:
        try:
            path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            what = f"{path}: {getattr(error, 'strerror', None) or 'must be text'}"
            yield _error("prometheus.bearer_token_file", what, _BEARER_ADVICE)
    path = settings.prometheus.ca_file
    if path is not None:
        try:
            ssl.create_default_context(cafile=path)
        except (OSError, ValueError) as error:
            none = "holds no certificates" if isinstance(error, ssl.SSLError) else ""
            what = f"{path}: {none or getattr(error, 'strerror', None) or error}"
            yield _error("prometheus.ca_file", what, "name a file with certificates in PEM form")


def _port(settings: Settings) -> Iterator[Finding]:
    http = settings.http
    if wrong := health.why_not(http.host, http.port):
        what = f"cannot listen at {http.host}, port {http.port}: {wrong}"
        yield _error("http.port", what, "choose another, or end what holds it")


def _policy(target: TargetSettings) -> Finding:
    names = ", ".join(metric.name for metric in target.metrics)
    bounds = f"{target.min_replicas}..{target.max_replicas} replicas"
    return _ok(target.name, f"{bounds} by {names}; mode {target.mode}")


def _syntax(target: TargetSettings) -> Iterator[Finding]:
    for metric in target.metrics:
        if wrong := check_query(metric.query):
            where = f"{target.name} {metric.name}"
            yield _error(where, f"the query cannot be used: {wrong}", _QUERY_ADVICE)


# --- the cluster --------------------------------------------------------------------------------


def _read(target: TargetSettings, deployment: ScaleTarget) -> tuple[TargetState | None, Finding]:
    name, least, most = target.name, target.min_replicas, target.max_replicas
    try:
        state = deployment.read()
    except ObserveError as error:
        step = "look at namespace, deployment, kubernetes.context and the daemon's rights"
        return None, _error(name, _bare(target, error), step)
    told = f"{state.current} replicas, {state.ready} ready"
    if state.current == 0 and least > 0:
        what = "0 replicas: switched off, so the daemon holds"
        return state, _warning(name, what, f"scale it to {least} to switch it on")
    if not least <= state.current <= most:
        what = f"{told}, outside {least}..{most}: the daemon will move it to the nearest bound"
        step = "change min_replicas or max_replicas if that is not meant"
        return state, _warning(name, f"{what} at once", step)
    return state, _ok(name, told)


def _pauses(target: TargetSettings, state: TargetState | None, checks: Checks) -> Iterator[Finding]:
    if state is not None and (paused := _paused(state)):
        what = f"paused by its annotation: {paused}"
        yield _warning(target.name, what, "take the annotation off to go on")
    try:
        unknown = checks.unknown_annotations()
    except ObserveError as error:
        yield _could_not_look(target, "annotations", error)
        return
    for key, value in unknown.items():
        what = f"annotation {key} has a meaning that nobody knows: {value!r}"
        step = 'write ollama-autoscaler/paused: "true", "scale-up" or "scale-down"'
        yield _warning(target.name, what, step)


def _paused(state: TargetState) -> str:
    if state.paused:
        return "it holds"
    held = {Direction.UP: "it never grows", Direction.DOWN: "it never shrinks"}
    return held.get(state.paused_direction, "") if state.paused_direction else ""


def _rights(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    acts = target.mode is not Mode.SHADOW
    try:
        rights = checks.rights(acts=acts, replaces=to_policy(target).restart_stuck)
    except ObserveError as error:
        yield _could_not_look(target, "rights", error)
        return
    yield from _judged(target.name, target.namespace, rights)


def _lease(settings: Settings, world: World) -> Iterator[Finding]:
    lease = world.lease
    if lease is None or all(target.mode is Mode.SHADOW for target in settings.targets):
        return
    where = f"lease {lease.namespace}/{lease.name}"
    try:
        rights = lease.checks.rights()
    except ObserveError as error:
        yield _warning(where, f"could not look at rights: {error}", _LOOK_ADVICE)
        return
    yield from _judged(where, lease.namespace, rights)


def _judged(where: str, namespace: str, rights: Mapping[str, bool]) -> Iterator[Finding]:
    """Tell of each right that is needed: of those that are there in one line."""
    for right in (right for right, granted in rights.items() if not granted):
        step = f"grant it in a Role of namespace {namespace}"
        yield _error(where, f"the right to {right} is missing", step)
    if granted := ", ".join(right for right, granted in rights.items() if granted):
        yield _ok(where, f"may {granted}")


def _rivals(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    try:
        rivals = checks.other_scalers()
    except ObserveError as error:
        yield _could_not_look(target, "other autoscalers", error)
        return
    for rival in rivals:
        what = f"{rival.kind} {rival.name} scales it, too"
        if target.mode is Mode.SHADOW:  # beside a shadow, that is just what one would expect
            yield _ok(target.name, what)
        else:
            yield _error(target.name, what, "delete it, or run this target with mode: shadow")


def _gateway(
    target: TargetSettings, state: TargetState | None, busy: BusySource | None
) -> Iterator[Finding]:
    if busy is None:
        yield _ok(target.name, "no gateway is asked for requests in flight: victims go blindly")
        return
    requests = busy.in_flight()
    if requests is None:
        what = "the gateway does not tell how many requests are in flight"
        yield _warning(target.name, what, _GATEWAY_ADVICE)
        return
    ready = [pod.name for pod in state.pods if pod.ready and not pod.deleting] if state else []
    addresses = state.addresses if state else {}
    unknown = [name for name in ready if addresses.get(name) not in requests]
    if unknown:
        what = f"the gateway does not know {len(unknown)} of {len(ready)} ready replicas"
        yield _warning(target.name, what, _GATEWAY_ADVICE)
        return
    yield _ok(target.name, f"the gateway knows all {len(ready)} ready replicas")


def _limits(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    if not any("limit" in metric.query for metric in target.metrics):
        return
    try:
        limits = checks.cpu_limits()
    except ObserveError as error:
        yield _could_not_look(target, "CPU limits", error)
        return
    for container in (name for name, limit in limits.items() if limit is None):
        what = f"container {container} has no CPU limit, and a query divides by limits"
        yield _warning(target.name, what, "set resources.limits.cpu in the Deployment")


def _could_not_look(target: TargetSettings, at: str, error: ObserveError) -> Finding:
    what = f"could not look at {at}: {_bare(target, error)}"
    return _warning(target.name, what, _LOOK_ADVICE)


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
    told_before = {metric.name for metric in target.metrics if check_query(metric.query)}
    for reading in read_metrics(to_policy(target), ScalingState(), observation):
        if reading.metric.name not in told_before:
            yield _answer(target, reading)


def _answer(target: TargetSettings, reading: Reading) -> Finding:
    where = f"{target.name} {reading.metric.name}"
    if reading.whole:
        return _ok(where, _told(reading))
    finding = _error if reading.missing else _warning
    return finding(where, f"{reading.quality}: {reading.detail}".rstrip(": "), _advice(reading))


def _told(reading: Reading) -> str:
    over = f" over {reading.counted} pods" if reading.counted > 1 else ""
    age = "" if reading.age is None else f", {reading.age.total_seconds():.0f}s old"
    return f"{reading.load:g}{over}{age}; target {reading.metric.target:g} per replica"


def _advice(reading: Reading) -> str:
    if "label `pod`" in reading.detail:
        return "aggregate with `by (pod)`, or set type: total"
    if reading.detail.startswith("bad query"):
        return _QUERY_ADVICE
    if reading.detail.startswith("bearer_token_file"):
        return _BEARER_ADVICE
    advice = {
        Reason.METRIC_EMPTY: "ask Prometheus for the query's selectors: is that scraped?",
        Reason.METRIC_STALE: "look at what exports it, or raise max_age above its interval",
        Reason.METRIC_NOT_A_NUMBER: "look for a division by zero in the query",
        Reason.TOO_MANY_SERIES: "aggregate in the query: sum(...), or max by (pod) (...)",
        Reason.METRIC_PARTIAL: "look whether every ready pod is scraped",
        Reason.METRIC_FAILED: "look at prometheus.url, its credentials and prometheus.timeout",
    }
    return advice.get(reading.reason, "")

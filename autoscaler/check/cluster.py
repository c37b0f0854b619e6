"""The target, its pauses, rights and other scalers, as the cluster has them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from autoscaler.check import findings
from autoscaler.check.findings import Finding, Severity
from autoscaler.check.world import Checks, World
from autoscaler.decision.schedule import bounds_in_force
from autoscaler.decision.words import Direction, Mode
from autoscaler.errors import ObserveError
from autoscaler.ports import ScaleTarget, TargetState
from autoscaler.settings import Settings, TargetSettings, to_policy

_LOOK_ADVICE = "run this as somebody who may, or look yourself"
_NOT_FOUND, _FORBIDDEN = "HTTP 404", "HTTP 403"


def read(
    target: TargetSettings, deployment: ScaleTarget, now: datetime
) -> tuple[TargetState | None, Finding]:
    """Read the target as a cycle does; None where it cannot be read."""
    name, bounds = target.name, bounds_in_force(to_policy(target), now)
    least, most = bounds.min_replicas, bounds.max_replicas
    try:
        state = deployment.read()
    except ObserveError as error:
        what = bare(target, error)
        step = "look at namespace, deployment, kubernetes.context and the daemon's rights"
        if _NOT_FOUND in what:
            step = f"correct namespace or deployment: kubectl -n {target.namespace} get deployments"
        return None, findings.error(name, what, step)
    told = f"{state.current} replicas, {state.ready} ready"
    if state.current == 0 and least > 0:
        what = "0 replicas: switched off, so the daemon holds"
        step = (
            f"kubectl -n {target.namespace} scale deployment {target.deployment} --replicas={least}"
        )
        return state, findings.warning(name, what, step)
    if not least <= state.current <= most:
        by = f" (schedule {bounds.schedule})" if bounds.schedule else ""
        what = f"{told}, outside {least}..{most}{by}: the daemon will move it to the nearest bound"
        step = "change min_replicas or max_replicas if that is not meant"
        return state, findings.warning(name, f"{what} at once", step)
    return state, findings.ok(name, told)


def look_at_pauses(target: TargetSettings, state: TargetState) -> Iterator[Finding]:
    """Look at the pause of the Deployment."""
    if paused := _paused(state):
        what = f"paused by its annotation: {paused}"
        step = f"kubectl -n {target.namespace} annotate deployment {target.deployment}"
        yield findings.warning(target.name, what, f"to go on: {step} ollama-autoscaler/paused-")


def _paused(state: TargetState) -> str:
    if state.paused:
        return "it holds"
    held = {Direction.UP: "it never grows", Direction.DOWN: "it never shrinks"}
    return held.get(state.paused_direction, "") if state.paused_direction else ""


def look_at_rights(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    """Look whether the daemon may do what this target asks of it."""
    acts = target.mode is not Mode.SHADOW
    try:
        rights = checks.rights(acts=acts, replaces=to_policy(target).restart_stuck)
    except ObserveError as error:
        yield could_not_look(target, "rights", error)
        return
    yield from _judged(target.name, target.namespace, rights)


def why_unread(reading: Finding, rights: Sequence[Finding]) -> list[Finding]:
    """Tell once why a target cannot be read: by the right that is missing, where one is."""
    judged = [each for each in rights if each.severity is not Severity.WARNING]
    missing = [each.what for each in judged if each.severity is Severity.ERROR]
    is_told = any("right to get" in what or "right to list" in what for what in missing)
    return judged if is_told else [reading, *judged]


def look_at_lease(settings: Settings, world: World) -> Iterator[Finding]:
    """Look whether the daemon may lead, where it has to before it acts."""
    lease = world.lease
    if lease is None or all(target.mode is Mode.SHADOW for target in settings.targets):
        return
    where = f"lease {lease.namespace}/{lease.name}"
    try:
        rights = lease.checks.rights()
    except ObserveError as error:
        yield findings.warning(where, f"could not look at rights: {error}", _LOOK_ADVICE)
        return
    yield from _judged(where, lease.namespace, rights)


def _judged(where: str, namespace: str, rights: Mapping[str, bool]) -> Iterator[Finding]:
    """Tell of each right that is needed: of those that are there in one line."""
    for right in (right for right, granted in rights.items() if not granted):
        yield findings.error(where, f"the right to {right} is missing", _grant(namespace))
    if granted := ", ".join(right for right, granted in rights.items() if granted):
        yield findings.ok(where, f"may {granted}")


def look_at_rivals(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    """Look for other autoscalers at the same Deployment."""
    try:
        rivals = checks.other_scalers()
    except ObserveError as error:
        yield could_not_look(target, "other autoscalers", error)
        return
    for rival in rivals:
        what = f"{rival.kind} {rival.name} scales it, too"
        if target.mode is Mode.SHADOW:  # beside a shadow, that is just what one would expect
            yield findings.ok(target.name, what)
        else:
            delete = f"kubectl -n {target.namespace} delete {rival.kind.lower()} {rival.name}"
            yield findings.error(
                target.name, what, f"{delete}, or run this target with mode: shadow"
            )


def could_not_look(target: TargetSettings, at: str, error: ObserveError) -> Finding:
    """Tell what is not known: it is not taken for clean."""
    what = f"could not look at {at}: {bare(target, error)}"
    step = _grant(target.namespace) if _FORBIDDEN in what else _LOOK_ADVICE
    return findings.warning(target.name, what, step)


def _grant(namespace: str) -> str:
    return f"grant it in a Role of namespace {namespace}, as deploy/autoscaler does"


def bare(target: TargetSettings, error: ObserveError) -> str:
    """Leave out the target's name, which stands in the finding's own place."""
    return str(error).removeprefix(f"{target.name}: ")

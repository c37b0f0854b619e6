"""The target, rights, other scalers and the gateway, as the cluster has them."""

from collections.abc import Iterator, Mapping

from autoscaler.check import findings
from autoscaler.check.findings import Finding
from autoscaler.check.world import Checks, World
from autoscaler.decision.words import Direction, Mode
from autoscaler.errors import ObserveError
from autoscaler.ports import BusySource, ScaleTarget, TargetState
from autoscaler.settings import Settings, TargetSettings, to_policy

_LOOK_ADVICE = "run this as somebody who may, or look yourself"
_GATEWAY_ADVICE = "look at gateway.stats_url and gateway_backend; until then victims go blindly"


def read(target: TargetSettings, deployment: ScaleTarget) -> tuple[TargetState | None, Finding]:
    """Read the target as a cycle does; None where it cannot be read."""
    name, least, most = target.name, target.min_replicas, target.max_replicas
    try:
        state = deployment.read()
    except ObserveError as error:
        step = "look at namespace, deployment, kubernetes.context and the daemon's rights"
        return None, findings.error(name, _bare(target, error), step)
    told = f"{state.current} replicas, {state.ready} ready"
    if state.current == 0 and least > 0:
        what = "0 replicas: switched off, so the daemon holds"
        return state, findings.warning(name, what, f"scale it to {least} to switch it on")
    if not least <= state.current <= most:
        what = f"{told}, outside {least}..{most}: the daemon will move it to the nearest bound"
        step = "change min_replicas or max_replicas if that is not meant"
        return state, findings.warning(name, f"{what} at once", step)
    return state, findings.ok(name, told)


def look_at_pauses(
    target: TargetSettings, state: TargetState | None, checks: Checks
) -> Iterator[Finding]:
    """Look at our annotations on the Deployment."""
    if state is not None and (paused := _paused(state)):
        what = f"paused by its annotation: {paused}"
        yield findings.warning(target.name, what, "take the annotation off to go on")
    try:
        unknown = checks.unknown_annotations()
    except ObserveError as error:
        yield _could_not_look(target, "annotations", error)
        return
    for key, value in unknown.items():
        what = f"annotation {key} has a meaning that nobody knows: {value!r}"
        step = 'write ollama-autoscaler/paused: "true", "scale-up" or "scale-down"'
        yield findings.warning(target.name, what, step)


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
        yield _could_not_look(target, "rights", error)
        return
    yield from _judged(target.name, target.namespace, rights)


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
        step = f"grant it in a Role of namespace {namespace}"
        yield findings.error(where, f"the right to {right} is missing", step)
    if granted := ", ".join(right for right, granted in rights.items() if granted):
        yield findings.ok(where, f"may {granted}")


def look_at_rivals(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    """Look for other autoscalers at the same Deployment."""
    try:
        rivals = checks.other_scalers()
    except ObserveError as error:
        yield _could_not_look(target, "other autoscalers", error)
        return
    for rival in rivals:
        what = f"{rival.kind} {rival.name} scales it, too"
        if target.mode is Mode.SHADOW:  # beside a shadow, that is just what one would expect
            yield findings.ok(target.name, what)
        else:
            yield findings.error(
                target.name, what, "delete it, or run this target with mode: shadow"
            )


def look_at_gateway(
    target: TargetSettings, state: TargetState | None, busy: BusySource | None
) -> Iterator[Finding]:
    """Look whether the gateway knows the replicas that are ready."""
    if busy is None:
        yield findings.ok(
            target.name, "no gateway is asked for requests in flight: victims go blindly"
        )
        return
    requests = busy.in_flight()
    if requests is None:
        what = "the gateway does not tell how many requests are in flight"
        yield findings.warning(target.name, what, _GATEWAY_ADVICE)
        return
    ready = [pod.name for pod in state.pods if pod.ready and not pod.deleting] if state else []
    addresses = state.addresses if state else {}
    unknown = [name for name in ready if addresses.get(name) not in requests]
    if unknown:
        what = f"the gateway does not know {len(unknown)} of {len(ready)} ready replicas"
        yield findings.warning(target.name, what, _GATEWAY_ADVICE)
        return
    yield findings.ok(target.name, f"the gateway knows all {len(ready)} ready replicas")


def look_at_limits(target: TargetSettings, checks: Checks) -> Iterator[Finding]:
    """Look for containers without the CPU limit that a query divides by."""
    if not any("limit" in metric.query for metric in target.metrics):
        return
    try:
        limits = checks.cpu_limits()
    except ObserveError as error:
        yield _could_not_look(target, "CPU limits", error)
        return
    for container in (name for name, limit in limits.items() if limit is None):
        what = f"container {container} has no CPU limit, and a query divides by limits"
        yield findings.warning(target.name, what, "set resources.limits.cpu in the Deployment")


def _could_not_look(target: TargetSettings, at: str, error: ObserveError) -> Finding:
    what = f"could not look at {at}: {_bare(target, error)}"
    return findings.warning(target.name, what, _LOOK_ADVICE)


def _bare(target: TargetSettings, error: ObserveError) -> str:
    """Leave out the target's name, which stands in the finding's own place."""
    return str(error).removeprefix(f"{target.name}: ")

"""The gateway: whether it knows the replicas, has room for them, and queues before they do."""

from collections.abc import Iterator, Sequence

from autoscaler.adapters.haproxy_look import Server, Servers
from autoscaler.adapters.kubernetes import Written
from autoscaler.check import findings
from autoscaler.check.findings import Finding
from autoscaler.check.queries import reads_gateway
from autoscaler.check.world import Gateway
from autoscaler.decision.words import MetricType
from autoscaler.errors import ObserveError
from autoscaler.ports import TargetState
from autoscaler.settings import TargetSettings

_UNKNOWN_ADVICE = "look at gateway_backend and at the name by which the gateway finds replicas"
_ALL = "set it in haproxy.cfg (GATEWAY_SLOTS) and OLLAMA_NUM_PARALLEL to the same number"


def look_at(
    target: TargetSettings,
    state: TargetState,
    written: Written | Finding,
    gateway: Gateway | None,
) -> Iterator[Finding]:
    """Look at the servers of each gateway pod."""
    if gateway is None:
        yield findings.ok(
            target.name, "no gateway is asked for requests in flight: victims go blindly"
        )
        return
    try:
        pods = gateway.servers()
    except ObserveError as error:
        what = f"the gateway does not tell how many requests are in flight: {error}"
        yield findings.warning(target.name, what, error.next_step)
        return
    yield _known(target, state, pods)
    yield from _room(target, pods)
    if (limits := _limits(pods)) is not None:
        yield from _slots(target, written, limits)


def _known(target: TargetSettings, state: TargetState, pods: Sequence[Servers]) -> Finding:
    """Look whether each gateway pod knows the replicas that are ready, and sends them requests."""
    ready = [pod.name for pod in state.pods if pod.ready and not pod.deleting]
    of_ready = f"of {len(ready)} ready replicas"
    if ready and any(_tells_nothing(servers) for servers in pods):
        what = "the gateway's statistics lack the addresses of its servers: victims go blindly"
        return findings.warning(
            target.name, what, "write `stats show-legends` beside `stats enable` in haproxy.cfg"
        )
    known = [_by_address(servers) for servers in pods]
    addresses = [state.addresses.get(name, "") for name in ready]
    if unknown := sum(any(each not in servers for servers in known) for each in addresses):
        what = f"the gateway does not know {unknown} {of_ready}"
        return findings.warning(target.name, what, _UNKNOWN_ADVICE)
    if down := sum(any(not servers[each].up for servers in known) for each in addresses):
        what = f"the gateway takes {down} {of_ready} for dead: they fail its check"
        return findings.warning(target.name, what, "look at `option httpchk` in haproxy.cfg")
    return findings.ok(target.name, f"the gateway knows all {len(ready)} ready replicas")


def _tells_nothing(servers: Servers) -> bool:
    return any(each.up for each in servers) and not any(each.address for each in servers)


def _by_address(servers: Servers) -> dict[str, Server]:
    """Prefer the place that is up: an old one may still have a replica's address."""
    return {each.address: each for each in sorted(servers, key=lambda each: each.up)}


def _room(target: TargetSettings, pods: Sequence[Servers]) -> Iterator[Finding]:
    """Look whether there is a place for every replica that there may be."""
    places = min(map(len, pods), default=0)
    mosts = [schedule.max_replicas or 0 for schedule in target.schedules]
    most = max([target.max_replicas, *mosts])
    if places < most:
        what = f"the gateway has {places} places for replicas, max_replicas is {most}"
        step = f"raise the number of its server-template to {most} and more, or lower max_replicas"
        yield findings.warning(target.name, f"{what}: the others get no request", step)


def _limits(pods: Sequence[Servers]) -> set[int | None] | None:
    """Return the servers' `maxconn`; None where there is no server."""
    return {each.limit for servers in pods for each in servers} or None


def _slots(
    target: TargetSettings, written: Written | Finding, limits: set[int | None]
) -> Iterator[Finding]:
    """Look whether gateway, replica and target value speak of the same number of slots."""
    told = {each.slots for each in written.containers} if isinstance(written, Written) else set()
    if None in limits:
        what = "the gateway's servers have no maxconn: requests queue where nobody counts them"
        yield findings.warning(target.name, what, _ALL)
        return
    least = min(limit for limit in limits if limit is not None)
    for slots in sorted(each for each in told if each is not None):
        if limits != {slots}:
            what = f"OLLAMA_NUM_PARALLEL is {slots}, the gateway gives a replica {least} at a time"
            yield findings.warning(target.name, what, _ALL)
    for metric in target.metrics:
        if metric.type is MetricType.TOTAL and metric.target > least and reads_gateway(metric):
            what = f"target {metric.target:g} per replica, of which each serves {least} at a time"
            step = f"write a target below {least}, such as {0.8 * least:g}"
            yield findings.warning(
                f"{target.name} {metric.name}", f"{what}: people wait before it grows", step
            )

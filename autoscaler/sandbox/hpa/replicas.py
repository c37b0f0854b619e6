"""From the use of the pods to a number of replicas, as HPA's replica calculator has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from autoscaler.sandbox.hpa.usage import Usage

TOLERANCE = 0.1


class NoMetricsError(Exception):
    """Nothing can be computed; the message is HPA's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaPod:
    """One pod that the target's selector matches; times are Unix seconds."""

    name: str
    request_milli: int | None
    """None: it asks for no CPU, and then no utilization can be told."""
    phase: str = "Running"
    deleting: bool = False
    ready: bool = True
    started: float | None = None
    """None: it has no place on a node yet."""
    ready_changed: float | None = None
    """When its readiness changed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When it is, and HPA's two periods about pods that are new, in seconds of that clock."""

    now: float
    initialization_s: float = 300.0
    """--horizontal-pod-autoscaler-cpu-initialization-period"""
    readiness_delay_s: float = 30.0
    """--horizontal-pod-autoscaler-initial-readiness-delay"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the metric asks for."""

    replicas: int
    utilization: int
    """Percent of what the pods with metrics request, cut to a whole number."""
    milli_cores: int
    """Per pod with metrics."""


@dataclass(slots=True)
class _Groups:
    ready: int = 0
    unready: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)


def propose(
    current: int,
    target: int,
    pods: Sequence[HpaPod],
    usage: Mapping[str, Usage],
    moment: Moment,
) -> Proposal:
    """Return the replicas that hold the utilization at `target` percent. Raises NoMetricsError.

    Pods without metrics count as 100 % (or the target, if that is more) when the others ask to
    shrink and as 0 when they ask to grow, unready ones as 0 when they ask to grow; neither may turn
    the direction round.
    """
    groups = _group(pods, usage, moment)
    requests = _requests(pods)
    unusable = groups.unready | groups.ignored
    used = {pod: each.milli_cores for pod, each in usage.items() if pod not in unusable}
    used = {pod: milli for pod, milli in used.items() if pod in requests}
    if not used:
        raise NoMetricsError("did not receive metrics for targeted pods (pods might be unready)")
    ratio, utilization = _ratio(used, requests, target)
    told = {"utilization": utilization, "milli_cores": sum(used.values()) // len(used)}
    unready_count = bool(groups.unready) and ratio > 1
    if not unready_count and not groups.missing:
        wanted = current if _within(ratio) else ceil(ratio * groups.ready)
        return Proposal(replicas=wanted, **told)
    if ratio < 1:
        fill = max(100, target)
        used |= {pod: requests[pod] * fill // 100 for pod in groups.missing}
    elif ratio > 1:
        used |= dict.fromkeys(groups.missing, 0)
    if unready_count:
        used |= dict.fromkeys(groups.unready, 0)
    filled, _ = _ratio(used, requests, target)
    wanted = ceil(filled * len(used))
    turned = (ratio < 1 < filled) or (ratio > 1 > filled)
    against = (filled < 1 and wanted > current) or (filled > 1 and wanted < current)
    kept = turned or against or _within(filled)
    return Proposal(replicas=current if kept else wanted, **told)


def _group(pods: Sequence[HpaPod], usage: Mapping[str, Usage], moment: Moment) -> _Groups:
    groups = _Groups()
    for pod in pods:
        if pod.deleting or pod.phase == "Failed":
            groups.ignored.add(pod.name)
        elif pod.phase == "Pending":
            groups.unready.add(pod.name)
        elif pod.name not in usage:
            groups.missing.add(pod.name)
        elif _is_unready(pod, usage[pod.name], moment):
            groups.unready.add(pod.name)
        else:
            groups.ready += 1
    return groups


def _is_unready(pod: HpaPod, usage: Usage, moment: Moment) -> bool:
    """Tell whether a pod's use says nothing yet: what it takes to start is no load."""
    if pod.started is None or pod.ready_changed is None:
        return True
    if pod.started + moment.initialization_s > moment.now:
        return not pod.ready or usage.at < pod.ready_changed + usage.window_s
    return not pod.ready and pod.started + moment.readiness_delay_s > pod.ready_changed


def _requests(pods: Sequence[HpaPod]) -> dict[str, int]:
    requests = {}
    for pod in pods:
        if pod.request_milli is None:
            raise NoMetricsError("missing request for cpu")
        requests[pod.name] = pod.request_milli
    return requests


def _ratio(used: Mapping[str, int], requests: Mapping[str, int], target: int) -> tuple[float, int]:
    utilization = sum(used.values()) * 100 // sum(requests[pod] for pod in used)
    return utilization / target, utilization


def _within(ratio: float) -> bool:
    return 1 - TOLERANCE <= ratio <= 1 + TOLERANCE

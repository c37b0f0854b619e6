"""How many replicas one metric asks for: the arithmetic of Kubernetes' autoscaler (HPA).

Quantities are whole thousandths, as there: what is cut off by dividing whole numbers is cut off
here, too. None is what the controller calls an error: no count at all.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

MOST = 2**31 - 1
LONG_AGO = -1e9


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much use may miss its target, as a share of it, before a change is worth it."""

    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        """Tell whether a use of this share of the target is near enough."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds the CPU use of a new pod says little (the controller's two flags)."""

    initialization: float = 300.0
    first_readiness: float = 30.0


@dataclass(frozen=True, slots=True)
class Pod:
    """What the controller sees of a pod; `ready` is None without a word on its readiness."""

    name: str
    phase: str = "Running"
    deleted: bool = False
    ready: bool | None = True
    ready_since: float = LONG_AGO  # when readiness last changed
    started: float | None = LONG_AGO
    request: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod's use: the mean over the `window` seconds before `at`."""

    value: int
    at: float = LONG_AGO
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class Groups:
    """Who counts, and how."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """The pods, their samples by name, and who counts how."""

    pods: Collection[Pod]
    samples: Mapping[str, Sample]
    groups: Groups


@dataclass(frozen=True, slots=True)
class Proposal:
    """The replicas that a metric asks for, and the use they were reckoned from."""

    replicas: int
    usage: int


def group(
    pods: Collection[Pod],
    samples: Mapping[str, Sample],
    *,
    now: float,
    cpu: bool,
    patience: Patience,
) -> Seen:
    """Sort pods into those that count and those that only count as nothing, if at all."""
    unready, missing, ignored = set(), set(), set()
    for pod in pods:
        sample = samples.get(pod.name)
        if pod.deleted or pod.phase == "Failed":
            ignored.add(pod.name)
        elif pod.phase == "Pending":
            unready.add(pod.name)
        elif sample is None:
            missing.add(pod.name)
        elif cpu and _too_new(pod, sample, now, patience):
            unready.add(pod.name)
    ready = len(pods) - len(unready) - len(missing) - len(ignored)
    groups = Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))
    return Seen(pods, samples, groups)


def by_utilization(current: int, percent: int, seen: Seen, tolerance: Tolerance) -> Proposal | None:
    """Ask for what brings use to a percentage of what the pods request."""
    requests = {pod.name: pod.request for pod in seen.pods if pod.request is not None}
    if len(requests) < len(seen.pods):
        return None
    # A pod without a sample uses all it may, while shrinking.
    full = {name: requests[name] * max(100, percent) // 100 for name in seen.groups.missing}

    def use(values: Mapping[str, int]) -> tuple[float, int] | None:
        known = values.keys() & requests.keys()
        asked = sum(requests[name] for name in known)
        if asked == 0:
            return None
        used = sum(values[name] for name in known)
        return (used * 100 // asked) / percent, used // len(known)

    return _by_pods(current, seen, tolerance, full, use)


def by_average(current: int, target: int, seen: Seen, tolerance: Tolerance) -> Proposal | None:
    """Ask for what brings the mean over the pods to a target."""

    def use(values: Mapping[str, int]) -> tuple[float, int]:
        mean = sum(values.values()) // len(values)
        return mean / target, mean

    full = dict.fromkeys(seen.groups.missing, target)
    return _by_pods(current, seen, tolerance, full, use)


def by_value(
    current: int, total: int, target: int, pods: Collection[Pod], tolerance: Tolerance
) -> Proposal | None:
    """Ask, for a figure that is not of the pods, for what brings the whole of it to a target."""
    ratio = total / target
    if current == 0:
        return Proposal(_up(ratio), total)
    if tolerance.covers(ratio):
        return Proposal(current, total)
    if not pods:
        return None
    ready = sum(pod.phase == "Running" and pod.ready is True for pod in pods)
    return Proposal(_up(ratio * ready), total)


def by_total(replicas: int, total: int, target: int, tolerance: Tolerance) -> Proposal:
    """Ask, for a figure that is not of the pods, for what leaves each pod a target of it.

    `replicas` is how many there are (status), not how many there should be; none of them need
    be ready.
    """
    wanted = replicas
    if replicas == 0 or not tolerance.covers(total / (float(target) * replicas)):
        wanted = _up(total / target)
    usage = total if replicas == 0 or total >= 2**63 - 1 else math.ceil(total / replicas)
    return Proposal(wanted, usage)


def highest(current: int, proposals: Collection[Proposal | None]) -> int | None:
    """Join several metrics: the highest wins; one that failed forbids shrinking."""
    counts = [proposal.replicas for proposal in proposals if proposal is not None]
    if not counts or (len(counts) < len(proposals) and max(counts) < current):
        return None
    return max(counts)


def _too_new(pod: Pod, sample: Sample, now: float, patience: Patience) -> bool:
    if pod.ready is None or pod.started is None:
        return True
    if pod.started + patience.initialization > now:
        return not pod.ready or sample.at < pod.ready_since + sample.window
    return not pod.ready and pod.started + patience.first_readiness > pod.ready_since


def _by_pods(
    current: int,
    seen: Seen,
    tolerance: Tolerance,
    full: Mapping[str, int],
    use: Callable[[Mapping[str, int]], tuple[float, int] | None],
) -> Proposal | None:
    groups = seen.groups
    aside = groups.ignored | groups.unready
    values = {name: sample.value for name, sample in seen.samples.items() if name not in aside}
    measured = use(values) if values and seen.pods else None
    if measured is None:
        return None
    ratio, usage = measured
    growing_before_ready = ratio > 1.0 and bool(groups.unready)
    if not growing_before_ready and not groups.missing:
        keep = tolerance.covers(ratio)
        return Proposal(current if keep else _up(ratio * groups.ready), usage)
    # Whoever says nothing is reckoned with as what makes the change smaller.
    if ratio < 1.0:
        values |= full
    elif ratio > 1.0:
        values |= dict.fromkeys(groups.missing, 0)
    if growing_before_ready:
        values |= dict.fromkeys(groups.unready, 0)
    again = use(values)
    if again is None:
        return None
    return Proposal(_careful(current, ratio, again[0], len(values), tolerance), usage)


def _careful(current: int, first: float, again: float, pods: int, tolerance: Tolerance) -> int:
    """Keep the count where the second reckoning turns round what the first said."""
    turned = (first < 1.0 < again) or (again < 1.0 < first)
    if tolerance.covers(again) or turned:
        return current
    wanted = _up(again * pods)
    against = (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current)
    return current if against else wanted


def _up(number: float) -> int:
    return MOST if number > MOST else math.ceil(number)

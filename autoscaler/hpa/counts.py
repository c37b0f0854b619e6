"""How many replicas one metric asks for: the arithmetic of Kubernetes' autoscaler (HPA).

Quantities are whole thousandths, as there: what is cut off by dividing whole numbers is cut off
here, too. None is what the controller calls an error: no count at all.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from autoscaler.hpa.pods import Pod, Seen

MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much use may miss its target, as a share of it, before a change is worth it."""

    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        """Tell whether a use of this share of the target is near enough."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Proposal:
    """The replicas that a metric asks for, and the use they were reckoned from."""

    replicas: int
    usage: int
    ratio: float | None = field(default=None, compare=False)
    """Of that use to the target; None where no pods were reckoned with."""


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
        return Proposal(current if keep else _up(ratio * groups.ready), usage, ratio)
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
    return Proposal(_careful(current, ratio, again[0], len(values), tolerance), usage, ratio)


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

"""From the use of the pods to a number of replicas, in the words of HPA's status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.hpa.counts import Tolerance, by_utilization
from autoscaler.hpa.pods import Patience, Pod, Sample, group


class NoMetricsError(Exception):
    """Nothing can be computed; the message is HPA's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When it is, and HPA's patience with pods that are new, in seconds of that clock."""

    now: float
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the metric asks for."""

    replicas: int
    utilization: int
    """Percent of what the pods with metrics request, cut to a whole number."""
    milli_cores: int
    """Per pod with metrics."""


def propose(
    current: int,
    target: int,
    pods: Sequence[Pod],
    usage: Mapping[str, Sample],
    moment: Moment,
) -> Proposal:
    """Return the replicas that hold the utilization at `target` percent. Raises NoMetricsError.

    Use and requests are in thousandths of a core.
    """
    if any(pod.request is None for pod in pods):
        raise NoMetricsError("missing request for cpu")
    # Whoever is gone may still have a sample.
    samples = {pod.name: usage[pod.name] for pod in pods if pod.name in usage}
    seen = group(pods, samples, now=moment.now, cpu=True, patience=moment.patience)
    found = by_utilization(current, target, seen, Tolerance())
    if found is None or found.ratio is None:
        raise NoMetricsError("did not receive metrics for targeted pods (pods might be unready)")
    utilization = round(found.ratio * target)
    return Proposal(replicas=found.replicas, utilization=utilization, milli_cores=found.usage)

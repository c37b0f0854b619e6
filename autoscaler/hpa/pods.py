"""Which pods count, and how, when Kubernetes' autoscaler (HPA) reckons with their use."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

LONG_AGO = -1e9


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


def _too_new(pod: Pod, sample: Sample, now: float, patience: Patience) -> bool:
    if pod.ready is None or pod.started is None:
        return True
    if pod.started + patience.initialization > now:
        return not pod.ready or sample.at < pod.ready_since + sample.window
    return not pod.ready and pod.started + patience.first_readiness > pod.ready_since

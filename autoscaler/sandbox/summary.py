"""What a run was and what each lane came to. Times are simulated seconds from its start."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from types import MappingProxyType

from autoscaler.charts.steps import Point, replica_hours
from autoscaler.sandbox.load import Outcome, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSummary:
    """The figures of one lane."""

    name: str
    requests: int
    served: int
    refused: int
    gave_up: int
    cut: int
    wait_p50_s: float | None
    """Waiting for a slot; who gave up counts with all the time waited."""
    wait_p99_s: float | None
    first_p50_s: float | None
    """From the question to the first byte of its answer, prompt evaluation included."""
    first_p99_s: float | None
    replica_hours: float
    """From each pod's creation to its end: starting and draining included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision that changed the replicas."""

    at_s: float
    from_: int
    to: int
    reason: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of the run with a name: a phase of the traffic, a fault."""

    from_s: float
    to_s: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that the report shows."""

    title: str
    speed: float
    started: datetime
    duration_s: float
    series: Mapping[str, Sequence[Point]]
    """Steps by name: desired, ready, up (replicas), waiting, running (requests), cpu_to_limit."""
    bounds: tuple[int, int]
    """min_replicas, max_replicas."""
    changes: Sequence[Change]
    lanes: Sequence[LaneSummary]
    """Ours first."""
    phases: Sequence[Span] = ()
    faults: Sequence[Span] = ()
    scaled: Sequence[str] = ()
    """What was divided by `speed`."""
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notes: Sequence[str] = ()


def summarise(
    name: str, outcomes: Sequence[Outcome], replicas: Sequence[Point], until_s: float
) -> LaneSummary:
    """Put one lane into figures; `replicas` are the pods that exist, as steps."""
    ended = Counter(outcome.result for outcome in outcomes)
    waits = list(_seconds(outcomes, lambda outcome: outcome.wait_s))
    firsts = list(_seconds(outcomes, lambda outcome: outcome.first_s))
    return LaneSummary(
        name=name,
        requests=len(outcomes),
        served=ended[Result.SERVED],
        refused=ended[Result.REFUSED],
        gave_up=ended[Result.GAVE_UP],
        cut=ended[Result.CUT],
        wait_p50_s=percentile(waits, 0.5),
        wait_p99_s=percentile(waits, 0.99),
        first_p50_s=percentile(firsts, 0.5),
        first_p99_s=percentile(firsts, 0.99),
        replica_hours=replica_hours(replicas, until_s),
    )


def _seconds(outcomes: Sequence[Outcome], of: Callable[[Outcome], float | None]) -> Iterator[float]:
    """Yield what was measured of each; who gave up counts with the time waited."""
    for outcome in outcomes:
        gave_up = outcome.result is Result.GAVE_UP
        seconds = outcome.finished_s - outcome.arrival_s if gave_up else of(outcome)
        if seconds is not None:
            yield seconds


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of them do not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, ceil(share * len(values) - 1e-9) - 1)]

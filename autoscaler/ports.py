"""What the loop asks of the world. Adapters are these; tests write small classes that are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from autoscaler.decision.model import Missing, Pod, Samples, ScalingState
from autoscaler.decision.record import Record
from autoscaler.decision.words import Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricQuery:
    """One question to a metric source."""

    name: str
    query: str
    per_pod: bool = False
    """True: one sample per pod is expected, told apart by the label `pod`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWriter:
    """Who wrote the replicas last, as the API's managed fields have it."""

    manager: str
    is_us: bool
    at: datetime | None = None
    """None where the API does not tell: it never does of a write through the scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What the API says of a target now."""

    current: int
    ready: int
    pods: tuple[Pod, ...]
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Pod name to IP address, of the pods that have one."""
    marked: tuple[str, ...] = ()
    """Names of the pods that carry our mark as victims and are not being deleted."""
    paused: bool = False
    """Both directions, by the annotation."""
    paused_direction: Direction | None = None
    """The one direction that is paused by the annotation, where not both are."""
    writer: LastWriter | None = None
    """None where the API does not tell."""


class MetricSource(Protocol):
    """Answers metric queries."""

    def ask(self, queries: Sequence[MetricQuery], now: datetime) -> Mapping[str, Samples | Missing]:
        """Answer every query by its name, in time; one that fails is Missing, nothing raises."""


class BusySource(Protocol):
    """Knows how many requests each replica is serving."""

    def in_flight(self) -> Mapping[str, int] | None:
        """Return IP address to requests, in time; None where that cannot be told. Never raises."""


class ScaleTarget(Protocol):
    """One Deployment."""

    def read(self) -> TargetState:
        """Read replicas and pods. Raises TargetReadError."""

    def scale(self, current: int, desired: int, victims: Sequence[str] = ()) -> None:
        """Set the replica count to `desired` if it still is `current`.

        The victims are marked before, so that they go first, in their order; where the count is
        not set, the marks of this call are taken back. Raises ConflictError where the count is
        another, ForbiddenError, TargetWriteError, UnknownWriteError.
        """

    def unmark(self, pods: Sequence[str]) -> None:
        """Take the marks off pods that stay after all. Raises ForbiddenError, TargetWriteError."""

    def replace(self, pod: str) -> None:
        """Delete one pod, so that another takes its place. Raises as `scale` does."""


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Wall-clock time, with a zone."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for durations."""


class Leadership(Protocol):
    """Which of several daemons acts."""

    def term(self) -> int | None:
        """Return the number of our present term, a new one each time; None while not leading.

        Asked once more just before every write: what is true at the start of a cycle may be over.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one cycle of a target leaves to the next, also over a restart."""

    state: ScalingState
    expected: int | None
    """The replicas, if nobody but us has written them since."""


class StateStore(Protocol):
    """Keeps each target's memory beyond the life of the process."""

    def load(self, target: str) -> Memory | None:
        """Return what was kept of a target by whoever led before; None where nothing was."""

    def save(self, target: str, memory: Memory) -> None:
        """Keep it; must not raise and must not block for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """One finished cycle of one target."""

    target: str
    """namespace/name"""
    at: datetime
    duration: timedelta
    outcome: str
    """An `Outcome` value."""
    record: Record | None
    """None where the cycle could not observe enough to decide."""
    error: str = ""
    reason: str = ""
    """Why there is no record, where a `Reason` says it."""


class Reporter(Protocol):
    """Is told of every finished cycle."""

    def report(self, report: CycleReport) -> None:
        """Take note; must not raise and must not block for long."""

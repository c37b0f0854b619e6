"""What the loop asks of the world. Adapters are these; tests write small classes that are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from autoscaler.decision.model import Missing, Pod, Samples
from autoscaler.decision.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricQuery:
    """One question to a metric source."""

    name: str
    query: str
    per_pod: bool = False
    """True: one sample per pod is expected, told apart by the label `pod`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What the API says of a target now."""

    current: int
    ready: int
    pods: tuple[Pod, ...]


class MetricSource(Protocol):
    """Answers metric queries."""

    def ask(self, queries: Sequence[MetricQuery], now: datetime) -> Mapping[str, Samples | Missing]:
        """Answer every query by its name, in time; one that fails is Missing, nothing raises."""


class ScaleTarget(Protocol):
    """One Deployment."""

    def read(self) -> TargetState:
        """Read replicas and pods. Raises TargetReadError."""

    def scale(self, current: int, desired: int) -> None:
        """Set the replica count to `desired` if it still is `current`.

        Raises ConflictError where it is not, ForbiddenError, TargetWriteError.
        """


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Wall-clock time, with a zone."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for durations."""


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


class Reporter(Protocol):
    """Is told of every finished cycle."""

    def report(self, report: CycleReport) -> None:
        """Take note; must not raise and must not block for long."""

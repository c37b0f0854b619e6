"""The one interface between the engine and the policies that it tries."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """A replica as it is at a moment; times in seconds of the simulation."""

    name: str
    created: float
    ready_at: float | None  # None until it is
    draining: bool
    running: int  # requests in its slots
    busy_seconds: float  # of its slots, since it was created
    cpu_seconds: float  # of its processor, since it was created


class Truth(Protocol):
    """What there is to see at a moment. Each policy sees only what its metric path would show."""

    @property
    def now(self) -> float:
        """Seconds since the simulation's start."""

    @property
    def wanted(self) -> int:
        """Return the number of replicas asked for (`spec.replicas`)."""

    @property
    def waiting(self) -> int:
        """Return the requests that wait in the gateway."""

    @property
    def running(self) -> int:
        """Return the requests that are being answered."""

    @property
    def replicas(self) -> tuple[ReplicaView, ...]:
        """Return all that exist, those that start and those that drain included."""

    @property
    def in_system_seconds(self) -> float:
        """Return the integral over time of waiting and running requests, since the start."""


class Scaler(Protocol):
    """A policy. It may also have `victims(truth, count)`, which names who goes first."""

    @property
    def period(self) -> float:
        """Seconds between calls."""

    def tick(self, truth: Truth) -> int | None:
        """Return the new number of replicas, or None to leave it."""

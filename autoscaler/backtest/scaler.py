"""What a policy sees of a simulated moment, and what it may answer.

A policy's metric path (scrapes, averages, delays) is its own: it is called at its finest period,
and keeps the last sample itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable


class ReplicaView(NamedTuple):
    """One replica that has been created and has not ended."""

    name: str
    created: float
    ready_at: float | None
    """None: it is starting, or waits for a node."""
    draining: bool
    running: int
    """Requests that have one of its slots."""
    busy_seconds: float
    """Slot-seconds in use since its creation."""
    cpu_seconds: float
    """Seconds since its creation in which its processors were busy, all of them."""
    placed: bool = True
    """False: no node has room for it."""


@dataclass(kw_only=True)
class Truth:
    """What there is to see at a moment; during a run it is good for that moment alone."""

    now: float
    """Seconds since the start of the run."""
    wanted: int
    """Replicas asked for."""
    waiting: int
    """Requests in the gateway's queue."""
    running: int
    """Requests that have a slot."""
    replicas: tuple[ReplicaView, ...]
    """In the order of their creation; those that drain are among them."""
    in_system_seconds: float
    """Time integral of waiting + running since 0: a mean over a window is a difference of two."""

    @property
    def in_system(self) -> int:
        """Return the requests that wait or run."""
        return self.waiting + self.running

    @property
    def ready(self) -> int:
        """Return the replicas that take requests."""
        return sum(each.ready_at is not None and not each.draining for each in self.replicas)


class Scaler(Protocol):
    """A policy: called every `period` seconds from second 0 on."""

    @property
    def period(self) -> float:
        """Return the seconds from one call to the next."""

    def tick(self, truth: Truth) -> int | None:
        """Return the number of replicas to go to; None leaves it as it is."""


@runtime_checkable
class ChoosesVictims(Protocol):
    """A policy that says who goes first, by annotating the cost of deletion."""

    def victims(self, truth: Truth, count: int) -> Sequence[str]:
        """Return the names of those that should go, when `count` replicas are too many.

        As in Kubernetes it only ranks those that are ready: whoever is not yet goes before them.
        Without a say, the one that became ready last goes first.
        """


class Fixed:
    """Keeps what the run began with."""

    period = 3600.0

    def tick(self, truth: Truth) -> None:
        """Leave it as it is."""

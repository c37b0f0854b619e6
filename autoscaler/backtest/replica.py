"""One replica: slots that share its processor, start-up, rest, drain.

Sharing is by virtual time: it runs at the speed that each of the busy slots has, so a request ends
when as much of it has passed as the request takes alone, whoever comes and goes meanwhile.
"""

from heapq import heappop, heappush
from math import inf

from autoscaler.backtest.scaler import ReplicaView
from autoscaler.backtest.service import Service


class Replica:
    """The state of one replica, brought up to a moment whenever something happens to it."""

    __slots__ = (
        "_load",
        "_loaded_at",
        "_speeds",
        "_unload_after",
        "_updated",
        "_view",
        "_virtual",
        "busy",
        "cpu",
        "created",
        "draining",
        "ended",
        "epoch",
        "idle_since",
        "jobs",
        "marked",
        "name",
        "placed",
        "ready_at",
        "start",
    )

    def __init__(
        self, name: str, service: Service, speeds: tuple[float, ...], created: float
    ) -> None:
        """Begin without a node. `speeds`: at which part of its own each of n requests runs."""
        self.name = name
        self.created = created
        self.start = 0.0
        """Seconds from having a node to being ready."""
        self.placed: float | None = None
        """When it got a node."""
        self.ready_at: float | None = None
        self.ended: float | None = None
        self.draining = False
        self.marked = False
        """Chosen by the policy to go."""
        self.jobs: list[tuple[float, int]] = []
        """A heap: virtual time at which each ends, and its number."""
        self.epoch = 0
        """Counts what makes an earlier foretold end wrong."""
        self.busy = 0.0
        self.cpu = 0.0
        self.idle_since = inf
        self._speeds = speeds
        self._load, self._unload_after = service.load, service.idle_unload
        self._virtual = 0.0
        self._loaded_at = 0.0
        self._updated = created
        self._view: ReplicaView | None = None

    def become_ready(self, now: float) -> None:
        """Take requests from now on, the model in memory."""
        self.ready_at = self.idle_since = now
        self._view = None

    def drain(self) -> None:
        """Take no more requests."""
        self.draining = True
        self._view = None

    def admit(self, number: int, seconds: float, now: float) -> float:
        """Give a request a slot. Returns when the next one ends, as far as that is known now."""
        self._pass(now)
        if not self.jobs:
            self._virtual = 0.0
            if now - self.idle_since > self._unload_after:
                self._loaded_at = now + self._load
        heappush(self.jobs, (self._virtual + seconds, number))
        return self._next_end(now)

    def finish(self, now: float) -> tuple[int, float]:
        """Let the first request end. Returns its number and when the next one ends."""
        self._pass(now)
        self._virtual, number = heappop(self.jobs)
        if not self.jobs:
            self.idle_since = now
            return number, inf
        return number, self._next_end(now)

    def cut(self, now: float) -> list[int]:
        """Drop all its requests and return their numbers."""
        self._pass(now)
        self.epoch += 1
        cut = sorted(number for _, number in self.jobs)
        self.jobs.clear()
        return cut

    def view(self, now: float) -> ReplicaView:
        """Return what there is to see of it; the same object while nothing has changed."""
        count = len(self.jobs)
        if self._view is not None and not count:
            return self._view
        passed = now - self._updated if count else 0.0
        self._view = ReplicaView(
            self.name,
            self.created,
            self.ready_at,
            self.draining,
            count,
            self.busy + passed * count,
            self.cpu + passed,
            self.placed is not None,
        )
        return self._view

    def place(self, now: float) -> float:
        """Give it a node. Returns when it will be ready."""
        self.placed = now
        self._view = None
        return now + self.start

    def _next_end(self, now: float) -> float:
        self.epoch += 1
        self._view = None
        begin = now if now > self._loaded_at else self._loaded_at  # noqa: FURB136 - often called
        return begin + (self.jobs[0][0] - self._virtual) / self._speeds[len(self.jobs)]

    def _pass(self, now: float) -> None:
        """Let the time since the last change pass."""
        count = len(self.jobs)
        if count:
            passed = now - self._updated
            self.busy += passed * count
            self.cpu += passed
            begin = max(self._updated, self._loaded_at)
            if now > begin:
                self._virtual += (now - begin) * self._speeds[count]
        self._view = None
        self._updated = now

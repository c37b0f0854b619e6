"""Kubernetes' own autoscaler (HPA), with and without `behavior`.

The controller is that of Kubernetes 1.37 (pkg/controller/podautoscaler): a sync every 15 s. The
figure comes either from outside (requests in the system, by way of Prometheus and an adapter) or
is the pods' CPU use (by way of the metrics server); both are scraped every 15 s. Scrape and sync
are not in step on a cluster; here one lies in the middle between two of the other, so a figure is
7.5 s old, as it is on the mean.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from autoscaler.backtest.scaler import ReplicaView, Truth
from autoscaler.hpa.counts import (
    Proposal,
    Tolerance,
    by_total,
    by_utilization,
    highest,
)
from autoscaler.hpa.pods import Patience, Pod, Sample, group
from autoscaler.hpa.rules import (
    Ask,
    Behavior,
    Bounds,
    Memory,
    between_windows,
    highest_recent,
    old_limit,
    rate_limit,
    record_change,
)

THOUSANDTHS = 1000


@dataclass(slots=True)
class Controller:
    """One autoscaler object, from what its metrics ask for to the number that it sets."""

    bounds: Bounds
    behavior: Behavior | None = None
    window: float = 300.0  # --horizontal-pod-autoscaler-downscale-stabilization
    memory: Memory = field(default_factory=Memory)
    zeroed: bool = False  # whether zero is our own doing
    seeded: bool = False  # whether the count that was found has been remembered

    def sync(self, now: float, current: int, proposals: Collection[Proposal | None]) -> int:
        """Return the number to set; the current one where there is nothing to do."""
        if not self.seeded:
            self.memory.recommendations.append((now, current))
            self.seeded = True
        wanted = self._wanted(now, current, proposals)
        if wanted != current:
            if self.behavior is not None:
                record_change(self.memory, Ask(now, current, wanted), self.behavior)
            self.zeroed = wanted == 0
        return wanted

    def normalized(self, now: float, current: int, wanted: int) -> int:
        """Stabilize and limit what the metrics ask for."""
        log = self.memory.recommendations
        if self.behavior is None:
            return old_limit(current, highest_recent(log, now, wanted, self.window), self.bounds)
        windows = self.behavior.up.window, self.behavior.down.window
        stable = between_windows(log, Ask(now, current, wanted), *windows)
        return rate_limit(self.memory, Ask(now, current, stable), self.bounds, self.behavior)

    def _wanted(self, now: float, current: int, proposals: Collection[Proposal | None]) -> int:
        if current == 0 and not self.zeroed:
            return 0  # whoever set zero wants no scaling
        if current > self.bounds.high:
            return self.bounds.high
        if 0 < current < self.bounds.low:
            return self.bounds.low
        asked = highest(current, proposals)
        if asked is None:
            return current
        number = self.normalized(now, current, asked)
        return max(number, self.bounds.low) if current == 0 else number


class Hpa:
    """HPA at work: its metric path, and its controller."""

    period = 7.5  # scrape and sync by turns, each every 15 s

    def __init__(
        self,
        target: float,
        bounds: Bounds,
        *,
        metric: Literal["requests", "cpu"] = "requests",
        behavior: Behavior | None = None,
    ) -> None:
        """Take the target: requests in the system for each replica, or CPU use in percent."""
        self._target = target
        self._metric = metric
        self._tolerance = Tolerance()
        self._controller = Controller(bounds, behavior)
        self._calls = 0
        self._requests = 0
        self._cpu = CpuSamples()

    def tick(self, truth: Truth) -> int | None:
        """Scrape, or sync, by turns."""
        self._calls += 1
        if self._calls % 2:
            self._requests = truth.waiting + truth.running
            self._cpu.scrape(truth)
            return None
        number = self._controller.sync(truth.now, truth.wanted, (self._proposal(truth),))
        return None if number == truth.wanted else number

    def _proposal(self, truth: Truth) -> Proposal | None:
        if self._metric == "requests":
            there = sum(not replica.draining for replica in truth.replicas)
            target = round(self._target * THOUSANDTHS)
            return by_total(there, self._requests * THOUSANDTHS, target, self._tolerance)
        pods = [_pod(replica, truth.now) for replica in truth.replicas]
        samples = self._cpu.samples()
        seen = group(pods, samples, now=truth.now, cpu=True, patience=Patience())
        return by_utilization(truth.wanted, round(self._target), seen, self._tolerance)


class CpuSamples:
    """The metrics server: each pod's mean CPU use between the last two scrapes."""

    def __init__(self) -> None:
        self._before: Mapping[str, float] = {}
        self._last: Mapping[str, float] = {}
        self._at = self._window = 0.0

    def scrape(self, truth: Truth) -> None:
        """Read every replica's CPU seconds."""
        self._before, self._window = self._last, truth.now - self._at
        self._last = {replica.name: replica.cpu_seconds for replica in truth.replicas}
        self._at = truth.now

    def samples(self) -> dict[str, Sample]:
        """Return a sample of each pod that was there at both."""
        return {
            name: Sample(
                round((self._last[name] - seconds) / self._window * THOUSANDTHS),
                self._at,
                self._window,
            )
            for name, seconds in self._before.items()
            if name in self._last and self._window > 0
        }


def _pod(replica: ReplicaView, now: float) -> Pod:
    ready = replica.ready_at is not None and replica.ready_at <= now
    since = replica.ready_at if ready and replica.ready_at is not None else replica.created
    return Pod(
        name=replica.name,
        deleted=replica.draining,
        ready=ready,
        ready_since=since,
        started=replica.created,
        request=THOUSANDTHS,  # the processor that a busy replica uses
    )

"""DelayedOff: another replica for whoever finds none free, and away after a time without work.

After Gandhi, Gupta, Harchol-Balter and Kozuch, "Optimality analysis of energy-performance
trade-off for server farm management" (2010), with the time of idleness equal to that of starting,
as ski rental has it. It sees everything as it is, each second: a yardstick, not a product. What
has begun to start is not taken back. There work goes to whoever was busy last; here the gateway
decides.
"""

import math
from collections.abc import Collection, Sequence

from autoscaler.backtest.scaler import Truth
from autoscaler.hpa.rules import Bounds


def decide(now: float, present: int, idle: Collection[float], needed: int, timeout: float) -> int:
    """Return how many there should be.

    `present` are those that are not leaving, `idle` since when some have had nothing to do, and
    `needed` is how many it takes to answer all requests at once.
    """
    expired = sum(now - since >= timeout for since in idle)
    return max(needed, present - expired)


class DelayedOff:
    """DelayedOff at work."""

    period = 1.0

    def __init__(self, timeout: float, slots: int, bounds: Bounds) -> None:
        """Take after how many seconds without work a replica goes."""
        self._timeout = timeout
        self._slots = slots
        self._bounds = bounds
        self._idle: dict[str, float] = {}  # since when, by name

    def tick(self, truth: Truth) -> int | None:
        """Count what is needed and who has been idle for too long."""
        present = self._look(truth)
        needed = math.ceil(truth.in_system / self._slots)
        wanted = decide(truth.now, present, self._idle.values(), needed, self._timeout)
        number = max(self._bounds.low, min(wanted, self._bounds.high))
        return None if number == truth.wanted else number

    def victims(self, truth: Truth, count: int) -> Sequence[str]:
        """Name those that have been idle for the longest."""
        self._look(truth)
        return sorted(self._idle, key=lambda name: (self._idle[name], name))[:count]

    def _look(self, truth: Truth) -> int:
        """Note who has nothing to do, and return how many are not leaving."""
        idle: dict[str, float] = {}
        present = 0
        for replica in truth.replicas:
            if replica.draining:
                continue
            present += 1
            if replica.running == 0 and replica.ready_at is not None:
                idle[replica.name] = self._idle.get(replica.name, truth.now)
        self._idle = idle
        return present

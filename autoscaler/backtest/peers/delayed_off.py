"""DelayedOff: another replica for whoever finds none free, and away after a time without work.

After Gandhi, Gupta, Harchol-Balter and Kozuch, "Optimality analysis of energy-performance
trade-off for server farm management" (2010), with the time of idleness equal to that of starting,
as ski rental has it. It sees everything as it is, each second: a yardstick, not a product. What
has begun to start is not taken back. There work goes to whoever was busy last; here the gateway
decides.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoscaler.backtest.peers.hpa_rules import Bounds
from autoscaler.backtest.scaler import Truth


@dataclass(frozen=True, slots=True)
class Present:
    """A replica that is not leaving: since when it has had nothing to do, None while it has."""

    name: str
    starting: bool
    idle_since: float | None


def decide(now: float, present: Sequence[Present], needed: int, timeout: float) -> int:
    """Return how many there should be, for the number that the requests need at once."""
    expired = [
        each for each in present if each.idle_since is not None and now - each.idle_since >= timeout
    ]
    return max(needed, len(present) - len(expired))


class DelayedOff:
    """DelayedOff at work."""

    period = 1.0

    def __init__(self, timeout: float, slots: int, bounds: Bounds) -> None:
        """Take after how many seconds without work a replica goes."""
        self._timeout = timeout
        self._slots = slots
        self._bounds = bounds
        self._idle_since: Mapping[str, float] = {}

    def tick(self, truth: Truth) -> int | None:
        """Count what is needed and who has been idle for too long."""
        present = self._present(truth)
        needed = math.ceil(truth.in_system / self._slots)
        wanted = decide(truth.now, present, needed, self._timeout)
        number = max(self._bounds.low, min(wanted, self._bounds.high))
        return None if number == truth.wanted else number

    def victims(self, truth: Truth, count: int) -> Sequence[str]:
        """Name those that have been idle for the longest."""
        idle = [
            (each.idle_since, each.name)
            for each in self._present(truth)
            if each.idle_since is not None
        ]
        return [name for _, name in sorted(idle)[:count]]

    def _present(self, truth: Truth) -> list[Present]:
        present = []
        for replica in truth.replicas:
            if replica.draining:
                continue
            starting = replica.ready_at is None
            idle = not starting and replica.running == 0
            since = self._idle_since.get(replica.name, truth.now) if idle else None
            present.append(Present(replica.name, starting, since))
        self._idle_since = {
            each.name: each.idle_since for each in present if each.idle_since is not None
        }
        return present

"""A fixed number of replicas: what one has without an autoscaler."""

import math
from collections.abc import Iterable

from autoscaler.backtest.scaler import Truth


class Static:
    """Always as many."""

    period = 60.0

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas

    def tick(self, truth: Truth) -> int | None:
        """Return the number, if it is not the one already."""
        return None if truth.wanted == self._replicas else self._replicas


def busy_at_once(served: Iterable[tuple[float, float]], share: float = 1.0) -> int:
    """Return how many requests are served at once, if none waits, for a share of the time.

    `served` is when each comes and how long it takes alone; the time goes from the first that
    comes to the last that ends. A share of 1 is the peak, 0.95 what is enough for 95 % of it.
    """
    steps = sorted(step for start, takes in served for step in ((start, 1), (start + takes, -1)))
    if not steps:
        return 0
    spent: dict[int, float] = {}
    busy, since = 0, steps[0][0]
    for at, change in steps:
        if at > since:
            spent[busy] = spent.get(busy, 0.0) + at - since
        busy, since = busy + change, at
    allowed = (1.0 - share) * sum(spent.values())
    over = 0.0
    for level in sorted(spent, reverse=True):
        over += spent[level]
        if over > allowed:
            return level
    return 0


def replicas_for(busy: int, slots: int) -> int:
    """Return the replicas with as many slots; one at least."""
    return max(1, math.ceil(busy / slots))

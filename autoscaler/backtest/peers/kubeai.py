"""KubeAI: a mean over ten minutes, and a count of steps before it shrinks.

After kubeai-project/kubeai, internal/modelautoscaler/autoscaler.go, internal/movingaverage and
internal/modelclient/scale.go. It reads its own proxy's count of requests, those that wait
included, at the moment of its tick. A request that finds no replica asks for one at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.backtest.scaler import Truth
from autoscaler.hpa.rules import Bounds


@dataclass(frozen=True, slots=True)
class Timing:
    """The defaults of its configuration, in seconds."""

    interval: float = 10.0
    window: float = 600.0
    down_delay: float = 30.0

    @property
    def samples(self) -> int:
        """Return over how many ticks the mean goes."""
        return math.ceil(self.window / self.interval)

    @property
    def steps_before_shrinking(self) -> int:
        """Return how many ticks in a row have to ask for fewer."""
        return math.ceil(self.down_delay / self.interval)


class MovingMean:
    """The mean of the last so many values, of which the first are given."""

    def __init__(self, seed: Sequence[float]) -> None:
        self._values = list(seed)
        self._next = 0

    def add(self, value: float) -> float:
        """Add a value in the place of the oldest, and return the mean."""
        self._values[self._next] = value
        self._next = (self._next + 1) % len(self._values)
        return sum(self._values) / len(self._values)


class Decider:
    """The arithmetic of one model."""

    def __init__(
        self, target: int, bounds: Bounds, timing: Timing | None = None, seed: float = 0.0
    ) -> None:
        """Begin with a mean of `seed`: nothing, or what was saved before a restart."""
        timing = timing or Timing()
        self._target = target
        self._bounds = bounds
        self._mean = MovingMean([seed] * timing.samples)
        self._steps = timing.steps_before_shrinking
        self._asked_for_fewer = 0

    def decide(self, current: int, requests: float) -> int:
        """Return the number to set: more at once, fewer when asked so often in a row.

        The count is not taken back by shrinking, only by a tick that asks for as many or more.
        """
        asked = math.ceil(self._mean.add(requests) / self._target)
        wanted = max(self._bounds.low, min(asked, self._bounds.high))
        if wanted >= current:
            self._asked_for_fewer = 0
        elif self._asked_for_fewer < self._steps:
            self._asked_for_fewer += 1
            return current
        return wanted


class KubeAI:
    """KubeAI at work: each second a look for requests that find nothing, each tenth a tick."""

    period = 1.0

    def __init__(self, target: int, bounds: Bounds, *, seed: float = 0.0) -> None:
        self._timing = Timing()
        self._decider = Decider(target, bounds, self._timing, seed)
        self._calls = 0

    def tick(self, truth: Truth) -> int | None:
        """Tick, or ask for one replica."""
        self._calls += 1
        current = truth.wanted
        if current == 0 and truth.in_system > 0:
            current = 1
        number = current
        if self._calls % round(self._timing.interval / self.period) == 0:
            number = self._decider.decide(current, truth.in_system)
        return None if number == truth.wanted else number

"""Knative's autoscaler (KPA): two windows of concurrency, and panic.

After knative/serving, pkg/autoscaler/scaling/autoscaler.go and pkg/reconciler/autoscaling/kpa. It
reads how many requests were in the system, on the mean over each second, and decides every 2 s; at
zero replicas at once, as the activator that holds the request sees to it.
"""

import math
from dataclasses import dataclass

from autoscaler.backtest.peers.kpa_windows import Highest, Means
from autoscaler.backtest.scaler import Truth
from autoscaler.hpa.rules import Bounds

TICK = 2.0
LEAST_TARGET = 0.01


@dataclass(frozen=True, slots=True)
class Spec:
    """What is configured; Knative's defaults but for the target."""

    target: float  # requests in the system for each pod
    panic_threshold: float = 2.0
    up_rate: float = 1000.0
    down_rate: float = 2.0
    stable_window: float = 60.0
    panic_window: float = 6.0
    down_delay: float = 0.0
    activation: int = 0
    reachable: bool = True
    grace: float = 30.0
    retention: float = 0.0


def target(concurrency: float, utilization: float = 0.7) -> float:
    """Return what to aim at for each pod, of what it can take at once (0: no limit, so 100)."""
    return max(LEAST_TARGET, (concurrency or 100.0) * utilization)


class Decider:
    """One revision's autoscaler."""

    def __init__(self, spec: Spec, ready: int, now: float) -> None:
        """With more than one pod it starts in panic: it knows nothing yet, and holds on."""
        self.spec = spec
        self.panicking_since = now if ready > 1 else None
        self.most = ready
        self._highest = Highest(spec.down_delay, TICK) if spec.down_delay > 0 else None

    def scale(self, now: float, ready: int, stable: float, panic: float) -> int:
        """Return the number wanted, for the mean of the stable and that of the panic window."""
        spec = self.spec
        pods = max(1, ready)
        low = math.floor(pods / spec.down_rate) if spec.reachable else 0
        high = math.ceil(spec.up_rate * pods)
        for_stable = self._within(low, high, stable)
        for_panic = self._within(low, high, panic)
        self._panic(now, math.ceil(panic / spec.target) / pods >= spec.panic_threshold)
        wanted = for_stable
        if self.panicking_since is not None:
            self.most = wanted = max(for_stable, for_panic, self.most)
        if spec.reachable and self._highest is not None:
            wanted = self._highest.record(now, wanted)
        return wanted

    def _within(self, low: int, high: int, concurrency: float) -> int:
        asked = math.ceil(concurrency / self.spec.target)
        wanted = min(max(asked, low), high)
        if asked > 0 and self.spec.activation > 1:
            return max(wanted, self.spec.activation)
        return wanted

    def _panic(self, now: float, over: bool) -> None:  # noqa: FBT001 - the one thing it takes
        if over:
            self.panicking_since = now
        elif (
            self.panicking_since is not None
            and self.panicking_since + self.spec.stable_window < now
        ):
            self.panicking_since = None
            self.most = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """Whether requests are answered by pods, and since when; `proxied`: held by the activator."""

    active: bool
    since: float
    proxied: float | None = None  # seconds; as long as inactive, if nobody says


def toward_zero(now: float, wanted: int, activity: Activity, spec: Spec) -> tuple[int, bool]:
    """Return the number to go to, and whether to go there now; 0 may have to wait."""
    if wanted > 0:
        return wanted, True
    spent = now - activity.since
    if activity.active:
        # Inactive from now on, if it has been active for long enough; or to one at most.
        return (0, False) if spent >= spec.stable_window else (1, True)
    if spent >= max(spec.grace, spec.retention):
        return 0, True
    proxied = spent if activity.proxied is None else activity.proxied
    return 0, spent >= spec.retention and proxied >= spec.grace


def bounded(wanted: int, bounds: Bounds) -> int:
    """Keep within the bounds."""
    return max(bounds.low, min(wanted, bounds.high))


class Kpa:
    """KPA at work: a scrape each second, a decision every other."""

    period = 1.0

    def __init__(self, spec: Spec, bounds: Bounds) -> None:
        self._spec = spec
        self._bounds = bounds
        self._stable = Means(spec.stable_window)
        self._panic = Means(spec.panic_window)
        self._decider: Decider | None = None
        self._activity = Activity(active=True, since=0.0)
        self._calls = 0
        self._last: tuple[float, float] | None = None

    def tick(self, truth: Truth) -> int | None:
        """Scrape; decide every other time, or at once when a request finds nothing."""
        ready = truth.ready
        if self._decider is None:
            self._decider = Decider(self._spec, ready, truth.now)
        self._scrape(truth, ready)
        self._calls += 1
        poked = truth.wanted == 0 and truth.in_system > 0
        if (self._calls % 2 and not poked) or self._stable.empty(truth.now):
            return None
        stable, panic = self._stable.mean(truth.now), self._panic.mean(truth.now)
        wanted = self._decider.scale(truth.now, ready, stable, panic)
        number, now = toward_zero(
            truth.now, bounded(wanted, self._bounds), self._activity, self._spec
        )
        if (number > 0) != self._activity.active:
            self._activity = Activity(active=number > 0, since=truth.now)
        return number if now and number != truth.wanted else None

    def _scrape(self, truth: Truth, ready: int) -> None:
        before, self._last = self._last, (truth.now, truth.in_system_seconds)
        if truth.wanted == 0 and truth.in_system > 0:
            value = float(truth.in_system)  # the activator tells at once
        elif before is None or (ready == 0 and truth.in_system == 0):
            return  # there is nobody to ask
        else:
            value = (truth.in_system_seconds - before[1]) / (truth.now - before[0])
        self._stable.record(truth.now, value)
        self._panic.record(truth.now, value)

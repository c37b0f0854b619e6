"""KEDA: between zero and one by itself, above by an HPA that it makes.

After kedacore/keda, pkg/scaling/executor/scale_scaledobjects.go and pkg/fallback/fallback.go. The
poll (every 30 s) and the HPA (every 15 s) each ask Prometheus anew, whose last scrape is then 7.5 s
old, as it is on the mean.
"""

from dataclasses import dataclass
from typing import Literal

from autoscaler.backtest.peers.hpa import THOUSANDTHS, Controller
from autoscaler.backtest.scaler import Truth
from autoscaler.hpa.counts import Tolerance, by_total
from autoscaler.hpa.rules import Behavior, Bounds


@dataclass(frozen=True, slots=True)
class Fallback:
    """With how many replicas to do while a metric fails, after so many failures in a row."""

    threshold: int
    replicas: int
    behavior: Literal[
        "static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"
    ] = "static"


@dataclass(frozen=True, slots=True)
class ScaledObject:
    """What is configured; None is what was left out."""

    low: int | None = None
    high: int | None = None
    idle: int | None = None
    cooldown: float = 300.0
    initial_cooldown: float = 0.0
    created: float = 0.0
    fallback: Fallback | None = None
    paused_in: bool = False
    paused_out: bool = False
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Trigger:
    """What the triggers say: whether one is active, whether one failed."""

    active: bool
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll comes to: a number to set at once, and whether it counts as activity."""

    replicas: int | None = None
    active: bool = False


def hpa_bounds(spec: ScaledObject) -> Bounds:
    """Return the bounds of the HPA that is made."""
    return Bounds(spec.low or 1, 100 if spec.high is None else spec.high)


def poll(
    spec: ScaledObject, current: int, now: float, last_active: float | None, trigger: Trigger
) -> Polled:
    """Decide what is not the HPA's: to zero (or idle), and from it."""
    low = spec.low or 0
    if trigger.active or spec.forced:
        if current == 0 or (spec.idle is not None and current < low):
            return Polled() if spec.paused_out else Polled(low or 1, active=True)
        return Polled(active=not trigger.failed)
    if trigger.failed and (spec.fallback is None or spec.fallback.replicas != 0):
        return Polled()
    if (spec.idle is not None and current > spec.idle) or (current > 0 and low == 0):
        return Polled(_down(spec, now, last_active))
    if spec.idle is None and current < low:
        return Polled(low)
    return Polled()


def fallback_total(
    fallback: Fallback | None, current: int, target: float, failures: int
) -> float | None:
    """Return what is told in a failed metric's place; None where the failure stays one."""
    if fallback is None or fallback.threshold < 0 or failures <= fallback.threshold:
        return None
    pick = {
        "static": fallback.replicas,
        "currentReplicas": current,
        "currentReplicasIfHigher": max(current, fallback.replicas),
        "currentReplicasIfLower": min(current, fallback.replicas),
    }
    return target * pick[fallback.behavior]


def _down(spec: ScaledObject, now: float, last_active: float | None) -> int | None:
    """Return zero (or idle) once the cooldown is over; never active before means none."""
    since, wait = (
        (spec.created, spec.initial_cooldown)
        if last_active is None
        else (last_active, spec.cooldown)
    )
    if spec.paused_in or since + wait >= now:
        return None
    return (spec.low or 0) if spec.idle is None else spec.idle


class Keda:
    """KEDA at work. Every 7.5 s: a scrape or a sync of the HPA by turns; a poll every 30 s."""

    period = 7.5

    def __init__(
        self,
        threshold: float,
        spec: ScaledObject,
        *,
        behavior: Behavior | None = None,
        activation: float = 0.0,
    ) -> None:
        """Take the threshold: requests in the system for each replica."""
        self._threshold = round(threshold * THOUSANDTHS)
        self._activation = activation
        self._spec = spec
        self._hpa = Controller(hpa_bounds(spec), behavior)
        self._calls = 0
        self._requests = 0
        self._last_active: float | None = None

    def tick(self, truth: Truth) -> int | None:
        """Scrape, or sync and every fourth time poll."""
        self._calls += 1
        if self._calls % 2:
            self._requests = truth.waiting + truth.running
            return None
        number = self._sync(truth)
        if self._calls % 4 == 0:
            number = self._poll(truth.now, number)
        return None if number == truth.wanted else number

    def _sync(self, truth: Truth) -> int:
        there = sum(not replica.draining for replica in truth.replicas)
        total = self._requests * THOUSANDTHS
        proposal = by_total(there, total, self._threshold, Tolerance())
        return self._hpa.sync(truth.now, truth.wanted, (proposal,))

    def _poll(self, now: float, current: int) -> int:
        trigger = Trigger(active=self._requests > self._activation)
        polled = poll(self._spec, current, now, self._last_active, trigger)
        if polled.active:
            self._last_active = now
        return current if polled.replicas is None else polled.replicas

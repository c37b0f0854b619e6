"""Our policy in a simulated run: `decide` itself, called as the daemon calls it.

What the daemon would see is made as its adapters would make it. Prometheus scrapes the gateway
every 2 s and cAdvisor every 15 s, and each sample is as old as its scrape; CPU use is `rate` over a
minute; pods are as the API shows them now, and their requests in flight as the gateway tells now.

A `total` metric is the requests in the system, a `pod` metric the CPU use over the limit: what the
shipped queries ask for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from autoscaler.backtest.podwatch import PodWatch, moment
from autoscaler.backtest.scaler import Truth
from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import Observation, Policy, Sample, Samples, ScalingState
from autoscaler.decision.steady import is_steady, moved_on
from autoscaler.decision.words import Direction, MetricType


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How long what happens takes to be seen; whole seconds."""

    interval: int = 5
    """From one cycle to the next."""
    gateway_scrape: int = 2
    pod_scrape: int = 15
    rate_window: int = 60
    """Of the query for CPU use."""


Watcher = Callable[[Observation, Verdict | None], None]
"""Told of every cycle; no verdict where it was passed over."""
_SHIPPED_PATH = Path()


class Ours:
    """A policy for the engine. One instance is good for one run."""

    period = 1.0
    """The finest of the scrapes and cycles."""

    def __init__(
        self,
        policy: Policy,
        path: Path = _SHIPPED_PATH,
        *,
        shortcut: bool = True,
        watcher: Watcher | None = None,
    ) -> None:
        """Take the policy. `shortcut`: pass over cycles in which provably nothing can change."""
        self.cycles = self.decided = 0
        self._policy = policy
        self._path = path
        self._shortcut = shortcut and _stays_fresh(policy, path)
        self._watcher = watcher
        self._state = ScalingState()
        self._verdict: Verdict | None = None
        self._totals = tuple(m.name for m in policy.metrics if m.type is MetricType.TOTAL)
        self._per_pod = tuple(m.name for m in policy.metrics if m.type is MetricType.POD)
        self._watch = PodWatch(path.pod_scrape, path.rate_window)
        self._in_system, self._scraped = 0, 0.0
        self._steady: tuple[object, ...] | None = None
        """What the last cycle saw, if all that see the same decide the same."""
        self._passed: float | None = None
        """When the last cycle was passed over, if one was since the last decision."""

    def tick(self, truth: Truth) -> int | None:
        """Scrape what is due, and decide when a cycle is."""
        second, path = round(truth.now), self._path
        if second % path.gateway_scrape == 0:
            self._in_system, self._scraped = truth.waiting + truth.running, truth.now
        if self._per_pod and second % path.pod_scrape == 0:
            self._watch.scrape(truth)
        return self._cycle(truth) if second % path.interval == 0 else None

    def victims(self, truth: Truth, count: int) -> Sequence[str]:  # noqa: ARG002
        """Return those that the decision named."""
        return self._verdict.decision.victims if self._verdict else ()

    def _cycle(self, truth: Truth) -> int | None:
        self.cycles += 1
        pods, ready = self._watch.pods(truth)
        samples, uses = self._watch.uses(truth.now) if self._per_pod else _NOTHING
        seen = (truth.wanted, pods, self._in_system, uses)
        if seen == self._steady:
            self._passed = truth.now
            if self._watcher is None:
                return None
        observation = Observation(
            now=moment(truth.now),
            current=truth.wanted,
            ready=ready,
            pods=pods,
            metrics=self._metrics(samples),
        )
        verdict = None if seen == self._steady else self._decide(observation, seen)
        if self._watcher is not None:
            self._watcher(observation, verdict)
        if verdict is None or verdict.decision.direction is Direction.HOLD:
            return None
        return verdict.decision.to

    def _decide(self, observation: Observation, seen: tuple[object, ...]) -> Verdict:
        self.decided += 1
        if self._passed is not None:
            self._state, self._passed = moved_on(self._state, moment(self._passed)), None
        before = self._state
        verdict = self._verdict = decide(self._policy, before, observation)
        self._state = verdict.state
        change = verdict.decision.to - verdict.decision.from_
        if change:  # every write succeeds
            self._state = remember(self._policy, self._state, change, observation.now)
        steady = self._shortcut and is_steady(self._policy, before, observation, verdict)
        self._steady = seen if steady else None
        return verdict

    def _metrics(self, uses: Samples) -> Mapping[str, Samples]:
        now = moment(self._scraped)
        total = Samples(samples=(Sample(value=float(self._in_system), at=now),))
        return {**dict.fromkeys(self._totals, total), **dict.fromkeys(self._per_pod, uses)}


_NOTHING: tuple[Samples, tuple[float, ...]] = (Samples(samples=()), ())


def _stays_fresh(policy: Policy, path: Path) -> bool:
    """Tell whether no sample ever gets too old between two scrapes."""
    apart = {MetricType.TOTAL: path.gateway_scrape, MetricType.POD: path.pod_scrape}
    return all(each.max_age >= timedelta(seconds=apart[each.type]) for each in policy.metrics)

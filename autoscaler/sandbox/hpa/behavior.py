"""Stabilization windows and rate policies, in HPA's order, with HPA's defaults.

Up: no window; the larger of +100 % and +4 pods per 15 s. Down: the highest proposal of 300 s;
100 % per 15 s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """At most `value` pods or percent within `period_s`."""

    type: str
    """Pods or Percent."""
    value: int
    period_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """HPA's `spec.behavior`; `selectPolicy: Max` in both directions."""

    up_window_s: float = 0.0
    down_window_s: float = 300.0
    up: tuple[Rule, ...] = (
        Rule(type="Pods", value=4, period_s=15.0),
        Rule(type="Percent", value=100, period_s=15.0),
    )
    down: tuple[Rule, ...] = (Rule(type="Percent", value=100, period_s=15.0),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """`minReplicas` and `maxReplicas`."""

    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """The number after one rule, and the reason of HPA's condition for it."""

    replicas: int
    reason: str


@dataclass(slots=True)
class Memory:
    """What HPA keeps in memory alone, and loses with its process."""

    behavior: Behavior
    proposals: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)

    def begin(self, current: int, now: float) -> None:
        """Let the present number be the first proposal of a target that was never seen."""
        if not self.proposals:
            self.proposals.append((now, current))

    def stabilize(self, current: int, wanted: int, now: float) -> Limited:
        """Force the present number between the windows' extremes, and note the proposal."""
        up_after = now - self.behavior.up_window_s
        down_after = now - self.behavior.down_window_s
        lowest = min([wanted, *(to for at, to in self.proposals if at > up_after)])
        highest = max([wanted, *(to for at, to in self.proposals if at > down_after)])
        oldest = min(up_after, down_after)
        self.proposals = [*((at, to) for at, to in self.proposals if at > oldest), (now, wanted)]
        number = min(max(current, lowest), highest)
        if number == wanted:
            return Limited(replicas=number, reason="ReadyForNewScale")
        reason = "ScaleUpStabilized" if wanted > current else "ScaleDownStabilized"
        return Limited(replicas=number, reason=reason)

    def limit(self, current: int, wanted: int, bounds: Bounds, now: float) -> Limited:
        """Move no further than the bounds and the policies allow."""
        base = [
            (rule, current - _moved(self.ups, rule, now) + _moved(self.downs, rule, now))
            for rule in (self.behavior.up if wanted > current else self.behavior.down)
        ]
        if wanted > current:
            rate = max(current, *(_grown(rule, start) for rule, start in base))
            most = min(bounds.high, rate)
            reason = "TooManyReplicas" if most == bounds.high else "ScaleUpLimit"
            if wanted > most:
                return Limited(replicas=most, reason=reason)
        elif wanted < current:
            # The default policy of shrinking is a single one: `Max` has nothing to choose.
            rate = min(current, *(_shrunk(rule, start) for rule, start in base))
            least = max(bounds.low, rate)
            reason = "TooFewReplicas" if least == bounds.low else "ScaleDownLimit"
            if wanted < least:
                return Limited(replicas=least, reason=reason)
        return Limited(replicas=wanted, reason="DesiredWithinRange")

    def rescaled(self, before: int, after: int, now: float) -> None:
        """Note a write that succeeded."""
        (self.ups if after > before else self.downs).append((now, abs(after - before)))
        periods = [rule.period_s for rule in (*self.behavior.up, *self.behavior.down)]
        oldest = now - max(periods)
        self.ups = [event for event in self.ups if event[0] > oldest]
        self.downs = [event for event in self.downs if event[0] > oldest]


def _moved(events: Sequence[tuple[float, int]], rule: Rule, now: float) -> int:
    return sum(change for at, change in events if at > now - rule.period_s)


def _grown(rule: Rule, start: int) -> int:
    if rule.type == "Pods":
        return start + rule.value
    return ceil(start * (1 + rule.value / 100))


def _shrunk(rule: Rule, start: int) -> int:
    if rule.type == "Pods":
        return start - rule.value
    return int(start * (1 - rule.value / 100))

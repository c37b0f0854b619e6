"""HPA's windows and rate policies, and the reason of its condition for what they do."""

from dataclasses import dataclass, field

from autoscaler.hpa import rules
from autoscaler.hpa.rules import Ask, Behavior, Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """The number after one rule, and the reason of HPA's condition for it."""

    replicas: int
    reason: str


@dataclass(slots=True)
class Memory:
    """What HPA keeps in memory alone, and loses with its process."""

    behavior: Behavior
    kept: rules.Memory = field(default_factory=rules.Memory)

    def begin(self, current: int, now: float) -> None:
        """Let the present number be the first proposal of a target that was never seen."""
        if not self.kept.recommendations:
            self.kept.recommendations.append((now, current))

    def stabilize(self, current: int, wanted: int, now: float) -> Limited:
        """Force the present number between the windows' extremes, and note the proposal."""
        windows = self.behavior.up.window, self.behavior.down.window
        ask = Ask(now, current, wanted)
        number = rules.between_windows(self.kept.recommendations, ask, *windows)
        if number == wanted:
            return Limited(replicas=number, reason="ReadyForNewScale")
        reason = "ScaleUpStabilized" if wanted > current else "ScaleDownStabilized"
        return Limited(replicas=number, reason=reason)

    def limit(self, current: int, wanted: int, bounds: Bounds, now: float) -> Limited:
        """Move no further than the bounds and the policies allow."""
        number = rules.rate_limit(self.kept, Ask(now, current, wanted), bounds, self.behavior)
        if number == wanted:
            reason = "DesiredWithinRange"
        elif wanted > current:
            reason = "TooManyReplicas" if number == bounds.high else "ScaleUpLimit"
        else:
            reason = "TooFewReplicas" if number == bounds.low else "ScaleDownLimit"
        return Limited(replicas=number, reason=reason)

    def rescaled(self, before: int, after: int, now: float) -> None:
        """Note a write that succeeded."""
        rules.record_change(self.kept, Ask(now, before, after), self.behavior)

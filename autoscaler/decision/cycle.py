"""What every stage is given, and the one shape that stages have."""

from collections.abc import Callable
from dataclasses import dataclass

from autoscaler.decision.model import Observation, Policy, ScalingState, Step
from autoscaler.decision.quality import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One cycle of one target: policy, memory, and what was seen, judged."""

    policy: Policy
    state: ScalingState
    observation: Observation
    readings: tuple[Reading, ...]
    """One for each metric of the policy, in its order."""

    @property
    def current(self) -> int:
        """Return the replicas asked for now."""
        return self.observation.current

    @property
    def veto(self) -> Reading | None:
        """Return the metric whose absence blocks shrinking, if any; one inside its limit first."""
        if self.fallen_back:
            return None
        missing = [reading for reading in self.readings if reading.missing]
        inside = [reading for reading in missing if not reading.expired]
        whole = any(reading.whole for reading in self.readings)
        blocking = inside if whole else inside or missing
        return blocking[0] if blocking else None

    @property
    def fallen_back(self) -> bool:
        """Tell whether every metric has been missing for the hold limit."""
        return all(reading.missing and reading.expired for reading in self.readings)


Rule = Callable[[Cycle, int], tuple[Step, ...]]
"""A stage: the number that comes in, and the steps it takes; the last step's `to` goes on."""

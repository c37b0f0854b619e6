"""What every stage is given, and the one shape that stages have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoscaler.decision.clocks import failing_since, idle_since
from autoscaler.decision.model import Observation, Policy, ScalingState, Step
from autoscaler.decision.quality import Reading, read_metrics
from autoscaler.decision.schedule import Bounds, bounds_in_force
from autoscaler.decision.stuck import watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One cycle of one target: policy, memory, and what was seen, judged."""

    policy: Policy
    state: ScalingState
    observation: Observation
    readings: tuple[Reading, ...]
    """One for each metric of the policy, in its order."""
    bounds: Bounds
    """In force now."""
    stuck: tuple[str, ...]
    """Pods that have requests and do nothing; the longest stuck first."""
    stuck_since: Mapping[str, datetime]
    """Pods that look so, and since when."""
    failing: Mapping[str, datetime]
    """Pods that do not come up, and since when."""
    idle_since: datetime | None
    """First cycle of the present stretch with nothing in the system."""

    @property
    def current(self) -> int:
        """Return the replicas asked for now."""
        return self.observation.current

    @property
    def working(self) -> int:
        """Return the replicas asked for now that are not stuck."""
        return max(0, self.current - len(self.stuck))

    @property
    def may_empty(self) -> bool:
        """Tell whether nothing is in the system, and zero replicas may be the answer to that."""
        zero = self.bounds.min_replicas == 0 and self.policy.idle_period > timedelta(0)
        return zero and self.idle_since is not None

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


def judge(policy: Policy, state: ScalingState, observation: Observation) -> Cycle:
    """Judge what was seen, once for all stages."""
    watched = watch(policy, state, observation)
    readings = read_metrics(policy, state, observation, watched.stuck)
    return Cycle(
        policy=policy,
        state=state,
        observation=observation,
        readings=readings,
        bounds=bounds_in_force(policy, observation.now),
        stuck=watched.stuck,
        stuck_since=watched.since,
        failing=failing_since(state, observation),
        idle_since=idle_since(policy, state, observation, readings),
    )

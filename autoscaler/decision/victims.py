"""Which pods should go first when the number shrinks."""

from datetime import UTC, datetime

from autoscaler.decision.model import Observation, Pod
from autoscaler.decision.words import PodPhase

_OLDEST = datetime.min.replace(tzinfo=UTC)
_FINISHED = (PodPhase.SUCCEEDED, PodPhase.FAILED)


def choose_victims(observation: Observation, count: int) -> tuple[str, ...]:
    """Rank by: not running, not ready, fewest requests in flight, youngest; then by name.

    Requests in flight that nobody could tell rank behind any known number. Pods that are
    already going, and finished ones, are no candidates.
    """
    if count <= 0:
        return ()
    candidates = [
        pod for pod in observation.pods or () if not pod.deleting and pod.phase not in _FINISHED
    ]
    return tuple(pod.name for pod in sorted(candidates, key=_rank)[:count])


def _rank(pod: Pod) -> tuple[bool, bool, float, float, str]:
    in_flight = float("inf") if pod.in_flight is None else pod.in_flight
    born = (pod.created or _OLDEST) - _OLDEST
    running = pod.phase is PodPhase.RUNNING
    return (running, pod.ready, in_flight, -born.total_seconds(), pod.name)

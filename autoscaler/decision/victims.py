"""Which pods should go first when the number shrinks."""

from collections.abc import Sequence
from datetime import UTC, datetime

from autoscaler.decision.cycle import Cycle
from autoscaler.decision.model import Observation, Pod, Step
from autoscaler.decision.words import FINISHED, PodPhase, Reason, Stage

_OLDEST = datetime.min.replace(tzinfo=UTC)


def choose_victims(observation: Observation, to: int, stuck: Sequence[str] = ()) -> tuple[Pod, ...]:
    """Choose who goes, so that `to` pods stay.

    Rank by: not running, not ready, stuck, fewest requests in flight, youngest; then by name.
    Requests in flight that nobody could tell rank behind any known number. Pods that are already
    going, and finished ones, are no candidates. Counted are the pods, not the replicas: of an
    earlier change some may still be there, or not be there yet.
    """
    ranked = sorted(_candidates(observation), key=lambda pod: _rank(pod, stuck))
    return tuple(ranked[: max(0, len(ranked) - to)])


def tell_victims(cycle: Cycle, number: int, reason: Reason, victims: Sequence[Pod]) -> Step:
    """Say who goes, and whether that was chosen by requests in flight or blindly.

    It is blind where a pod that serves is to go, and nobody knows who of them serves the least.
    """
    names = ", ".join(_tell(pod, pod.name in cycle.stuck) for pod in victims)
    unknown = any(pod.in_flight is None for pod in _candidates(cycle.observation) if _serves(pod))
    blind = unknown and any(_serves(pod) and pod.name not in cycle.stuck for pod in victims)
    detail = f"chosen blindly: {names}" if blind else names
    if not victims and _candidates(cycle.observation):
        detail = "no pod has to go"
    elif not victims:
        blind, detail = True, "chosen blindly: the pods are not known"
    return Step(
        stage=Stage.VICTIMS,
        from_=number,
        to=number,
        reason=Reason.VICTIMS_UNKNOWN if blind else reason,
        detail=detail,
    )


def _candidates(observation: Observation) -> list[Pod]:
    return [pod for pod in observation.pods or () if not pod.deleting and pod.phase not in FINISHED]


def _serves(pod: Pod) -> bool:
    return pod.ready and pod.phase is PodPhase.RUNNING


def _rank(pod: Pod, stuck: Sequence[str]) -> tuple[bool, bool, bool, float, float, str]:
    in_flight = float("inf") if pod.in_flight is None else pod.in_flight
    born = (pod.created or _OLDEST) - _OLDEST
    running, spared = pod.phase is PodPhase.RUNNING, pod.name not in stuck
    return (running, pod.ready, spared, in_flight, -born.total_seconds(), pod.name)


def _tell(pod: Pod, is_stuck: bool) -> str:  # noqa: FBT001
    if not _serves(pod):
        return f"{pod.name} ({'not ready' if pod.phase is PodPhase.RUNNING else pod.phase})"
    known = "" if pod.in_flight is None else f" ({pod.in_flight} in flight)"
    return f"{pod.name}{' stuck' if is_stuck else ''}{known}"

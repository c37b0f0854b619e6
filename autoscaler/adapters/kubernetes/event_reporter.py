"""Which cycles are worth an event at their Deployment: changes, and states that begin."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from autoscaler.adapters.cycle_view import CycleView
from autoscaler.adapters.kubernetes.events import Events, ObjectRef
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.words import Mode, Reason

WRITE_FAILED = "WriteFailed"
"""The one reason of an event that is no `Reason`: what was decided could not be written."""

_QUIET = timedelta(minutes=10)
"""For so long a state that comes and goes is not told again."""
_HOLDS = {
    Reason.CONFLICT: True,
    Reason.GIVEN_BACK: True,
    Reason.HOLD_EXPIRED: True,
    Reason.METRIC_EMPTY: True,
    Reason.METRIC_FAILED: True,
    Reason.METRIC_NOT_A_NUMBER: True,
    Reason.METRIC_PARTIAL: True,
    Reason.METRIC_STALE: True,
    Reason.REPLICA_STUCK: True,
    Reason.TOO_MANY_SERIES: True,
    Reason.VICTIMS_UNKNOWN: True,
    Reason.AT_MAXIMUM: False,
    Reason.PAUSED: False,
    Reason.PODS_PENDING: False,
    Reason.SCALING_DISABLED: False,
}
"""What is told of a number that holds, and whether that is a warning."""
_BESIDE = (Reason.HOLD_EXPIRED, Reason.REPLICA_STUCK, Reason.VICTIMS_UNKNOWN)
"""What is told where a step says it, whatever the number does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """What would be told of a cycle."""

    reason: str
    note: str
    warning: bool
    always: bool = False
    """Each time, and not only where the cycle before had nothing of it."""


class EventReporter:
    """A Viewer that makes events. In shadow mode, which writes nothing, there are none."""

    def __init__(self, events: Events, objects: Mapping[str, Callable[[], ObjectRef]]) -> None:
        """Tell `events` of the targets' cycles; `objects` names each target's Deployment."""
        self._events = events
        self._objects = objects
        self._before: dict[str, frozenset[str]] = {}
        self._told: dict[tuple[str, str], datetime] = {}

    def show(self, view: CycleView) -> None:
        """Tell of the cycle where it is worth it."""
        about = self._objects.get(view.target)
        record = view.record
        if about is None or record is None or record.mode is Mode.SHADOW:
            return
        tellings = tuple(_tellings(view, record))
        before = self._before.get(view.target, frozenset())
        self._before[view.target] = frozenset(telling.reason for telling in tellings)
        for telling in tellings:
            key = (view.target, telling.reason)
            is_new = telling.reason not in before and not self._is_quiet(key, view.at)
            if telling.always or is_new:
                self._told[key] = view.at
                self._events.tell(about(), telling.reason, telling.note, warning=telling.warning)

    def _is_quiet(self, key: tuple[str, str], now: datetime) -> bool:
        told = self._told.get(key)
        return told is not None and timedelta(0) <= now - told < _QUIET


def _tellings(view: CycleView, record: Record) -> Iterator[_Telling]:
    reason = record.decision.reason
    main = _main(Outcome(view.outcome), reason)
    if main is not None:
        told, warning, always = main
        yield _Telling(reason=told, note=view.sentence, warning=warning, always=always)
    details = {step.reason: step.detail for step in record.steps if step.reason in _BESIDE}
    for beside, detail in details.items():
        if beside is not reason or main is None:
            yield _Telling(reason=beside, note=f"{view.target}: {detail}", warning=True)


def _main(outcome: Outcome, reason: Reason) -> tuple[str, bool, bool] | None:
    """Return the reason of the event that a cycle is worth, if it is a warning, if always."""
    match outcome:
        case Outcome.SCALED:
            return reason, False, True
        case Outcome.REPLACED:
            return reason, True, True
        case Outcome.CONFLICTED:
            return Reason.CONFLICT, True, False
        case Outcome.FAILED:
            return WRITE_FAILED, True, False
        case Outcome.HELD if reason in _HOLDS:
            return reason, _HOLDS[reason], False
        case _:
            return None

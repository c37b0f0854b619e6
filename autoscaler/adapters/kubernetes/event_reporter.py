"""Which cycles are worth telling of at their Deployment: changes, and states that begin.

They become events, and the newest of them an annotation, which also says when such a state is over.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

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


class Told(Protocol):
    """Keeps the last decision where people look for it."""

    def tell(self, about: ObjectRef, sentence: str) -> None:
        """Let this take the place of what was told before. Must not block, must not raise."""


class EventReporter:
    """A Viewer that makes events. In shadow mode, which writes nothing, there are none."""

    def __init__(
        self,
        events: Events,
        objects: Mapping[str, Callable[[], ObjectRef]],
        last: Told | None = None,
    ) -> None:
        """Tell `events`, and `last`, of the targets' cycles; `objects` names their Deployments."""
        self._events = events
        self._objects = objects
        self._last = last
        self._lasting: dict[str, frozenset[str]] = {}
        """What has been told of each target and goes on."""
        self._told: dict[tuple[str, str], datetime] = {}
        self._in_state: set[str] = set()
        """Targets of which `last` tells a state, and not a change."""

    def show(self, view: CycleView) -> None:
        """Tell of the cycle where it is worth it."""
        about = self._objects.get(view.target)
        record = view.record
        if about is None or record is None or record.mode is Mode.SHADOW:
            return
        tellings = tuple(_tellings(view, record))
        before = self._lasting.get(view.target, frozenset())
        news = [each for each in tellings if each.always or self._is_new(view, each, before)]
        for telling in news:
            self._told[view.target, telling.reason] = view.at
            self._events.tell(about(), telling.reason, telling.note, warning=telling.warning)
        lasting = before.union(telling.reason for telling in news)
        self._lasting[view.target] = lasting.intersection(each.reason for each in tellings)
        is_over = view.target in self._in_state and not self._lasting[view.target]
        if self._last is not None and (news or is_over):
            self._last.tell(about(), _dated(view))
            is_state = bool(news) and not any(telling.always for telling in news)
            (self._in_state.add if is_state else self._in_state.discard)(view.target)

    def _is_new(self, view: CycleView, telling: _Telling, before: frozenset[str]) -> bool:
        """Tell whether a state has begun; one that comes and goes, once in a while."""
        told = self._told.get((view.target, telling.reason))
        is_quiet = told is not None and timedelta(0) <= view.at - told < _QUIET
        return telling.reason not in before and not is_quiet


def _dated(view: CycleView) -> str:
    """Return the cycle's sentence, with its time in the place of the target's name."""
    at = view.at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{at} {view.sentence.removeprefix(f'{view.target}: ')}"


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

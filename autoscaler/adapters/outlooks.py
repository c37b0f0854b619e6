"""What comes next for each target, for `/status`: worked out when somebody asks, not in a cycle.

One target takes some milliseconds, so an answer has those of a few targets, each worked out once
per cycle. Who wants another one names it.
"""

from collections.abc import Iterable
from datetime import timedelta
from threading import Lock
from typing import Any

from autoscaler.adapters.cycle_view import CycleView
from autoscaler.decision.foretold import foretell
from autoscaler.decision.outlook import foresee
from autoscaler.decision.record import to_json
from autoscaler.decision.words import Mode
from autoscaler.ports import Clock

MOST = 32
"""Targets of one answer that it is told of."""
_MOST_SECONDS = 0.5
"""After so long no other one is begun: the cycles need the processor, too."""


class Outlooks:
    """Keeps what was worked out for as long as the cycle that it comes after is the last one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._known: dict[str, tuple[CycleView, dict[str, Any]]] = {}

    def tell(self, views: Iterable[CycleView], step: timedelta) -> dict[str, dict[str, Any]]:
        """Return the outlooks of the first few targets that have one; `step` is the interval."""
        if not self._lock.acquire(timeout=2 * _MOST_SECONDS):
            return {}
        try:
            return self._tell(views, step)
        finally:
            self._lock.release()

    def _tell(self, views: Iterable[CycleView], step: timedelta) -> dict[str, dict[str, Any]]:
        end = self._clock.monotonic() + _MOST_SECONDS
        chosen = [view for view in views if view.record is not None][:MOST]
        told = {}
        for view in chosen:
            known = self._known.get(view.target)
            if known is None or known[0] is not view:
                if self._clock.monotonic() > end:
                    continue
                known = view, _worked_out(view, step)
            told[view.target] = known
        self._known = told
        return {target: outlook for target, (_, outlook) in told.items()}


def _worked_out(view: CycleView, step: timedelta) -> dict[str, Any]:
    if view.record is None:
        return {}
    outlook = foresee(view.record, step)
    is_shadow = view.record.mode is Mode.SHADOW
    sentence = f"{'a shadow, which writes nothing: ' if is_shadow else ''}{foretell(outlook)}"
    return {"sentence": sentence, **to_json(outlook)}

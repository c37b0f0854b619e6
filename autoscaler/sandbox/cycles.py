"""The daemon's cycles that came to a decision, as they come in its records file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autoscaler.adapters.cycle_view import CycleView, view_of_record
from autoscaler.decision.fold import Unfolder
from autoscaler.decision.record import Record
from autoscaler.decision.words import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One cycle of the daemon."""

    at: datetime
    view: CycleView
    record: Record

    @property
    def from_(self) -> int:
        """Replicas before."""
        return self.record.decision.from_

    @property
    def to(self) -> int:
        """Replicas that it decided on."""
        return self.record.decision.to

    @property
    def missing(self) -> tuple[str, ...]:
        """Return why data was missing, `MetricFailed` for example; empty where all was whole."""
        return tuple(
            dict.fromkeys(
                str(step.reason) for step in self.record.steps if step.stage is Stage.QUALITY
            )
        )

    def value(self, metric: str) -> float | None:
        """Return a metric's value as the cycle judged it; None where it was missing."""
        return next((one.value for one in self.view.metrics if one.name == metric), None)


class CycleLog:
    """Reads the records file while the daemon writes it."""

    def __init__(self, path: Path) -> None:
        """Read from the beginning of `path`, which need not exist yet."""
        self._path = path
        self._offset = 0
        self._unfolder = Unfolder()
        self.cycles: list[Cycle] = []

    def read(self) -> Sequence[Cycle]:
        """Return the cycles that are new since the last call."""
        if not self._path.exists():
            return ()
        with self._path.open("rb") as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        told = [self._unfolder.unfold(json.loads(line)) for line in whole.splitlines() if line]
        new = [_cycle(each) for each in told if isinstance(each, Record)]
        self.cycles += new
        return new


def _cycle(record: Record) -> Cycle:
    return Cycle(at=record.observation.now, view=view_of_record(record), record=record)

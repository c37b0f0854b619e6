"""The latest cycles of each target in memory: `/records`."""

from collections import deque
from dataclasses import dataclass, field, replace
from threading import Lock

from autoscaler.adapters.health import Page
from autoscaler.adapters.records import as_text, cycle_of
from autoscaler.decision.fold import Folder, Gap
from autoscaler.decision.record import Json, Record
from autoscaler.ports import CycleReport

BOUND = 2 << 20
_SIZE = 4096
"""About what a cycle takes as long as it is no text yet."""
_MOST_WAITING = 16


@dataclass(slots=True)
class _Ring:
    """The latest cycles of one target: older ones as text that can be read alone, then the rest."""

    texts: deque[bytes] = field(default_factory=deque)
    size: int = 0
    """Of the texts."""
    waiting: deque[Record | Gap] = field(default_factory=deque)

    def add(self, cycle: Record | Gap, bound: int) -> None:
        """Take a cycle, and drop the oldest beyond the bound."""
        self.waiting.append(_joined(self.waiting, cycle))
        most = max(1, min(_MOST_WAITING, bound // _SIZE))
        if len(self.waiting) > most:
            if most == _MOST_WAITING:
                self._write()
            else:  # too many targets: there is room for the last few alone
                self.waiting.popleft()
        while self.texts and self.size > bound:
            self.size -= len(self.texts.popleft())

    def _write(self) -> None:
        text = _written(self.waiting)
        self.waiting.clear()
        self.texts.append(text)
        self.size += len(text)


class LatestRecords:
    """Keeps as many of the latest cycles as fit in a bound, the same share for each target.

    Where the share is small, among many targets, nothing is made text of before somebody asks.
    """

    def __init__(self, bound: int = BOUND) -> None:
        self._bound = bound
        self._lock = Lock()
        self._rings: dict[str, _Ring] = {}

    def expect(self, target: str) -> None:
        """Make room for a target."""
        with self._lock:
            self._rings.setdefault(target, _Ring())

    def forget(self, target: str) -> None:
        """Keep nothing of this target any more."""
        with self._lock:
            self._rings.pop(target, None)

    def report(self, report: CycleReport) -> None:
        """Keep the cycle; the last one of a target that is forgotten is no news."""
        cycle = cycle_of(report)
        with self._lock:
            ring = self._rings.get(report.target)
            if ring is not None:
                ring.add(cycle, self._bound // len(self._rings))

    def page(self) -> Page:
        """Answer `/records`: JSON Lines, each target's after the other's, a whole record first."""
        with self._lock:
            kept = [
                (tuple(ring.texts), tuple(ring.waiting)) for _, ring in sorted(self._rings.items())
            ]
        body = b"".join(b"".join((*texts, _written(waiting))) for texts, waiting in kept)
        return Page(content_type="application/jsonl", body=body)


def _joined(waiting: deque[Record | Gap], cycle: Record | Gap) -> Record | Gap:
    """Let two gaps of one kind stand for a whole stretch: its first, and all the others."""
    if not isinstance(cycle, Gap) or len(waiting) < 2:
        return cycle
    first, last = waiting[-2], waiting[-1]
    if not isinstance(first, Gap) or not isinstance(last, Gap):
        return cycle
    if not first.kind == last.kind == cycle.kind:
        return cycle
    waiting.pop()
    return replace(cycle, cycles=last.cycles + cycle.cycles)


def _written(cycles: tuple[Record | Gap, ...] | deque[Record | Gap]) -> bytes:
    folder = Folder()
    lines: list[Json] = []
    for cycle in cycles:
        lines += folder.lines(cycle)
    return as_text([*lines, *folder.rest()])

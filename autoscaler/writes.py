"""Whose write was that? What we wrote ourselves, also where nobody told us that it succeeded."""

from dataclasses import dataclass
from datetime import datetime

from autoscaler.decision.model import ForeignWrite, ScaleEvent
from autoscaler.ports import LastWriter, TargetState


@dataclass(frozen=True, slots=True, kw_only=True)
class LostWrite:
    """A write that may or may not have happened."""

    from_: int
    to: int
    at: datetime


class OwnWrites:
    """What the replicas are if nobody but us has written them."""

    def __init__(self, expected: int | None = None) -> None:
        """Begin without knowledge, or with the number that was remembered over a restart."""
        self._expected = expected
        self._remembered = expected is not None
        self._lost: LostWrite | None = None
        self._writer: LastWriter | None = None

    @property
    def expected(self) -> int | None:
        """Return the number to remember over a restart."""
        return self._expected

    def wrote(self, to: int) -> None:
        """Take note of a write that succeeded."""
        self._expected, self._lost = to, None

    def lost(self, from_: int, to: int, at: datetime) -> None:
        """Take note of a write whose answer was lost."""
        self._lost = LostWrite(from_=from_, to=to, at=at)

    def arrived(self, seen: TargetState) -> ScaleEvent | None:
        """Return the write of ours that the replicas now show to have happened after all, once.

        Its answer was lost, or the daemon died before it could remember it: then the number is not
        the one that is remembered, and the API names us as the last writer.
        """
        lost, writer = self._lost, seen.writer
        if lost is not None and seen.current == lost.to and (writer is None or writer.is_us):
            self.wrote(lost.to)
            return ScaleEvent(at=lost.at, change=lost.to - lost.from_)
        expected = self._expected
        if not self._remembered or expected is None or seen.current == expected:
            return None
        if writer is None or not writer.is_us:
            return None
        self.wrote(seen.current)
        return ScaleEvent(at=writer.at, change=seen.current - expected)

    def foreign(self, seen: TargetState) -> ForeignWrite | None:
        """Return the foreign write that the replicas show, once; they are expected from then on.

        Switching off and on again by zero replicas is not one: it is a switch of its own. A number
        that is the same as ours is one where somebody else has written it since we did.
        """
        expected, self._expected = self._expected, seen.current
        before, self._writer = self._writer, seen.writer
        self._remembered = False
        was_ours = before is not None and before.is_us
        taken_over = was_ours and seen.writer is not None and not seen.writer.is_us
        if expected is None or 0 in (seen.current, expected):
            return None
        if seen.current == expected and not taken_over:
            return None
        return _foreign(seen)


def _foreign(seen: TargetState) -> ForeignWrite:
    writer = seen.writer
    if writer is None:
        return ForeignWrite(manager="unknown", replicas=seen.current)
    manager = f"another {writer.manager}" if writer.is_us else writer.manager
    return ForeignWrite(manager=manager, at=writer.at, replicas=seen.current)

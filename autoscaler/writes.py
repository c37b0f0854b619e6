"""Whose write was that? What we wrote ourselves, also where nobody told us that it succeeded."""

from dataclasses import dataclass
from datetime import datetime

from autoscaler.decision.model import ForeignWrite, ScaleEvent
from autoscaler.ports import TargetState


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
        self._ours = False
        """Whether we are the last writer that we know of."""

    @property
    def expected(self) -> int | None:
        """Return the number to remember over a restart."""
        return self._expected

    def wrote(self, to: int) -> None:
        """Take note of a write that succeeded."""
        self._expected, self._ours = to, True
        self._lost, self._remembered = None, False

    def lost(self, from_: int, to: int, at: datetime) -> None:
        """Take note of a write whose answer was lost."""
        self._lost = LostWrite(from_=from_, to=to, at=at)

    def arrived(self, seen: TargetState, now: datetime) -> ScaleEvent | None:
        """Return the write of ours that the replicas now show to have happened after all, once.

        Its answer was lost, or the daemon died before it could remember it: then the number is not
        the one that is expected, and the API names us as the last writer. Where it does not tell,
        only the very number whose answer was lost is ours. Where nobody can tell when it happened,
        it counts as just done.
        """
        expected, lost, writer = self._expected, self._lost, seen.writer
        if expected is None or seen.current == expected:
            return None
        if lost is not None and (writer.is_us if writer else seen.current == lost.to):
            at = lost.at
        elif self._remembered and writer is not None and writer.is_us:
            at = writer.at or now
        else:
            return None
        self.wrote(seen.current)
        return ScaleEvent(at=at, change=seen.current - expected)

    def foreign(self, seen: TargetState, *, zero_is_off: bool) -> ForeignWrite | None:
        """Return the foreign write that the replicas show and that is not accepted yet.

        Where zero replicas are a switch of their own, to turn it off and on again is not one. A
        number that is the same as ours is one where somebody else has written it since we did.
        """
        expected, writer = self._expected, seen.writer
        if expected is None or (zero_is_off and 0 in (seen.current, expected)):
            return None
        taken_over = self._ours and writer is not None and not writer.is_us
        if seen.current == expected and not taken_over:
            return None
        if writer is None:
            return ForeignWrite(manager="unknown", replicas=seen.current)
        manager = f"another {writer.manager}" if writer.is_us else writer.manager
        return ForeignWrite(manager=manager, at=writer.at, replicas=seen.current)

    def accept(self, seen: TargetState) -> None:
        """Go on from what the replicas are now, whoever has written them."""
        if seen.current != self._expected:
            self._lost = None
        self._expected, self._remembered = seen.current, False
        self._ours = seen.writer is not None and seen.writer.is_us

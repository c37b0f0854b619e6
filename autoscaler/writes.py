"""Whose write was that? What we wrote ourselves, also where the answer was lost."""

from dataclasses import dataclass
from datetime import datetime

from autoscaler.decision.model import Decision, ForeignWrite


@dataclass(frozen=True, slots=True, kw_only=True)
class LostWrite:
    """A write that may or may not have happened."""

    decision: Decision
    at: datetime


class OwnWrites:
    """What the replicas are if nobody but us has written them."""

    def __init__(self) -> None:
        self._expected: int | None = None
        self._lost: LostWrite | None = None

    def wrote(self, decision: Decision) -> None:
        """Take note of a write that succeeded."""
        self._expected, self._lost = decision.to, None

    def lost(self, decision: Decision, at: datetime) -> None:
        """Take note of a write whose answer was lost."""
        self._lost = LostWrite(decision=decision, at=at)

    def arrived(self, current: int) -> LostWrite | None:
        """Return the lost write that the replicas now show to have happened after all, once."""
        lost = self._lost
        if lost is None or current != lost.decision.to:
            return None
        self.wrote(lost.decision)
        return lost

    def foreign(self, current: int) -> ForeignWrite | None:
        """Return the foreign write that the replicas show, once; they are expected from then on.

        Switching off and on again by zero replicas is not one: it is a switch of its own.
        """
        expected, self._expected = self._expected, current
        if expected is None or current == expected or 0 in (current, expected):
            return None
        return ForeignWrite(manager="unknown", replicas=current)

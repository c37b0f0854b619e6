"""`--verify`: every record decided again, and compared; and each line with the one before it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo

from autoscaler.decision.chain import Chain
from autoscaler.decision.record import Json, to_json
from autoscaler.decision.verify import Difference, check
from autoscaler.explain.choose import Span
from autoscaler.explain.moments import shown
from autoscaler.explain.oddities import Note, notes, value
from autoscaler.explain.source import Found

_MOST_NOTES = 5
"""Of one kind: somebody who feeds observations of their own may have one in every line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came of one line."""

    found: Found
    wrong: tuple[Difference, ...]
    """In the line itself."""
    broken: tuple[Difference, ...]
    """Between the line and the last one of its target; `decided` is what that one leaves."""
    before: Found | None
    notes: tuple[Note, ...]

    @property
    def holds(self) -> bool:
        """Tell whether nothing contradicts."""
        return not self.wrong and not self.broken


class Prover:
    """Proves lines as they come."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._chains: dict[str, Chain] = {}
        self._last: dict[str, Found] = {}

    def prove(self, found: Found) -> Proof | None:
        """Return what came of a line; None for a cycle without a decision."""
        record = found.record
        if record is None:
            return None
        checked = check(record)
        link = self._chains.setdefault(found.target, Chain()).add(record, checked.after)
        before = self._last.get(found.target)
        self._last[found.target] = found
        return Proof(
            found=found,
            wrong=checked.differences,
            broken=link.differences,
            before=before,
            notes=tuple(notes(before.record if before else None, record, link, self._zone)),
        )


@dataclass(slots=True)
class Tally:
    """Tells what was found, and what came of all."""

    zone: tzinfo | None
    decisions: int = 0
    different: int = 0
    span: Span = field(default_factory=Span)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, proof: Proof) -> Iterator[str]:
        """Count one more, and tell of what was found in it."""
        self.span.add(proof.found)
        self.decisions += 1
        self.different += not proof.holds
        if not proof.notes and proof.holds:
            return
        found = proof.found
        where = f"{found.place}, {shown(found.at, self.zone)}, {found.target}"
        for one in proof.wrong:
            said = f"recorded {value(one.recorded)}, decided {value(one.decided)}"
            yield f"{where}: {one.where}: {said}"
        for one in proof.broken:
            left = f"line {proof.before.line if proof.before else '?'} leaves"
            said = f"recorded {value(one.recorded)}, {left} {value(one.decided)}"
            yield f"{where}: {one.where}: {said}"
        for note in proof.notes:
            self.kinds[note.kind] += 1
            if self.kinds[note.kind] <= _MOST_NOTES:
                yield f"note: {where}: {note.text}"

    def end(self) -> Iterator[str]:
        """Tell what came of all; the last line is the one that counts."""
        for kind, count in self.kinds.items():
            if count > _MOST_NOTES:
                yield f"note: and {count - _MOST_NOTES} more of this kind ({kind})"
        number, targets = self.decisions, len(self.span.targets)
        what = f"{number} decision{'' if number == 1 else 's'} of {targets} target(s)"
        came = "all decide the same"
        if self.different:
            came = f"{self.different} do not hold, {number - self.different} decide the same"
        yield f"{what} from {self.span.shown(self.zone)}: {came}"

    def as_json(self) -> Json:
        """Return it for programs."""
        targets = list(self.span.targets)
        return {"decisions": self.decisions, "different": self.different, "targets": targets}


def as_json(proof: Proof) -> Json:
    """Return what was found in a line, for programs."""
    found = proof.found
    return {
        "differences": [to_json(one) for one in (*proof.wrong, *proof.broken)],
        "notes": [note.text for note in proof.notes],
        "file": found.file,
        "line": found.line,
        "target": found.target,
        "now": to_json(found.at),
    }

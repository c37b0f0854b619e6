"""`--verify`: every record decided again, and compared; and each line with the one before it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo

from autoscaler.decision.chain import Chain, Kind, Link
from autoscaler.decision.model import Policy
from autoscaler.decision.record import Json, Record, to_json
from autoscaler.decision.refusal import shown as shown_value
from autoscaler.decision.verify import NOTHING, Difference, check, compare
from autoscaler.explain.choose import Span
from autoscaler.explain.moments import shown
from autoscaler.explain.source import Found

_NOTES = {
    Kind.RESUMED: "goes on after cycles without a decision, or after a start",
    Kind.ARRIVED: "a write whose answer was lost is taken for done",
    Kind.CLOCK_SET: "the clock was set, by {shift:+g}s; what is remembered has moved along",
    Kind.OLDER: "goes on from the memory of {last}, as after a restart",
    Kind.AFRESH: "begins without memory, as after a first start",
    Kind.ELSEWHERE: "goes on from a cycle at {last} that is not in these records",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came of one line."""

    found: Found
    wrong: tuple[Difference, ...] = ()
    """In the line itself."""
    broken: tuple[Difference, ...] = ()
    """Between the line and the last one of its target; `decided` is what that one leaves."""
    before: Found | None = None
    notes: tuple[str, ...] = ()
    """What is worth knowing and no contradiction."""

    @property
    def holds(self) -> bool:
        """Tell whether nothing contradicts."""
        return not self.wrong and not self.broken


@dataclass(slots=True)
class _Line:
    """What is known of a target's lines so far."""

    chain: Chain = field(default_factory=Chain)
    last: Found | None = None
    policy: Policy | None = None


class Prover:
    """Proves lines as they come."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self._lines: dict[str, _Line] = {}

    def prove(self, found: Found) -> Proof | None:
        """Return what came of a line; None for a cycle without a decision."""
        if found.record is None:
            return None
        line = self._lines.setdefault(found.target, _Line())
        checked = check(found.record)
        link = line.chain.add(found.record, checked.after)
        proof = Proof(
            found=found,
            wrong=checked.differences,
            broken=link.differences,
            before=line.last,
            notes=(*self._note(link, found.record), *_changes(line.policy, found.record.policy)),
        )
        line.last, line.policy = found, found.record.policy
        return proof

    def tell(self, proof: Proof) -> Iterator[str]:
        """Tell of what was found in a line."""
        found = proof.found
        where = f"{found.place}, {shown(found.at, self._zone)}, {found.target}"
        for one in proof.wrong:
            said = f"recorded {_value(one.recorded)}, decided {_value(one.decided)}"
            yield f"{where}: {one.where}: {said}"
        for one in proof.broken:
            left = f"line {proof.before.line if proof.before else '?'}"
            said = f"recorded {_value(one.recorded)}, {left} leaves {_value(one.decided)}"
            yield f"{where}: {one.where}: {said}"
        for note in proof.notes:
            yield f"note: {where}: {note}"

    def _note(self, link: Link, record: Record) -> Iterator[str]:
        if link.kind in _NOTES:
            last = record.state.last_cycle
            told = shown(last, self._zone) if last else "nowhere"
            yield _NOTES[link.kind].format(shift=link.shift.total_seconds(), last=told)


@dataclass(slots=True)
class Tally:
    """What came of all."""

    decisions: int = 0
    different: int = 0
    span: Span = field(default_factory=Span)

    def add(self, proof: Proof) -> None:
        """Count one more."""
        self.span.add(proof.found)
        self.decisions += 1
        self.different += not proof.holds

    def told(self, zone: tzinfo | None) -> str:
        """Tell it on one line."""
        number, targets = self.decisions, len(self.span.targets)
        what = f"{number} decision{'' if number == 1 else 's'} of {targets} target(s)"
        came = "all decide the same"
        if self.different:
            came = f"{self.different} do not hold, {number - self.different} decide the same"
        return f"{what} from {self.span.shown(zone)}: {came}"

    def as_json(self) -> Json:
        """Return it for programs."""
        targets = list(self.span.targets)
        return {"decisions": self.decisions, "different": self.different, "targets": targets}


def as_json(proof: Proof) -> Json:
    """Return what was found in a line, for programs."""
    found = proof.found
    return {
        "differences": [to_json(one) for one in (*proof.wrong, *proof.broken)],
        "notes": list(proof.notes),
        "file": found.file,
        "line": found.line,
        "target": found.target,
        "now": to_json(found.at),
    }


def _changes(old: Policy | None, new: Policy) -> Iterator[str]:
    """Tell how the policy was changed between two lines."""
    if old is None or old is new or old == new:
        return
    changes = list(compare("policy", to_json(new), to_json(old)))
    told = [f"{c.where} {_value(c.decided)} -> {_value(c.recorded)}" for c in changes]
    yield f"the policy has changed: {'; '.join(told)}"


def _value(value: Json) -> str:
    return NOTHING if value == NOTHING else shown_value(value, 100)

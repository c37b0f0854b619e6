"""`--what-if`: the same cycles by another policy.

What happened stays as it was recorded: the load, the pods, the replicas that were written. What is
remembered does not: windows and clocks are those that the other policy would have had since the
first record that is given, so a longer window is as long as the records go back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.text import Text

from autoscaler.decision.chain import Chain
from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import Decision, Policy, ScalingState
from autoscaler.decision.record import Json, Outcome, Record, to_json
from autoscaler.decision.verify import check
from autoscaler.errors import ConfigError, InputError
from autoscaler.explain.layout import line, paragraph, table
from autoscaler.explain.moments import shown
from autoscaler.explain.reasons import MEANINGS
from autoscaler.explain.screen import Paper, moved, told_step
from autoscaler.explain.source import Found
from autoscaler.settings import vary


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """One cycle, as it was and as it would have been."""

    found: Found
    record: Record
    verdict: Verdict
    since: datetime
    """First record that the other memory knows of."""
    cycles: int
    """How many cycles it has seen before this one."""

    @property
    def other_number(self) -> bool:
        """Tell whether another number comes of it."""
        return self.record.decision.to != self.verdict.decision.to

    @property
    def other_reason(self) -> bool:
        """Tell whether the same number comes of it for another reason."""
        same = self.record.decision.reason == self.verdict.decision.reason
        return not self.other_number and not same


@dataclass(slots=True)
class _Memory:
    """What a target would remember."""

    since: datetime
    chain: Chain = field(default_factory=Chain)
    state: ScalingState = field(default_factory=ScalingState)
    policies: tuple[Policy, Policy] | None = None
    cycles: int = 0


class Supposing:
    """Decides cycles by another policy, as they come."""

    def __init__(self, changes: Sequence[str]) -> None:
        self._changes = changes
        self._memories: dict[str, _Memory] = {}

    def suppose(self, found: Found) -> Supposed | None:
        """Return what would have come of a cycle; None where it came to no decision."""
        record = found.record
        if record is None:
            return None
        memory = self._memories.setdefault(found.target, _Memory(since=found.at))
        policy = self._policy(memory, record)
        link = memory.chain.add(record, check(record).after)
        state = link.carry(memory.state, policy, record)
        verdict = decide(policy, state, record.observation)
        memory.state = _written(policy, verdict.state, record)
        memory.cycles += 1
        return Supposed(
            found=found,
            record=record,
            verdict=verdict,
            since=memory.since,
            cycles=memory.cycles - 1,
        )

    def _policy(self, memory: _Memory, record: Record) -> Policy:
        known = memory.policies
        if known is None or (known[0] is not record.policy and known[0] != record.policy):
            try:
                known = record.policy, vary(record.policy, self._changes)
            except ConfigError as error:
                raise InputError(f"--what-if {error}", next_step=error.next_step) from None
            memory.policies = known
        return known[1]


def _written(policy: Policy, state: ScalingState, record: Record) -> ScalingState:
    """Add the write that there really was."""
    if record.outcome is not Outcome.SCALED:
        return state
    change = record.decision.to - record.decision.from_
    return remember(policy, state, change, record.observation.now)


def tell_supposed(supposed: Supposed, changes: Sequence[str], paper: Paper) -> list[Text]:
    """Tell one cycle both ways, and which steps differ."""
    record, found = supposed.record, supposed.found
    title = f"{record.target} at {shown(found.at, paper.zone)}  ({found.place})"
    told = [
        *paragraph(title, paper.width, style="bold"),
        *paragraph(f"what if {', '.join(changes)}", paper.width, style="bold"),
        line(""),
        *paragraph(f"recorded: {_told(record.decision)}", paper.width, indent=10),
        *paragraph(f"what if:  {_told(supposed.verdict.decision)}", paper.width, indent=10),
        line(""),
    ]
    rows = [("rule", "", "from", "to", "because"), *_steps(record, supposed.verdict)]
    if len(rows) > 1:
        told += table(rows, paper.width, ["dim", *("" for _ in rows[1:])])
    else:
        told.append(line("Every step is the same."))
    memory = f"with the memory of {supposed.cycles} cycles before, since"
    return [*told, *paragraph(f"{memory} {shown(supposed.since, paper.zone)}", paper.width)]


@dataclass(slots=True)
class Counts:
    """How many cycles come to something else."""

    all: int = 0
    numbers: int = 0
    reasons: int = 0

    def add(self, supposed: Supposed) -> None:
        """Count one more."""
        self.all += 1
        self.numbers += supposed.other_number
        self.reasons += supposed.other_reason

    def told(self, changes: Sequence[str]) -> str:
        """Tell it on one line."""
        more = f", {self.reasons} to the same for another reason" if self.reasons else ""
        by = f"by {', '.join(changes)}"
        return f"{self.numbers} of {self.all} cycles come to another number {by}{more}"


def one_line(supposed: Supposed, paper: Paper) -> str:
    """Tell one cycle both ways on one line."""
    at = supposed.found.at.astimezone(paper.zone)
    target, verdict = supposed.record.target, supposed.verdict.decision
    return (
        f"{at:%Y-%m-%d %H:%M:%S}  {target}: {_short(supposed.record.decision)} | {_short(verdict)}"
    )


def as_json(supposed: Supposed) -> Json:
    """Return both, for programs."""
    record, verdict = supposed.record, supposed.verdict
    return {
        "recorded": {"decision": to_json(record.decision), "steps": to_json(record.steps)},
        "what_if": {"decision": to_json(verdict.decision), "steps": to_json(verdict.steps)},
        "file": supposed.found.file,
        "line": supposed.found.line,
        "target": record.target,
        "now": to_json(supposed.found.at),
    }


def _steps(record: Record, verdict: Verdict) -> Iterator[tuple[str, ...]]:
    """Yield the steps of the rules that differ, each with whose it is."""
    stages = dict.fromkeys(step.stage for step in (*record.steps, *verdict.steps))
    for stage in stages:
        sides = {
            "recorded": [step for step in record.steps if step.stage is stage],
            "what if": [step for step in verdict.steps if step.stage is stage],
        }
        if sides["recorded"] == sides["what if"]:
            continue
        for side, steps in sides.items():
            for step in steps:
                yield (stage, side, str(step.from_), str(step.to), told_step(step))
            if not steps:
                yield (stage, side, "", "", "nothing to change")


def _told(decision: Decision) -> str:
    return f"{moved(decision)}, {decision.reason}: {MEANINGS[decision.reason]}"


def _short(decision: Decision) -> str:
    return f"{moved(decision)}, {decision.reason}"

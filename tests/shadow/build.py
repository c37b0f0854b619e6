"""Records of a shadow in short form: a load, and the replicas that somebody else gave it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from autoscaler.decision.decide import decide
from autoscaler.decision.model import Observation, Policy, ScalingState
from autoscaler.decision.record import Outcome, Record, to_json
from autoscaler.decision.words import Direction, Mode
from autoscaler.records import Entry
from autoscaler.shadow.compare import compare
from autoscaler.shadow.report import Report
from autoscaler.shadow.survey import Window, survey
from autoscaler.shadow.theirs import ByRecords
from tests.decision.build import policy, seen

TARGET = "llm/ollama"
QUICK = replace(policy(min_replicas=1, max_replicas=10), mode=Mode.SHADOW)
"""The queue alone, one request per 0.8 replicas, no window, no cooldown, no rate."""
INTERVAL = 10.0


def shadowed(
    cycles: Iterable[Observation], plan: Policy = QUICK, *, target: str = TARGET
) -> list[Record]:
    """Return the records of a daemon in shadow mode that saw these cycles."""
    records, state = [], ScalingState()
    for observation in cycles:
        verdict = decide(plan, state, observation)
        moves = verdict.decision.direction is not Direction.HOLD
        records.append(
            Record(
                target=target,
                policy=plan,
                observation=observation,
                state=state,
                steps=verdict.steps,
                decision=verdict.decision,
                outcome=Outcome.DRY_RUN if moves else Outcome.HELD,
                mode=plan.mode,
            )
        )
        state = verdict.state
    return records


def load(*stretches, **rest) -> list[Observation]:
    """Return cycles ten seconds apart: (how many, requests in the system, replicas, ready)."""
    cycles = []
    for count, requests, replicas, *ready in stretches:
        for _ in range(count):
            now = INTERVAL * len(cycles)
            some = {"ready": ready[0]} if ready else {}
            cycles.append(seen(replicas, now=now, queue=requests, **some, **rest))
    return cycles


def entries(records: Iterable[Record]):
    """Return what reads these records, again and again."""
    lines = [Entry(line=number, record=record) for number, record in enumerate(records, start=1)]

    def read() -> Iterator[Entry]:
        return iter(lines)

    return read


def compared(records, done=None, window: Window | None = None) -> Report:
    """Return the report of these records."""
    read, some = entries(records), window or Window()
    return compare(read, survey(read, None, some), some, done or ByRecords())


def written(path: Path, records: Iterable[Record]) -> Path:
    """Write records as the daemon does."""
    path.write_text("".join(json.dumps(to_json(record)) + "\n" for record in records))
    return path


def spans(report: Report) -> list[tuple[float, float]]:
    """Return from which second to which each stretch goes."""
    begin = report.begin
    return [
        ((each.begin - begin).total_seconds(), (each.end - begin).total_seconds())
        for each in report.stretches
    ]

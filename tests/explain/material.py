"""Records to tell of: those of the scenarios, as a daemon would have kept them."""

import json
from datetime import timedelta
from functools import cache
from pathlib import Path

from autoscaler.decision.fold import Folder, Gap
from autoscaler.decision.record import Record, from_json, observation_from_json, to_json
from autoscaler.replay import replay
from tests.decision.build import START, policy, seconds
from tests.scenarios import reading
from tests.scenarios.playing import play, policy_of
from tests.scenarios.reading import FOLDER, files

PLAYED = [path for path in files() if "\nlines:\n" in path.read_text()]


@cache
def scenario(name: str) -> tuple[Record, ...]:
    """Return the records of a scenario, as they come back from a file."""
    read = reading.read_scenario(FOLDER / f"{name}.yaml")
    policy = policy_of(read)
    return tuple(
        from_json(
            Record,
            to_json(
                Record(
                    target="llm/ollama",
                    policy=policy,
                    observation=observation_from_json(cycle.observation),
                    state=cycle.before,
                    steps=cycle.verdict.steps,
                    decision=cycle.verdict.decision,
                    outcome=cycle.outcome,
                    mode=policy.mode,
                )
            ),
        )
        for cycle in play(read, policy)
    )


@cache
def steady() -> tuple[Record, ...]:
    """Return 61 cycles of 15 s, from 10:00:00 to 10:15:00 UTC, that hold two replicas."""
    lines = []
    for nth in range(61):
        now = (START + nth * timedelta(seconds=15)).isoformat()
        sample = {"labels": {}, "value": 1.6, "at": now}
        metrics = {"queue_depth": {"samples": [sample]}}
        seen = {"now": now, "current": 2, "ready": 2, "metrics": metrics}
        lines.append(json.dumps(seen))
    found = replay(policy(down_stabilization_window=seconds(300)), "llm/ollama", lines)
    return tuple(from_json(Record, json.loads(line)) for line in found)


def keep(path: Path, *cycles: Record | Gap, folded: bool = True) -> Path:
    """Write a records file."""
    folder = Folder(folds=folded)
    lines = [line for cycle in cycles for line in folder.lines(cycle)]
    lines += folder.rest()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path

"""Records to tell of: those of the scenarios, as a daemon would have kept them."""

import json
from functools import cache
from pathlib import Path

from autoscaler.decision.fold import Folder, Gap
from autoscaler.decision.record import Record, from_json, observation_from_json, to_json
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


def keep(path: Path, *cycles: Record | Gap, folded: bool = True) -> Path:
    """Write a records file."""
    folder = Folder(folds=folded)
    lines = [line for cycle in cycles for line in folder.lines(cycle)]
    lines += folder.rest()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path

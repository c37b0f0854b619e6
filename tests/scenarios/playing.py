"""A scenario is played: by the pure function, and by the command that an operator would use."""

import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from autoscaler import cli
from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import Policy, ScalingState
from autoscaler.decision.record import Outcome, Record, from_json, observation_from_json
from autoscaler.decision.words import Direction, Mode, WriteResult
from autoscaler.duration import parse_duration
from autoscaler.settings import TargetSettings, to_policy
from tests.scenarios.reading import Scenario, ScenarioError, Stretch

AGE = timedelta(seconds=2)
"""Of a sample, where the file says nothing."""
_OUTCOMES = {
    WriteResult.OK: Outcome.SCALED,
    WriteResult.FAILED: Outcome.FAILED,
    WriteResult.CONFLICT: Outcome.CONFLICTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One cycle of a scenario."""

    line: int
    """Of the file, from 1."""
    observation: Mapping[str, Any]
    before: ScalingState
    verdict: Verdict
    outcome: Outcome


def write_configuration(scenario: Scenario, folder: Path) -> Path:
    """Write the scenario's policy as an operator would."""
    path = folder / "autoscaler.yaml"
    path.write_text(yaml.safe_dump({"targets": [dict(scenario.target)]}, sort_keys=False))
    return path


def policy_of(scenario: Scenario) -> Policy:
    """Return the policy that the target's settings make."""
    return to_policy(TargetSettings.model_validate(dict(scenario.target)))


def play(scenario: Scenario, policy: Policy) -> list[Played]:
    """Play all cycles by the pure function; replicas follow what was decided."""
    played: list[Played] = []
    state, current = ScalingState(), 0
    for stretch in scenario.stretches:
        if stretch.seen.get("restart"):
            state = ScalingState()
        for nth, now in enumerate(stretch.times):
            current = stretch.seen.get("current", current) if nth == 0 else current
            observation = observe(stretch, now, current, nth)
            before, read = state, observation_from_json(observation)
            verdict = decide(policy, before, read)
            outcome = _outcome(policy, verdict, read.write)
            state = verdict.state
            if outcome is Outcome.SCALED:
                change = verdict.decision.to - verdict.decision.from_
                state, current = remember(policy, state, change, now), verdict.decision.to
            played.append(
                Played(
                    line=stretch.number,
                    observation=observation,
                    before=before,
                    verdict=verdict,
                    outcome=outcome,
                )
            )
    return played


def run_command(scenario: Scenario, configuration: Path, played: list[Played]) -> list[Record]:
    """Give the same observations to `autoscaler decide`; a restart is a process of its own."""
    records: list[Record] = []
    for life in _lives(scenario, played):
        given = "".join(json.dumps(cycle.observation) + "\n" for cycle in life)
        code, out, errors = decide_in_process(configuration, given)
        if code:
            raise ScenarioError(f"exit code {code}: {errors}")
        records += [from_json(Record, json.loads(line)) for line in out.splitlines()]
    return records


def decide_in_process(configuration: Path, given: str = "") -> tuple[int, str, str]:
    """Run the command without a process of its own: exit code, output, errors."""
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.TextIOWrapper(io.BytesIO(given.encode()))
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    try:
        code = cli.run(["decide", "--config", str(configuration)])
        return code, sys.stdout.getvalue(), sys.stderr.getvalue()
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams


def _lives(scenario: Scenario, played: list[Played]) -> Iterator[list[Played]]:
    restarts = {line.number for line in scenario.stretches if line.seen.get("restart")}
    life: list[Played] = []
    for cycle in played:
        if cycle.line in restarts and life and life[-1].line != cycle.line:
            yield life
            life = []
        life.append(cycle)
    yield life


def _outcome(policy: Policy, verdict: Verdict, write: WriteResult) -> Outcome:
    decision = verdict.decision
    if decision.direction is Direction.HOLD and decision.replace is None:
        return Outcome.HELD
    if policy.mode is Mode.SHADOW:
        return Outcome.DRY_RUN
    replaced = decision.direction is Direction.HOLD and write is WriteResult.OK
    return Outcome.REPLACED if replaced else _OUTCOMES[write]


# --- what a cycle sees --------------------------------------------------------------------------


def observe(stretch: Stretch, now: datetime, current: int, nth: int) -> dict[str, Any]:
    """Return the line's `nth` observation, from 0, as JSON."""
    seen = stretch.seen
    pods = seen["pods"]
    serving = [pod["name"] for pod in pods or () if _serves(pod)]
    ready = seen.get("ready", current if pods is None else len(serving))
    names = [f"ollama-{number}" for number in range(ready)] if pods is None else serving
    observation: dict[str, Any] = {
        "now": now.isoformat(),
        "current": current,
        "ready": ready,
        "metrics": {
            name: _metric(_in_turn(said, nth), names, now)
            for name, said in stretch.metrics.items()
            if said is not None
        },
        "write": seen.get("write", "ok"),
    }
    if pods is not None:
        observation["pods"] = pods
    pause = seen.get("paused", "none")
    if pause == "both":
        observation["paused"] = True
    elif pause != "none":
        observation["paused_direction"] = pause
    if "foreign" in seen:
        observation["foreign_write"] = seen["foreign"]
    return observation


def _serves(pod: Mapping[str, Any]) -> bool:
    return pod["phase"] == "Running" and pod["ready"] and not pod.get("deleting")


def _in_turn(said: Any, nth: int) -> Any:
    turns = said.get("in_turn") if isinstance(said, dict) else None
    return said if turns is None else turns[nth % len(turns)]


def _metric(said: Any, names: list[str], now: datetime) -> dict[str, Any]:
    """Spell out a metric's short form."""
    if isinstance(said, dict) and "missing" in said:
        return said
    if isinstance(said, list):  # several series where one belongs, or none at all
        series = {f"gateway-{number}": value for number, value in enumerate(said)}
        return {"samples": [_sample(value, now, gateway=name) for name, value in series.items()]}
    if isinstance(said, dict) and set(said) <= {"each", "age"}:
        said = {name: {"value": said["each"], "age": said.get("age", "2s")} for name in names}
    elif isinstance(said, dict) and set(said) <= {"shared", "age"}:
        share = said["shared"] / len(names) if names else 0.0
        said = {name: {"value": share, "age": said.get("age", "2s")} for name in names}
    elif not isinstance(said, dict) or set(said) <= {"value", "age"}:
        return {"samples": [_sample(said, now)]}
    return {"samples": [_sample(value, now, pod=name) for name, value in said.items()]}


def _sample(said: Any, now: datetime, **labels: str) -> dict[str, Any]:
    age = AGE
    if isinstance(said, dict):
        if set(said) - {"value", "age"}:
            raise ScenarioError(f"a sample has value and age, not {sorted(said)}")
        text = str(said.get("age", "2s"))
        age = -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)
        said = said["value"]
    return {"labels": labels, "value": said, "at": (now - age).isoformat()}

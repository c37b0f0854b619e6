"""What must have come of a scenario, checked against what did; and how to spoil it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from itertools import groupby, pairwise
from typing import Any

from autoscaler.decision.model import Step
from autoscaler.decision.words import Direction, Reason
from tests.scenarios.playing import Played
from tests.scenarios.reading import Scenario, ScenarioError, Stretch, listed


def faults(scenario: Scenario, played: list[Played]) -> list[str]:
    """Return everything that is not as the file says."""
    lines = defaultdict(list)
    for cycle in played:
        lines[cycle.line].append(cycle)
    told = []
    for stretch in scenario.stretches:
        found = _line_faults(stretch, lines[stretch.number])
        told += [f"line {stretch.number}: {fault}" for fault in found]
    return told + [f"overall: {fault}" for fault in _overall_faults(scenario.overall, played)]


def _line_faults(stretch: Stretch, cycles: list[Played]) -> Iterator[str]:
    if not cycles:
        yield "was never played"
    decisions = [cycle.verdict.decision for cycle in cycles]
    found = {
        "to": [decision.to for decision in decisions],
        "reason": [decision.reason.value for decision in decisions],
        "outcome": [cycle.outcome.value for cycle in cycles],
        "victims": [list(decision.victims) for decision in decisions],
        "replace": [decision.replace for decision in decisions],
    }
    for key, wanted in stretch.then.items():
        if key in ("step", "no_step"):
            yield from _step_faults(key, listed(wanted), cycles)
        elif isinstance(wanted, dict):
            if {*found[key]} != {*wanted["mixed"]}:
                yield f"{key} is {sorted({*found[key]})}, must be {wanted['mixed']}"
        elif (got := _distinct(found[key])) != _in_order(key, wanted):
            yield f"{key} is {got}, must be {wanted}: {_trail(cycles[0])}"


def _step_faults(key: str, wanted: list[Mapping[str, Any]], cycles: list[Played]) -> Iterator[str]:
    for want in wanted:
        for cycle in cycles:
            there = any(_fits(step, want) for step in cycle.verdict.steps)
            if there != (key == "step"):
                yield f"{key} {want}: {_trail(cycle)}"
                break


def _fits(step: Step, want: Mapping[str, Any]) -> bool:
    plain = {"stage": step.stage, "reason": step.reason, "from": step.from_, "to": step.to}
    return all(
        all(fragment in step.detail for fragment in listed(value))
        if key == "detail"
        else plain[key] == value
        for key, value in want.items()
    )


def _overall_faults(overall: Mapping[str, Any], played: list[Played]) -> Iterator[str]:
    numbers = [cycle.verdict.decision.to for cycle in played]
    moves = [cycle.verdict.decision.direction for cycle in played]
    moves = [move for move in moves if move is not Direction.HOLD]
    found = {
        "moves": len(moves),
        "turns": sum(one is not other for one, other in pairwise(moves)),
        "lowest": min(numbers, default=0),
        "highest": max(numbers, default=0),
    }
    for key, wanted in overall.items():
        if key == "never":
            if (Direction.UP if wanted == "grows" else Direction.DOWN) in moves:
                yield f"it {wanted}"
        elif found[key] != wanted:
            yield f"{key} is {found[key]}, must be {wanted}"


def _in_order(key: str, wanted: Any) -> list[Any]:
    return [wanted] if key == "victims" else listed(wanted)


def _distinct(values: list[Any]) -> list[Any]:
    """Return the values in their order, repeats dropped."""
    return [value for value, _ in groupby(values)]


def _trail(cycle: Played) -> str:
    decision = cycle.verdict.decision
    steps = "; ".join(
        f"{step.stage} {step.from_}>{step.to} {step.reason} ({step.detail})"
        for step in cycle.verdict.steps
    )
    at = cycle.observation["now"]
    return f"at {at} {decision.from_}>{decision.to} {decision.reason} [{steps}]"


# --- spoiling -----------------------------------------------------------------------------------


def spoiled(
    scenario: Scenario, played: list[Played]
) -> Iterator[tuple[str, Scenario, list[Played]]]:
    """Yield the scenario with each of its expectations made wrong in turn."""
    for nth, stretch in enumerate(scenario.stretches):
        for key, wanted in stretch.then.items():
            then = dict(stretch.then) | {key: _wrong(key, wanted, played, stretch)}
            changed = list(scenario.stretches)
            changed[nth] = replace(stretch, then=then)
            name = f"line {stretch.number} {key}"
            yield name, replace(scenario, stretches=tuple(changed)), played
    for key, wanted in scenario.overall.items():
        if key == "never":  # here what happened is made wrong
            yield f"overall {key}", scenario, [*played, _against(wanted, played[-1])]
        else:
            wrong = {**scenario.overall, key: wanted + 1}
            yield f"overall {key}", replace(scenario, overall=wrong), played


def _wrong(key: str, wanted: Any, played: list[Played], stretch: Stretch) -> Any:
    if key == "step":
        steps = deepcopy(listed(wanted))
        steps[-1]["detail"] = "what no step says"
        return steps
    if key == "no_step":  # one that is there
        steps = [s for p in played if p.line == stretch.number for s in p.verdict.steps]
        if not steps:
            raise ScenarioError(
                f"line {stretch.number}: there is no step that no_step could forbid"
            )
        return {"stage": steps[0].stage, "reason": steps[0].reason}
    if key == "to":
        return wanted + 1 if isinstance(wanted, int) else [*wanted, wanted[-1] + 1]
    if isinstance(wanted, dict):
        return {"mixed": wanted["mixed"][1:]}
    if key == "reason":
        last = listed(wanted)[-1]
        other = next(reason.value for reason in Reason if reason.value != last)
        return [*listed(wanted)[:-1], other]
    return ["nobody"] if key == "victims" else f"not {wanted}"


def _against(direction: str, cycle: Played) -> Played:
    decision = replace(
        cycle.verdict.decision,
        direction=Direction.UP if direction == "grows" else Direction.DOWN,
    )
    return replace(cycle, line=0, verdict=replace(cycle.verdict, decision=decision))

"""Every scenario file, played by the pure function and by the command; and the player itself."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.fold import Folder, Unfolder
from autoscaler.decision.record import Record, from_json, to_json
from tests.scenarios import reading
from tests.scenarios.expecting import faults, spoiled
from tests.scenarios.playing import (
    Played,
    decide_in_process,
    play,
    policy_of,
    run_command,
    write_configuration,
)
from tests.scenarios.reading import FOLDER, Scenario, ScenarioError, files

FILES = files()
PLAYED = [path for path in FILES if "\nlines:\n" in path.read_text()]
REFUSED = [path for path in FILES if path not in PLAYED]
read_scenario = cache(reading.read_scenario)
WISHES = 53
"""Of the list that README.md goes through."""


@dataclass(frozen=True)
class Run:
    """A scenario, and what came of it."""

    scenario: Scenario
    played: list[Played]
    records: list[Record]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return a function that plays a file, both ways, once."""

    @cache
    def run(path: Path) -> Run:
        scenario = read_scenario(path)
        configuration = write_configuration(scenario, tmp_path_factory.mktemp(path.stem))
        played = play(scenario, policy_of(scenario))
        return Run(scenario, played, run_command(scenario, configuration, played))

    return run


def by_name(paths):
    """Return parameters that a reader can choose with -k."""
    return [pytest.param(path, id=path.stem) for path in paths]


# --- the scenarios ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", by_name(PLAYED))
def test_what_the_file_demands_is_what_happens(run, path):
    """Every number, reason and step that it names, in every cycle."""
    result = run(path)
    assert faults(result.scenario, result.played) == []


@pytest.mark.parametrize("path", by_name(PLAYED))
def test_the_command_says_the_same_as_the_pure_function(run, path):
    """Decision, steps, outcome and the state before, line by line."""
    result = run(path)
    by_command = [(r.decision, r.steps, r.outcome, r.state) for r in result.records]
    purely = [(p.verdict.decision, p.verdict.steps, p.outcome, p.before) for p in result.played]
    assert by_command == purely


@pytest.mark.parametrize("path", by_name(PLAYED))
def test_each_record_decides_again_to_the_same(run, path):
    """Whatever is needed is in it."""
    for record in run(path).records:
        verdict = decide(record.policy, record.state, record.observation)
        assert (verdict.decision, verdict.steps) == (record.decision, record.steps)


@pytest.mark.parametrize("path", by_name(PLAYED))
def test_the_records_come_back_from_folded_lines(run, path):
    """Each as it was, and the folded ones are a good deal shorter."""
    records, folder, unfolder = run(path).records, Folder(), Unfolder()
    texts = [json.dumps(line) for record in records for line in folder.lines(record)]
    back = [to_json(unfolder.unfold(json.loads(text))) for text in texts]
    whole = [to_json(record) for record in records]
    assert back == whole
    assert sum(map(len, texts[1:])) <= 0.75 * sum(len(json.dumps(each)) for each in whole[1:])


@pytest.mark.parametrize("path", by_name(PLAYED))
def test_each_spoiled_expectation_is_noticed(run, path):
    """No line of the file is a check that cannot fail."""
    result = run(path)
    unnoticed = [
        name
        for name, scenario, played in spoiled(result.scenario, result.played)
        if not faults(scenario, played)
    ]
    assert unnoticed == []


@pytest.mark.parametrize("path", by_name(REFUSED))
def test_what_cannot_be_meant_is_refused(path, tmp_path):
    """One line that says what is wrong, and exit code 2."""
    scenario = read_scenario(path)
    code, out, errors = decide_in_process(write_configuration(scenario, tmp_path))
    assert (code, out, errors.count("\n")) == (2, "", 1)
    assert scenario.refused
    for fragment in scenario.refused:
        assert fragment in errors


def test_a_process_of_its_own_says_the_same(run, tmp_path):
    """`autoscaler decide` as an operator types it."""
    path = FOLDER / "two_replicas_swing_between_one_and_two.yaml"
    result = run(path)
    configuration = write_configuration(result.scenario, tmp_path)
    command = [sys.executable, "-m", "autoscaler", "decide", "--config", str(configuration)]
    given = "".join(json.dumps(cycle.observation) + "\n" for cycle in result.played)
    ended = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    assert [from_json(Record, json.loads(line)) for line in ended.stdout.splitlines()] == (
        result.records
    )


# --- the list of wishes -------------------------------------------------------------------------


def wish_rows():
    """Return number, wishes and proof of each row of the README's table."""
    text = (FOLDER / "README.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+) \|$", text, re.MULTILINE)
    return [(int(number), wishes, proof) for number, wishes, proof in rows]


def test_every_numbered_wish_has_its_row():
    """None is left out, and none stands twice."""
    assert [number for number, _, _ in wish_rows()] == list(range(1, WISHES + 1))


@pytest.mark.parametrize(
    ("number", "wishes", "proof"), [pytest.param(*row, id=str(row[0])) for row in wish_rows()]
)
def test_each_row_names_what_exists(number, wishes, proof):
    """Scenario files that name a wish of the row as their own; other tests exist."""
    named = re.findall(r"`([^`]+)`", proof)
    assert named
    for name in named:
        if name.endswith(".yaml"):
            told = read_scenario(FOLDER / name).wishes
            assert any(wish in wishes for wish in told), f"{name} does not name a wish of {number}"
        else:
            file, _, test = name.partition("::")
            text = (FOLDER.parent.parent / file).read_text()
            assert not test or f"def {test}(" in text, name


@pytest.mark.parametrize("path", by_name(FILES))
def test_each_wish_of_a_file_stands_in_the_list(path):
    """The list leads to every file that grew out of somebody's wish."""
    listed = [wishes for _, wishes, proof in wish_rows() if f"`{path.name}`" in proof]
    for wish in read_scenario(path).wishes:
        assert any(wish in wishes for wishes in listed), wish


def test_there_are_many():
    """At least fifty failures that somebody saw."""
    assert len(FILES) >= 50


# --- the player ---------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    """Return a function that reads a scenario from its text."""

    def written(text):
        path = tmp_path / "a_story.yaml"
        path.write_text("title: A story.\n" + text)
        return read_scenario(path)

    return written


GOOD = "lines:\n- {at: 0s, current: 2, queue_depth: 2, then: {to: 2, reason: WithinTolerance}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("queue_depth", "queue_dept"), "unknown queue_dept"),
        (GOOD.replace("reason", "raeson"), "unknown raeson"),
        (GOOD.replace("to: 2, ", ""), "must say to and reason"),
        (GOOD.replace(", then: {to: 2, reason: WithinTolerance}", ""), "must say then"),
        (GOOD.replace("current: 2, ", ""), "must say current"),
        (GOOD.replace("at: 0s", "at: 0s, until: 14s"), "until must be a step after"),
        (GOOD.replace("at: 0s", "at: 0s, every: 20s"), "every without until"),
        (GOOD + GOOD.removeprefix("lines:\n"), "later than the line before"),
        (GOOD.replace("at: 0s", "at: 0s, pods: {a: {raedy: true}}"), "unknown raedy"),
        (GOOD.replace("at: 0s", "at: 0s, paused: out"), "paused is one of"),
        (GOOD.replace("to: 2", "to: 2, step: {}"), "says nothing"),
        (GOOD + "overall: {never: moves}\n", "never is one of"),
        (GOOD + "overall: {moves_at_most: 1}\n", "unknown moves_at_most"),
        (GOOD + "wishes: [54304]\n", "must be project#number"),
        (GOOD + "refused: [x]\n", "either lines or refused"),
        (GOOD + "strange: 1\n", "unknown strange"),
    ],
)
def test_a_file_that_does_not_say_what_it_seems_to_is_refused(written, text, told):
    """Misspelt, misplaced, or never to be checked."""
    with pytest.raises(ScenarioError, match=told):
        written(text)


@pytest.mark.parametrize(
    "then",
    [
        "to: 3, reason: WithinTolerance",
        "to: [2, 3], reason: WithinTolerance",
        "to: 2, reason: AboveTarget",
        "to: 2, reason: WithinTolerance, victims: [a]",
        "to: 2, reason: WithinTolerance, replace: a",
        "to: 2, reason: WithinTolerance, outcome: scaled",
        "to: 2, reason: WithinTolerance, step: {stage: rate}",
        "to: 2, reason: WithinTolerance, step: {stage: tolerance, detail: nonsense}",
        "to: 2, reason: WithinTolerance, no_step: {stage: tolerance}",
    ],
)
def test_a_wrong_expectation_fails(written, then):
    """Each kind of expectation, in a file that is fine otherwise."""
    scenario = written(GOOD.replace("to: 2, reason: WithinTolerance", then))
    played = play(scenario, policy_of(scenario))
    (fault,) = faults(scenario, played)
    assert fault.startswith("line 1: ")


def test_replicas_follow_the_decisions(written):
    """The next cycle's current is what was decided, unless the write failed or the line says so."""
    scenario = written(
        "lines:\n"
        "- {at: 0s, current: 2, queue_depth: 4, then: {to: 4, reason: AboveTarget}}\n"
        "- {at: 15s, write: failed, queue_depth: 6, then: {to: 6, reason: AboveTarget}}\n"
        "- {at: 30s, queue_depth: 4, then: {to: 4, reason: WithinTolerance}}\n"
        "- {at: 45s, current: 3, then: {to: 4, reason: AboveTarget}}\n"
    )
    played = play(scenario, policy_of(scenario))
    assert faults(scenario, played) == []
    assert [cycle.observation["current"] for cycle in played] == [2, 4, 4, 3]

"""`--verify`: what an edited record gives away, and what nothing can."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler import cli
from autoscaler.decision.decide import decide
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import Mode
from tests.explain.edits import Noticed, edits
from tests.explain.material import PLAYED, keep, scenario, steady

LEAST_SHARE = 0.85

SILENT = {
    # Told on the screen and by no rule: the sample is young enough, another metric asks for more.
    "observation.metrics.*.samples[].at",
    "observation.metrics.*.samples[].labels.*",
    "observation.metrics.*.samples[].value",
    # Pods matter to rules that had nothing to decide.
    "observation.pods[].name",
    "observation.pods[].in_flight",
    "observation.pods[].unschedulable",
    "observation.pods[].failing",
    "observation.pods[].created",
    "observation.foreign_write.at",
    "observation.foreign_write.replicas",
    # How many serve counts where the pods are not known; else they are counted.
    "observation.ready",
    # What became of a write where there was none.
    "observation.write",
    # A target of another name is another target.
    "target",
}
"""Places where an edit may leave no trace, each for its reason (docs/explain.md)."""


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def run(capsys, tmp_path):
    """Return a function that verifies records: exit code and output lines."""

    def run(*records, options=()):
        file = keep(tmp_path / "records.jsonl", *records, folded=False)
        code = cli.run(["explain", str(file), "--verify", *options])
        return code, capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in PLAYED[::3]])
def test_honest_records_hold(run, path):
    """Whatever the story is; a restart in it is a note."""
    code, out = run(*scenario(path.stem))
    assert (code, [line for line in out[:-1] if not line.startswith("note: ")]) == (0, [])
    assert out[-1].startswith(f"{len(scenario(path.stem))} decision")
    assert out[-1].endswith("all decide the same")


def test_an_edited_value_is_found_in_its_line_and_in_the_next(run):
    """With time, place, both values, and the line that they come from."""
    story = [*scenario("a_flickering_exporter_loses_its_veto")]
    step = replace(story[1].steps[-1], to=3)
    story[1] = replace(story[1], steps=(*story[1].steps[:-1], step))
    state = replace(story[2].state, holds={})
    story[2] = replace(story[2], state=state)
    code, out = run(*story)
    assert code == 1
    assert out[0] == (
        "records.jsonl line 2, 2026-11-23 10:00:15 UTC, llm/ollama: "
        "steps[2].to: recorded 3, decided 4"
    )
    assert (
        "records.jsonl line 3, 2026-11-23 10:00:30 UTC, llm/ollama: state.holds.cpu_to_limit: "
        'recorded nothing, line 2 leaves "2026-11-23T10:00:15Z"'
    ) in out
    assert "2 do not hold" in out[-1] or "3 do not hold" in out[-1]


def test_an_outcome_that_contradicts_is_found(run):
    """As a number that was not written."""
    story = scenario("the_wrong_pod_goes")
    code, out = run(replace(story[1], outcome=Outcome.HELD))
    assert code == 1
    assert out[0].endswith('outcome: recorded "held", decided "scaled"')


def test_what_changes_for_an_honest_reason_is_a_note(run):
    """Policy, mode, a restart, pods that are others."""
    story = scenario("the_wrong_pod_goes")
    first, second = story[0], story[1]
    policy = replace(first.policy, pending_limit=timedelta(hours=1))
    verdict = decide(policy, first.state, second.observation)
    other = replace(
        second,
        policy=policy,
        state=first.state,
        steps=verdict.steps,
        decision=verdict.decision,
        mode=Mode.SHADOW,
        outcome=Outcome.DRY_RUN,
    )
    code, out = run(first, other)
    assert code == 0
    told = " ".join(out)
    assert "begins without memory" in told
    assert "the policy has changed: policy.pending_limit 300 -> 3600" in told
    assert "the mode has changed: act -> shadow" in told


def test_pods_that_are_not_what_they_were_are_noted(run):
    """Another birth, another template, another count of those that are ready."""
    story = scenario("the_wrong_pod_goes")
    pods = story[1].observation.pods
    changed = replace(pods[0], created=pods[0].created - timedelta(hours=1), template="other")
    edited = replace(
        story[1],
        observation=replace(story[1].observation, pods=(changed, *pods[1:]), ready=1),
    )
    told = " ".join(run(replace(edited, observation=story[1].observation), edited)[1])
    assert f"pod {pods[0].name} was created at another time" in told
    assert f'pod {pods[0].name} has another template: null -> "other"' in told
    assert "ready is 1, and " in told


def test_many_notes_of_one_kind_are_counted(run):
    """They do not hide what counts."""
    story = steady()
    _, out = run(*story[:1] * 9)
    assert "note: and " in " ".join(out)


def test_since_looks_at_the_last_lines_only(run):
    """The chain still knows the ones before."""
    story = steady()
    broken = replace(story[0], outcome=Outcome.FAILED)
    assert run(broken, *story[1:])[0] == 1
    code, out = run(broken, *story[1:], options=("--since", "1m"))
    assert code == 0
    assert out[-1].startswith("5 decisions of 1 target(s) from 2026-11-23 10:14:00 to 10:15:00")


def test_json_tells_the_differences_behind_the_record(run):
    """Line, place, both values."""
    story = scenario("the_wrong_pod_goes")
    code, out = run(replace(story[1], outcome=Outcome.HELD), options=("--json",))
    found = json.loads(out[1])
    assert code == 1
    assert found["line"] == 1
    assert found["differences"] == [{"where": "outcome", "recorded": "held", "decided": "scaled"}]
    assert json.loads(out[-1])["different"] == 1


# --- every leaf -----------------------------------------------------------------------------------


def test_most_edits_of_one_value_are_noticed_and_the_others_are_known():
    """Each leaf of the JSON of some records, changed a little, changed much, turned round."""
    found, silent = Counter(), Counter()
    for name in (
        "two_replicas_swing_between_one_and_two",
        "a_stuck_replica_is_replaced_during_a_conflict",
        "a_flickering_exporter_loses_its_veto",
        "pending_pods_keep_the_number_high",
        "a_crash_loop_counts_as_coming_for_ever",
    ):
        records = scenario(name)
        for nth in (1, len(records) // 2, len(records) - 2):
            if not 0 < nth < len(records) - 1:
                continue
            for place, noticed in edits(records, nth):
                found[noticed] += 1
                silent[place] += noticed is Noticed.SILENT
    share = 1 - found[Noticed.SILENT] / found.total()
    assert {place for place, count in silent.items() if count} <= SILENT
    assert share >= LEAST_SHARE

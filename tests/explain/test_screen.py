"""One cycle on one screen: whole screens as they are read, and what holds of all of them."""

from dataclasses import replace
from datetime import UTC, timedelta, timezone

import pytest

from autoscaler.decision.fold import Gap
from autoscaler.decision.model import Pod
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import Mode, Reason, WriteResult
from autoscaler.explain.reasons import ENDINGS, MEANINGS
from autoscaler.explain.screen import Paper, tell, tell_gap
from tests.explain.material import PLAYED, scenario

PAPER = Paper(zone=UTC)


def screen(record, paper=PAPER, place="records.jsonl line 7"):
    """Return what is told of a record, as text."""
    return "\n".join(line.plain for line in tell(record, place, paper))


def test_a_shrinking_tells_who_goes_and_what_they_were_serving():
    """Top to bottom: what was decided, what was seen, each rule, what came of it."""
    assert (
        screen(scenario("the_wrong_pod_goes")[1])
        == """\
llm/ollama at 2026-11-23 10:01:00 UTC  (records.jsonl line 7)
shrinks from 7 to 5, BelowTarget: fewer replicas are enough for the load
asked for 7 replicas, 5 ready; allowed 1 to 10; 6 requests in flight

metric       value  target  age  quality  alone it wants
queue_depth  5      1       2s   Fresh    5, 71% of the target

rule       from  to  because
recommend  7     5   BelowTarget: queue_depth 5, target 1 per replica
nothing to change for: tolerance, feasibility, stabilization, cooldown, rate,
  pending, bounds

outcome: written, 5 replicas asked for from now on
who goes first: pending (Pending), starting (not ready)"""
    )


def test_a_missing_metric_tells_until_when_it_blocks():
    """And which rule turned the number back."""
    assert (
        screen(scenario("a_flickering_exporter_loses_its_veto")[1])
        == """\
llm/ollama at 2026-11-23 10:00:15 UTC  (records.jsonl line 7)
holds 4, MetricEmpty: a metric has no series, and absence is not zero
asked for 4 replicas, 4 ready; allowed 1 to 10

metric        value  target  age  quality  alone it wants
queue_depth   1      1       2s   Fresh    1, 25% of the target
cpu_to_limit  -      0.7     -    Empty    nothing: no series; blocks shrinking
                                           until 10:15:15

rule       from  to  because
quality    4     4   MetricEmpty: cpu_to_limit Empty: no series
recommend  4     1   BelowTarget: queue_depth 1, target 1 per replica
quality    1     4   MetricEmpty: no shrinking while cpu_to_limit is Empty
nothing to change for: tolerance, feasibility, stabilization, cooldown, rate,
  pending, bounds

outcome: held, nothing to write"""
    )


def test_a_conflict_and_a_stuck_pod():
    """The longest of the usual ones still fits."""
    assert (
        screen(scenario("a_stuck_replica_is_replaced_during_a_conflict")[4])
        == """\
llm/ollama at 2026-11-23 10:01:00 UTC  (records.jsonl line 7)
holds 2, Conflict: somebody else changed replicas: it stands down for
conflict_hold
asked for 2 replicas, 2 ready; allowed 2 to 10; 1 request in flight

metric        value  target  age  quality  alone it wants
queue_depth   1      1       2s   Fresh    2, what there is fits the load, 100%
                                           of the target
cpu_to_limit  0      0.7     2s   Fresh    1, mean of 1 pod, 0% of the target

rule       from  to  because
stuck      2     2   ReplicaStuck: requests in flight and no use: a
recommend  2     2   WithinTolerance: queue_depth 1, target 1 per replica, 1
                     stuck on top
tolerance  2     2   WithinTolerance: queue_depth 1, target 1 per replica, 1
                     stuck on top
conflict   2     2   Conflict: flux changed replicas, seen at
                     2026-11-23T10:01:00+00:00
nothing to change for: feasibility, stabilization, cooldown, rate, pending,
  bounds

outcome: held, nothing to write
stuck: a
another writer: flux set replicas to 2"""
    )


def test_a_write_that_failed_tells_why():
    """The number that was wanted, and what the API said."""
    honest = scenario("the_wrong_pod_goes")[1]
    record = replace(
        honest,
        observation=replace(honest.observation, write=WriteResult.FAILED),
        outcome=Outcome.FAILED,
        error="llm/ollama: patch deployments/scale: forbidden",
    )
    said = "failed: the write did not succeed: llm/ollama: patch deployments/scale: forbidden"
    assert f"outcome: {said}" in " ".join(screen(record).split())


# --- what holds of every cycle --------------------------------------------------------------------


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in PLAYED])
def test_every_cycle_of_a_story_fits_on_a_screen(path):
    """80 columns, 24 lines, no reason without its meaning, no rule that changed it left out."""
    for record in scenario(path.stem):
        text = screen(record)
        lines = text.splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 80
        said = " ".join(text.split())
        assert f"{record.decision.reason}: {MEANINGS[record.decision.reason]}" in said
        for step in record.steps:
            assert step.from_ == step.to or f"{step.stage}  " in text
        for name in record.decision.victims:
            assert name in text


def test_the_stories_come_to_nearly_every_reason():
    """What is left is no reason of a decision."""
    found = {record.decision.reason for path in PLAYED for record in scenario(path.stem)}
    assert set(Reason) - found == {Reason.SHADOW, Reason.NOT_LEADER, Reason.VICTIMS_UNKNOWN}


def test_each_reason_and_each_outcome_has_its_meaning():
    """In words of its own."""
    assert set(MEANINGS) == set(Reason)
    assert set(ENDINGS) == set(Outcome)
    assert len(set(MEANINGS.values())) == len(Reason)


# --- details --------------------------------------------------------------------------------------


def test_times_are_those_of_the_reader():
    """With the name of the zone."""
    paper = Paper(zone=timezone(timedelta(hours=1), "CET"))
    record = scenario("a_flickering_exporter_loses_its_veto")[1]
    text = screen(record, paper)
    assert text.startswith("llm/ollama at 2026-11-23 11:00:15 CET")
    assert "11:15:15" in text


def test_what_only_watches_says_what_it_would_have_done():
    """And that it wrote nothing."""
    record = replace(scenario("the_wrong_pod_goes")[1], mode=Mode.SHADOW, outcome=Outcome.DRY_RUN)
    assert "outcome: dry run: nothing was written, else " in screen(record)


def test_a_pod_that_would_be_replaced_is_named():
    """Where it is only a dry run."""
    story = scenario("a_long_prompt_is_taken_for_stuck")
    record = next(each for each in story if each.decision.replace)
    told = screen(replace(record, outcome=Outcome.DRY_RUN))
    assert f"else {record.decision.replace} would have been deleted" in told
    assert f"to be replaced: {record.decision.replace}" in told


def test_pods_without_a_node_and_pauses_are_named():
    """As are those that fail to come up."""
    honest = scenario("only_growth_is_to_stand_still")[0]
    pods = (Pod(name="a", in_flight=1), Pod(name="b", unschedulable=True, ready=False))
    record = replace(honest, observation=replace(honest.observation, pods=pods, paused=True))
    told = screen(record)
    assert "1 request in flight; paused" in told
    assert "without a node: b" in told


def test_a_schedule_in_force_is_named():
    """With the bounds that it sets."""
    story = scenario("at_night_the_machine_belongs_to_somebody_else")
    assert any(" by schedule " in screen(record) for record in story)


def test_foreign_text_moves_no_cursor():
    """Whatever a pod is called."""
    honest = scenario("the_wrong_pod_goes")[1]
    pods = (Pod(name="a\x1b[2J", unschedulable=True, ready=False),)
    record = replace(honest, observation=replace(honest.observation, pods=pods))
    assert "\x1b" not in screen(record)


def test_a_cycle_without_a_decision():
    """Since when, how often, and why, in the log's own words."""
    gap = Gap(
        target="llm/ollama",
        now=scenario("the_wrong_pod_goes")[1].observation.now,
        outcome=Outcome.FAILED,
        reason="",
        error="llm/ollama: connection refused",
        cycles=8,
    )
    told = [line.plain for line in tell_gap(gap, "line 3", PAPER)]
    assert told == [
        "llm/ollama at 2026-11-23 10:01:00 UTC  (line 3)",
        "came to no decision, and nothing was written (for 8 cycles in a row):",
        "llm/ollama: failed: connection refused",
    ]

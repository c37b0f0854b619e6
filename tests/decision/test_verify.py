"""A record that is decided again, and what of it is found to be wrong."""

from dataclasses import replace

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.model import Decision, ScalingState
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.verify import NOTHING, Difference, check, compare, differences
from autoscaler.decision.words import Direction, Mode, Reason, WriteResult
from tests.decision.build import at, policy, seen


def record(queue=4.0, current=2, outcome=Outcome.SCALED, mode=Mode.ACT, given=None, **observed):
    """Return the record of a first cycle."""
    given = given or policy()
    observation = seen(current, queue=queue, **observed)
    verdict = decide(given, ScalingState(), observation)
    return Record(
        target="llm/ollama",
        policy=given,
        observation=observation,
        state=ScalingState(),
        steps=verdict.steps,
        decision=verdict.decision,
        outcome=outcome,
        mode=mode,
    )


def places(found):
    """Return where a record is found to be wrong."""
    return [difference.where for difference in found]


def test_an_honest_record_holds():
    """Nothing is found."""
    assert differences(record()) == ()


def test_a_number_in_a_step_is_found():
    """With the place, and both values."""
    honest = record()
    steps = (replace(honest.steps[0], to=honest.steps[0].to + 1), *honest.steps[1:])
    (found,) = differences(replace(honest, steps=steps))
    assert found == Difference(where="steps[0].to", recorded=6, decided=5)


def test_a_metric_that_changes_no_number_is_found_by_what_the_step_says_of_it():
    """The detail tells its value."""
    honest = record(queue=1.5, outcome=Outcome.HELD)
    edited = replace(honest, observation=seen(2, queue=1.55))
    assert {each.rpartition(".")[2] for each in places(differences(edited))} == {"detail"}


def test_a_step_too_many_and_one_too_few_are_found():
    """Each as a whole."""
    honest = record()
    (more,) = differences(replace(honest, steps=(*honest.steps, honest.steps[0])))
    assert more.decided == NOTHING
    (less,) = differences(replace(honest, steps=honest.steps[:-1]))
    assert less.recorded == NOTHING


def test_another_decision_is_found():
    """Reason and number."""
    other = Decision(from_=2, to=4, direction=Direction.UP, reason=Reason.AT_MAXIMUM)
    assert places(differences(replace(record(), decision=other))) == [
        "decision.to",
        "decision.reason",
    ]


def test_a_key_of_one_side_alone_is_found():
    """As nothing on the other."""
    assert [*compare("x", {"a": 1}, {"b": 2})] == [
        Difference(where="x.a", recorded=1, decided=NOTHING),
        Difference(where="x.b", recorded=NOTHING, decided=2),
    ]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (record(outcome=Outcome.HELD), "scaled"),
        (record(queue=1.6), "held"),
        (record(mode=Mode.SHADOW), "dry-run"),
        (record(write=WriteResult.FAILED), "failed or skipped"),
        (record(write=WriteResult.CONFLICT), "conflicted"),
        (record(queue=1.6, outcome=Outcome.REPLACED), "held"),
    ],
)
def test_an_outcome_that_cannot_be_is_found(made, told):
    """It must fit the decision, the mode and what became of the write."""
    (found,) = differences(made)
    assert (found.where, found.recorded, found.decided) == ("outcome", made.outcome, told)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.SKIPPED])
def test_a_write_that_failed_may_not_have_been_tried(outcome):
    """Both are honest."""
    assert differences(record(write=WriteResult.FAILED, outcome=outcome)) == ()


def test_a_policy_that_only_watches_acts_nowhere():
    """The mode in force is never more than the policy's."""
    made = record(given=policy(mode=Mode.SHADOW), outcome=Outcome.SCALED)
    assert places(differences(made)) == ["mode"]


def test_a_memory_of_later_than_now_is_found():
    """No cycle goes on from the future."""
    made = record(queue=1.6, outcome=Outcome.HELD)
    edited = replace(made, state=ScalingState(last_cycle=at(1)))
    assert "state.last_cycle" in places(differences(edited))


def test_what_a_write_leaves_is_part_of_what_the_next_cycle_goes_on_from():
    """And only where there was one."""
    assert check(record()).after.last_up == at(0)
    assert check(record(write=WriteResult.FAILED, outcome=Outcome.FAILED)).after.last_up is None

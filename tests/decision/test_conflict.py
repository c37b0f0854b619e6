"""Another writer: stand down. A switch: do nothing at all."""

import pytest

from autoscaler.decision.model import ForeignWrite
from autoscaler.decision.words import Direction, Reason, Stage
from tests.decision.build import Story, policy, seconds

KUBECTL = ForeignWrite(manager="kubectl")


def test_a_foreign_write_makes_it_stand_down_for_a_while_and_then_look_again():
    """Ten minutes from the last foreign write, edges inside the calm."""
    story = Story(policy(), current=2)
    first = story.cycle(0, queue=8, foreign_write=KUBECTL).decision
    assert (first.to, first.reason) == (2, Reason.CONFLICT)
    assert story.cycle(300, queue=8, foreign_write=KUBECTL).decision.reason is Reason.CONFLICT
    assert story.cycle(899, queue=8).decision.reason is Reason.CONFLICT
    assert story.cycle(900, queue=8).decision.to == 10


def test_a_person_who_scales_beyond_the_bounds_is_not_fought():
    """Standing down wins over the bounds."""
    story = Story(policy(max_replicas=6), current=9)
    assert story.cycle(0, queue=0, foreign_write=KUBECTL).decision.to == 9


def test_a_pause_holds_even_outside_the_bounds():
    """Paused is paused."""
    story = Story(policy(max_replicas=6), current=9)
    decision = story.cycle(0, queue=80, paused=True).decision
    assert (decision.to, decision.reason) == (9, Reason.PAUSED)


def test_what_the_metrics_wanted_during_a_pause_is_remembered():
    """After a pause the window knows the load of the pause."""
    story = Story(policy(down_stabilization_window=seconds(300)), current=6)
    story.cycle(0, queue=0.8)
    story.cycle(250, queue=3.2, paused=True)
    assert story.cycle(400, queue=0.8).decision.to == 4
    assert story.cycle(550, queue=0.8).decision.to == 1


def test_a_time_without_scaling_leaves_nothing_in_the_window():
    """Switched on again, growth need not wait for zeros to leave."""
    story = Story(policy(up_stabilization_window=seconds(300)), current=2)
    story.cycle(0, queue=1.6)
    story.current = 0
    story.cycle(400, queue=8)
    story.current = 2
    assert story.cycle(405, queue=8).decision.to == 10


def test_zero_replicas_with_a_positive_minimum_were_switched_off_by_a_person():
    """Hold, and say so."""
    decision = Story(policy(min_replicas=2), current=0).cycle(0, queue=8).decision
    assert (decision.to, decision.reason) == (0, Reason.SCALING_DISABLED)


def test_every_cycle_of_the_hold_names_the_other_writer():
    """Also those in which nothing new was seen."""
    story = Story(policy(), current=2)
    for now in (0, 5):
        foreign = {"foreign_write": KUBECTL} if now == 0 else {}
        detail = story.cycle(now, queue=8, **foreign).steps[-1].detail
        assert detail == "kubectl changed replicas, seen at 2026-11-23T10:00:00+00:00"
    assert story.state.conflict_with == "kubectl"


def test_a_hold_without_a_name_is_told_all_the_same():
    """As records have it that were written before names were kept."""
    story = Story(policy(), current=2)
    story.cycle(0, queue=8, foreign_write=ForeignWrite(manager=""))
    assert story.cycle(5, queue=8).steps[-1].detail.startswith("another writer changed replicas")


@pytest.mark.parametrize(
    ("paused", "queue", "to", "reason"),
    [
        (Direction.UP, 8, 4, Reason.PAUSED),
        (Direction.UP, 0.8, 1, Reason.BELOW_TARGET),
        (Direction.DOWN, 8, 10, Reason.ABOVE_TARGET),
        (Direction.DOWN, 0.8, 4, Reason.PAUSED),
        (Direction.UP, 3.2, 4, Reason.WITHIN_TOLERANCE),
    ],
)
def test_a_pause_of_one_direction_holds_that_one(paused, queue, to, reason):
    """The other goes on."""
    decision = Story(policy(), current=4).cycle(0, queue=queue, paused_direction=paused).decision
    assert (decision.to, decision.reason) == (to, reason)


@pytest.mark.parametrize(
    ("current", "paused", "to"),
    [(9, Direction.DOWN, 9), (1, Direction.UP, 1), (9, Direction.UP, 6), (1, Direction.DOWN, 2)],
)
def test_a_pause_of_one_direction_wins_over_the_bounds(current, paused, to):
    """A switch is a switch."""
    story = Story(policy(min_replicas=2, max_replicas=6), current=current)
    verdict = story.cycle(0, queue=4, paused_direction=paused)
    assert verdict.decision.to == to
    if to == current:
        assert verdict.steps[-1].stage is Stage.SWITCH
        assert verdict.steps[-1].detail == f"scaling {paused} is paused"


def test_a_conflict_comes_after_a_pause_of_one_direction():
    """Both hold; the other writer is the news."""
    story = Story(policy(), current=2)
    verdict = story.cycle(0, queue=8, paused_direction=Direction.UP, foreign_write=KUBECTL)
    assert [step.stage for step in verdict.steps[-2:]] == [Stage.SWITCH, Stage.CONFLICT]
    assert verdict.decision.reason is Reason.CONFLICT

"""Stabilization windows, told as stories."""

from autoscaler.decision.model import Recommendation, ScalingState
from autoscaler.decision.stabilize import resumed
from autoscaler.decision.words import Reason, WriteResult
from tests.decision.build import Story, at, missing, policy, seconds


def test_shrinking_waits_until_the_high_recommendations_have_left_the_window():
    """Five minutes of calm, then down to the highest of what was wanted meanwhile."""
    story = Story(policy(down_stabilization_window=seconds(300)), current=6)
    assert story.cycle(0, queue=4.8).decision.to == 6
    assert story.cycle(60, queue=2.4).decision.reason is Reason.STABILIZED
    assert story.cycle(120, queue=0.8).decision.to == 6
    assert story.cycle(299, queue=0.8).decision.to == 6
    assert story.cycle(300, queue=0.8).decision.to == 3
    assert story.cycle(360, queue=0.8).decision.to == 1


def test_a_first_cycle_is_seeded_with_the_current_replicas():
    """A restart cannot collapse the number."""
    story = Story(policy(down_stabilization_window=seconds(300)), current=6)
    verdict = story.cycle(0, queue=0)
    assert (verdict.decision.to, verdict.decision.reason) == (6, Reason.STABILIZED)
    assert story.cycle(299.999, queue=0).decision.to == 6
    assert story.cycle(300, queue=0).decision.to == 1


def test_growing_takes_the_lowest_of_its_window():
    """A burst that is gone within the window never counts; one that stays does, from its start."""
    story = Story(policy(up_stabilization_window=seconds(60)), current=2)
    assert story.cycle(0, queue=8).decision.to == 2
    assert story.cycle(30, queue=4).decision.to == 2
    assert story.cycle(60, queue=8).decision.to == 5
    assert story.cycle(90, queue=8).decision.to == 10


def test_a_cycle_without_data_records_the_current_replicas():
    """Missing data in the middle of a calm starts the wait anew."""
    story = Story(policy(down_stabilization_window=seconds(300)), current=6)
    story.cycle(0, queue=0.8)
    story.cycle(200, queue=missing())
    assert story.cycle(400, queue=0.8).decision.to == 6
    assert story.cycle(500, queue=0.8).decision.to == 1


def remembered(story):
    """Return the numbers that the window still holds, oldest first."""
    return [entry.replicas for entry in story.state.recommendations]


def test_entries_that_cannot_count_any_more_are_forgotten():
    """Gone with the window, or between a lower and a higher newer one: memory stays small."""
    windows = {"up_stabilization_window": seconds(600), "down_stabilization_window": seconds(600)}
    story = Story(policy(**windows), current=4)
    for now, queue in ((0, 3.2), (10, 7.2), (20, 0.8), (30, 4.8), (40, 2.4), (50, 2.4)):
        story.cycle(now, queue=queue)
    assert remembered(story) == [9, 1, 6, 3]
    story.cycle(620, queue=2.4)
    assert remembered(story) == [6, 3]
    story.cycle(2000, queue=2.4)
    assert remembered(story) == [3]


def test_the_step_tells_the_extreme_of_the_window():
    """Also where the current replicas lie between it and the wish."""
    story = Story(policy(up_stabilization_window=seconds(300)), current=4)
    story.cycle(0, queue=1.6)
    verdict = story.cycle(10, queue=8, write=WriteResult.FAILED)
    assert "lowest recommendation of the last 300s is 2" in verdict.steps[-1].detail


def test_a_long_gap_is_not_a_first_cycle():
    """When every entry has left the window, only the newest counts: the seed is for strangers."""
    story = Story(policy(down_stabilization_window=seconds(300)), current=6)
    story.cycle(0, queue=4.8)
    assert story.cycle(1000, queue=0.8).decision.to == 1


def test_windows_of_both_directions_work_on_the_same_memory():
    """Up waits for its lowest, and shrinking still sees the high values of the same time."""
    windows = {"up_stabilization_window": seconds(30), "down_stabilization_window": seconds(60)}
    story = Story(policy(**windows), current=2)
    story.cycle(0, queue=1.6)
    assert story.cycle(10, queue=8).decision.to == 2
    assert story.cycle(40, queue=8).decision.to == 10
    assert story.cycle(50, queue=1.6).decision.to == 10
    assert story.cycle(99, queue=1.6).decision.to == 10
    assert story.cycle(100, queue=1.6).decision.to == 2


def test_unwatched_time_of_a_whole_window_begins_with_the_current_replicas():
    """The first new number alone must not be the highest of a window that nobody watched."""
    rules = policy(down_stabilization_window=seconds(300))
    entry = Recommendation(at=at(0), replicas=2)
    state = ScalingState(last_cycle=at(0), recommendations=(entry,))
    later = resumed(rules, state, at(300), current=6)
    assert later.recommendations == (entry, Recommendation(at=at(300), replicas=6))
    assert resumed(rules, state, at(299), current=6) == state
    assert resumed(rules, ScalingState(), at(0), current=6) == ScalingState()

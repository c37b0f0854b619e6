"""Stabilization windows, told as stories."""

from autoscaler.decision.model import Reason
from tests.decision.build import Story, missing, policy, seconds


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


def test_entries_older_than_both_windows_are_forgotten():
    """Memory is bounded by the windows."""
    windows = {"up_stabilization_window": seconds(20), "down_stabilization_window": seconds(60)}
    story = Story(policy(**windows), current=2)
    for now in range(0, 1000, 10):
        story.cycle(now, queue=1.6)
    assert len(story.state.recommendations) == 6


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

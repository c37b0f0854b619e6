"""Replicas that cannot run are given back."""

from autoscaler.decision.model import Reason
from tests.decision.build import Story, missing, pending, policy, running


def test_pods_pending_for_the_limit_are_given_back_and_not_asked_for_at_once():
    """Five minutes unschedulable: back to what runs, and no new attempt for another five."""
    story = Story(policy(), current=4)
    stuck = (*running("a", "b"), *pending("c", "d", born=0))
    assert story.cycle(299, queue=3.2, ready=2, pods=stuck).decision.to == 4
    back = story.cycle(300, queue=3.2, ready=2, pods=stuck).decision
    assert (back.to, back.reason, set(back.victims)) == (2, Reason.GIVEN_BACK, {"c", "d"})
    held = story.cycle(305, queue=3.2, pods=running("a", "b")).decision
    assert (held.to, held.reason) == (2, Reason.PODS_PENDING)
    assert story.cycle(600, queue=3.2, pods=running("a", "b")).decision.to == 4


def test_giving_back_stops_at_the_minimum():
    """Bounds always hold."""
    story = Story(policy(min_replicas=3), current=4)
    stuck = (*running("a"), *pending("b", "c", "d", born=0))
    assert story.cycle(300, queue=3.2, ready=1, pods=stuck).decision.to == 3


def test_missing_data_never_shrinks_not_even_to_give_back():
    """What is stuck waits; growth on the account of stuck pods does too."""
    story = Story(policy(), current=4)
    stuck = (*running("a", "b"), *pending("c", "d", born=0))
    assert story.cycle(400, queue=missing(), ready=2, pods=stuck).decision.to == 4


def test_stuck_pods_never_block_shrinking():
    """The load has gone: further down than what runs."""
    story = Story(policy(), current=4)
    stuck = (*running("a", "b"), *pending("c", "d", born=0))
    assert story.cycle(300, queue=0.8, ready=2, pods=stuck).decision.to == 1


def test_growth_waits_while_pods_are_stuck_at_the_minimum():
    """Where nothing can be given back, more is not asked for either."""
    story = Story(policy(min_replicas=2), current=2)
    stuck = (*running("a"), *pending("b", born=0))
    held = story.cycle(300, queue=8, ready=1, pods=stuck).decision
    assert (held.to, held.reason) == (2, Reason.AT_MINIMUM)

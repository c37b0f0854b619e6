"""Cooldown, rate policies and bounds."""

import pytest

from autoscaler.decision.model import RatePolicy
from autoscaler.decision.words import PolicyType, Reason, SelectPolicy, WriteResult
from tests.decision.build import Story, missing, percent_per, pods_per, policy, seconds

# --- cooldown ---------------------------------------------------------------------------------


def test_cooldown_counts_from_the_last_write_in_the_same_direction():
    """Up cools down on its own; the way down is free meanwhile."""
    story = Story(policy(up_cooldown=seconds(60)), current=2)
    assert story.cycle(0, queue=3.2).decision.to == 4
    held = story.cycle(59, queue=8).decision
    assert (held.to, held.reason) == (4, Reason.COOLING_DOWN)
    assert story.cycle(59.5, queue=0.8).decision.to == 1
    assert story.cycle(60, queue=8).decision.to == 10


@pytest.mark.parametrize("write", [WriteResult.FAILED, WriteResult.CONFLICT])
def test_a_write_that_did_not_succeed_starts_no_cooldown_and_uses_no_rate(write):
    """State advances on proof only."""
    limits = {"down_cooldown": seconds(60), "down_policies": (pods_per(1, 600),)}
    story = Story(policy(**limits), current=6)
    assert story.cycle(0, queue=0.8, write=write).decision.to == 5
    assert story.cycle(5, queue=0.8).decision.to == 5
    assert story.cycle(10, queue=0.8).decision.reason is Reason.COOLING_DOWN


# --- rate policies ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "select", "current", "expected"),
    [
        pytest.param((pods_per(4, 15),), "max", 2, 6, id="pods"),
        pytest.param((percent_per(100, 15),), "max", 3, 6, id="percent"),
        pytest.param((percent_per(50, 15),), "max", 3, 5, id="percent-rounds-up"),
        pytest.param((percent_per(10, 15),), "max", 10, 11, id="percent-without-rounding-error"),
        pytest.param((pods_per(4, 15), percent_per(100, 15)), "max", 2, 6, id="largest"),
        pytest.param((pods_per(4, 15), percent_per(100, 15)), "min", 2, 4, id="smallest"),
        pytest.param((pods_per(4, 15),), "disabled", 2, 2, id="disabled"),
        pytest.param((), "max", 2, 20, id="no-policy"),
    ],
)
def test_growth_is_limited_by_its_policies(policies, select, current, expected):
    """HPA's arithmetic on the way up."""
    given = policy(up_policies=policies, up_select_policy=SelectPolicy(select))
    assert Story(given, current).cycle(0, queue=80).decision.to == expected


@pytest.mark.parametrize(
    ("policies", "select", "current", "expected"),
    [
        pytest.param((pods_per(2, 60),), "max", 9, 7, id="pods"),
        pytest.param((percent_per(50, 60),), "max", 9, 4, id="percent-truncates"),
        pytest.param((percent_per(90, 60),), "max", 10, 1, id="percent-without-rounding-error"),
        pytest.param((pods_per(2, 60), percent_per(50, 60)), "max", 9, 4, id="largest-change"),
        pytest.param((pods_per(2, 60), percent_per(50, 60)), "min", 9, 7, id="smallest-change"),
        pytest.param((percent_per(100, 60),), "max", 9, 1, id="all-but-the-minimum"),
        pytest.param((percent_per(100, 60),), "disabled", 9, 9, id="disabled"),
    ],
)
def test_shrinking_is_limited_by_its_policies(policies, select, current, expected):
    """HPA's arithmetic on the way down."""
    given = policy(down_policies=policies, down_select_policy=SelectPolicy(select))
    assert Story(given, current).cycle(0, queue=0).decision.to == expected


def test_the_base_of_a_rate_counts_moves_of_both_directions_in_its_period():
    """4 at the period's start: down 2 and up again leaves the whole allowance over 4."""
    limits = {"up_policies": (pods_per(2, 100),), "down_policies": (pods_per(2, 100),)}
    story = Story(policy(**limits), current=4)
    assert story.cycle(0, queue=0.8).decision.to == 2
    assert story.cycle(10, queue=16).decision.to == 6
    held = story.cycle(20, queue=16).decision
    assert (held.to, held.reason) == (6, Reason.RATE_LIMITED)
    assert story.cycle(100, queue=16).decision.to == 6  # the way down has left the period
    assert story.cycle(110, queue=16).decision.to == 8


def test_a_rate_never_forces_the_opposite_direction():
    """After somebody else grew the number the limit lies below it: hold."""
    story = Story(policy(up_policies=(pods_per(1, 100),)), current=2)
    assert story.cycle(0, queue=8).decision.to == 3
    story.current = 8
    assert story.cycle(10, queue=16).decision.to == 8
    down = Story(policy(down_policies=(pods_per(1, 100),)), current=8)
    assert down.cycle(0, queue=0).decision.to == 7
    down.current = 2
    assert down.cycle(10, queue=0).decision.to == 2


def test_moves_to_the_bounds_count_for_the_rate():
    """Going from 1 to the minimum of 4 uses up the allowance."""
    story = Story(policy(min_replicas=4, up_policies=(pods_per(3, 100),)), current=1)
    assert story.cycle(0, queue=80).decision.to == 4
    assert story.cycle(10, queue=80).decision.reason is Reason.RATE_LIMITED


def test_a_percentage_of_nothing_still_leaves_zero():
    """From zero one replica is always allowed, or zero would be for ever."""
    given = policy(min_replicas=0, up_policies=(percent_per(100, 15),))
    assert Story(given, 0).cycle(0, queue=8).decision.to == 1


def test_a_rate_policy_needs_a_value_and_a_period():
    """Values that limit nothing, or everything for ever, cannot be built."""
    for bad in ({"value": 0}, {"value": -1}, {"period": seconds(0)}):
        with pytest.raises(ValueError, match="must be above 0"):
            RatePolicy(**{"type": PolicyType.PODS, "value": 1, "period": seconds(15), **bad})


# --- bounds -----------------------------------------------------------------------------------


def test_bounds_come_last_and_name_themselves():
    """Whatever the metrics want."""
    up = Story(policy(max_replicas=6), 6).cycle(0, queue=80).decision
    down = Story(policy(min_replicas=2), 2).cycle(0, queue=0).decision
    assert (up.to, up.reason) == (6, Reason.AT_MAXIMUM)
    assert (down.to, down.reason) == (2, Reason.AT_MINIMUM)


@pytest.mark.parametrize("queue", [0.0, 80.0, missing()])
@pytest.mark.parametrize(
    ("current", "to", "reason"),
    [(1, 2, Reason.AT_MINIMUM), (9, 6, Reason.AT_MAXIMUM)],
)
def test_replicas_outside_the_bounds_go_to_the_nearest_one_metrics_or_not(
    queue, current, to, reason
):
    """And no further in that cycle; no window, cooldown or rate stands in the way."""
    brakes = {
        "up_stabilization_window": seconds(60),
        "down_stabilization_window": seconds(300),
        "up_policies": (pods_per(1, 15),),
        "down_policies": (pods_per(1, 15),),
    }
    story = Story(policy(min_replicas=2, max_replicas=6, **brakes), current)
    decision = story.cycle(0, queue=queue).decision
    assert (decision.to, decision.reason) == (to, reason)

"""The whole walk: order, trail, and values that cannot be built."""

from dataclasses import replace

import pytest

from autoscaler.decision.decide import decide, remember
from autoscaler.decision.model import Fallback, ForeignWrite, Scaling, ScalingState
from autoscaler.decision.words import FallbackBehavior, Reason, Stage
from tests.decision.build import (
    CPU,
    QUEUE,
    Story,
    at,
    change,
    missing,
    per_pod,
    percent_per,
    pods_per,
    policy,
    seconds,
    seen,
)


def test_the_trail_tells_each_stage_in_order_and_links_up():
    """Each step starts where the one before it ended."""
    given = policy(
        metrics=(QUEUE, CPU),
        max_replicas=7,
        up_policies=(pods_per(6, 15),),
        up_stabilization_window=seconds(60),
    )
    story = Story(given, current=2)
    story.cycle(0, queue=7.2, cpu=missing())
    verdict = story.cycle(60, queue=80, cpu=missing(), foreign_write=ForeignWrite(manager="x"))
    trail = [(step.stage, step.from_, step.to) for step in verdict.steps]
    assert trail == [
        (Stage.QUALITY, 2, 2),
        (Stage.RECOMMEND, 2, 100),
        (Stage.RATE, 100, 8),
        (Stage.BOUNDS, 8, 7),
        (Stage.CONFLICT, 7, 2),
    ]
    assert verdict.decision.to == 2


def test_every_step_of_a_hold_links_up_too():
    """Down the other way: tolerance, stabilization, cooldown."""
    given = policy(down_stabilization_window=seconds(300), down_cooldown=seconds(60))
    story = Story(given, current=6)
    story.cycle(0, queue=4.8)
    verdict = story.cycle(10, queue=0.8)
    number = 6
    for step in verdict.steps:
        assert step.from_ == number
        number = step.to
        assert step.detail
    assert number == 6


def test_a_move_names_what_asked_for_it_and_its_trail_what_shortened_it():
    """Up because the load is above target; four at a time because of the rate."""
    given = policy(up_policies=(pods_per(4, 15),))
    verdict = decide(given, ScalingState(), seen(2, queue=80))
    assert (verdict.decision.to, verdict.decision.reason) == (6, Reason.ABOVE_TARGET)
    assert verdict.steps[-1].reason is Reason.RATE_LIMITED


def test_remembering_a_hold_changes_nothing():
    """Only a move is stamped."""
    verdict = decide(policy(), ScalingState(), seen(2, queue=1.6))
    assert remember(policy(), verdict.state, change(verdict.decision), at(0)) == verdict.state


def test_events_are_forgotten_when_no_policy_looks_back_to_them():
    """Memory is bounded by the longest period."""
    given = policy(up_policies=(percent_per(100, 15),), down_policies=(pods_per(1, 30),))
    story = Story(given, current=2)
    story.cycle(0, queue=3.2)
    assert len(story.state.events) == 1
    story.cycle(29, queue=3.2)
    assert len(story.state.events) == 1
    story.cycle(30, queue=3.2)
    assert story.state.events == ()


def test_a_healthy_cycle_within_tolerance_says_only_that():
    """One step, one reason."""
    cpu = per_pod({"a": 0.7, "b": 0.7})
    verdict = decide(policy(metrics=(QUEUE, CPU)), ScalingState(), seen(2, queue=1.6, cpu=cpu))
    assert {step.reason.value for step in verdict.steps} == {"WithinTolerance"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"min_replicas": -1}, "min_replicas = -1, must not be negative"),
        ({"max_replicas": 0, "min_replicas": 0}, "max_replicas = 0, must be at least 1"),
        ({"min_replicas": 9, "max_replicas": 6}, "min_replicas = 9, must not be above"),
        ({"metrics": ()}, "must name at least one metric"),
        (
            {"metrics": (QUEUE, QUEUE)},
            'metrics = "queue_depth", stands twice',
        ),
        ({"hold_limit": seconds(-1)}, 'hold_limit = "-1 day, 23:59:59", must not be negative'),
        ({"pending_limit": seconds(-1)}, "pending_limit"),
        ({"conflict_hold": seconds(-1)}, "conflict_hold"),
    ],
)
def test_an_impossible_policy_cannot_be_built(change, told):
    """Field, value, rule."""
    with pytest.raises(ValueError, match="must") as refusal:
        policy(**change)
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    "change",
    [
        {"tolerance": -0.1},
        {"tolerance": float("nan")},
        {"stabilization_window": seconds(-1)},
        {"cooldown": seconds(-1)},
    ],
)
def test_an_impossible_scaling_cannot_be_built(change):
    """Windows and cooldowns do not run backwards."""
    with pytest.raises(ValueError, match="must not be negative"):
        replace(Scaling(), **change)


def test_an_impossible_fallback_cannot_be_built():
    """A static number must be given, and be one."""
    with pytest.raises(ValueError, match="must be given where behavior is static"):
        Fallback(behavior=FallbackBehavior.STATIC)
    with pytest.raises(ValueError, match="must not be negative"):
        Fallback(behavior=FallbackBehavior.STATIC, replicas=-1)

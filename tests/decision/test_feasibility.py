"""Shrinking leaves survivors that can carry the load."""

from dataclasses import replace

from autoscaler.decision.decide import decide
from autoscaler.decision.model import ScalingState
from autoscaler.decision.words import Reason, Stage, UseFor
from tests.decision.build import CPU, QUEUE, Story, per_pod, policy, seen


def test_a_metric_that_only_grows_still_keeps_its_share_of_replicas():
    """The queue asks for one; CPU of 2.2 at a target of 0.7 needs three at the scale-up edge."""
    metrics = (QUEUE, replace(CPU, use_for=UseFor.SCALE_UP))
    cpu = per_pod({"a": 0.55, "b": 0.55, "c": 0.55, "d": 0.55})
    verdict = decide(policy(metrics=metrics), ScalingState(), seen(4, queue=0.8, cpu=cpu))
    assert verdict.decision.to == 3
    assert (verdict.steps[-2].stage, verdict.steps[-2].reason) == (
        Stage.FEASIBILITY,
        Reason.NOT_FEASIBLE,
    )


def test_exactly_at_the_scale_up_edge_is_feasible():
    """The edge is inside the band, so two replicas at 0.77 do not ask for a third."""
    metrics = (QUEUE, replace(CPU, use_for=UseFor.SCALE_UP))
    cpu = per_pod({"a": 0.385, "b": 0.385, "c": 0.385, "d": 0.385})
    assert (
        decide(policy(metrics=metrics), ScalingState(), seen(4, queue=0.8, cpu=cpu)).decision.to
        == 2
    )


def test_no_number_below_the_current_one_may_be_feasible():
    """Then nothing moves, and it never asks for more than there is."""
    metrics = (QUEUE, replace(CPU, use_for=UseFor.SCALE_UP))
    cpu = per_pod({"a": 0.76, "b": 0.76})
    verdict = decide(policy(metrics=metrics), ScalingState(), seen(2, queue=0, cpu=cpu))
    assert (verdict.decision.to, verdict.decision.reason) == (2, Reason.NOT_FEASIBLE)


def test_a_scale_down_metric_is_no_reason_to_keep_replicas_by_feasibility():
    """It has its veto; its load is not predicted."""
    metrics = (QUEUE, replace(CPU, use_for=UseFor.SCALE_DOWN, target=0.1))
    cpu = per_pod({"a": 0.03, "b": 0.03, "c": 0.03, "d": 0.03})
    assert (
        decide(policy(metrics=metrics), ScalingState(), seen(4, queue=0, cpu=cpu)).decision.to == 2
    )


def test_one_pod_at_seventy_percent_and_two_at_fifty_five_never_swing():
    """Target 60 %: the textbook case of an endless swing between one and two."""
    cpu_60 = replace(CPU, target=0.6)
    story = Story(policy(metrics=(cpu_60,)), current=1)
    numbers = []
    for now in range(0, 3600, 15):
        values = {"a": 0.7} if story.current == 1 else {"a": 0.55, "b": 0.55}
        story.cycle(now, cpu=per_pod(values, now=now))
        numbers.append(story.current)
    assert numbers == [2] * len(numbers)

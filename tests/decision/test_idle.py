"""Scale to zero and back: never while one request is in the system."""

from dataclasses import replace

import pytest

from autoscaler.decision.clocks import why_not_idle
from autoscaler.decision.model import Fallback, Pod
from autoscaler.decision.quality import read_metrics
from autoscaler.decision.words import FallbackBehavior, Reason, Stage, UseFor
from tests.decision.build import (
    CPU,
    QUEUE,
    Story,
    at,
    missing,
    one,
    per_pod,
    percent_per,
    policy,
    running,
    seconds,
    seen,
)

EMPTY = {"min_replicas": 0, "idle_period": seconds(600)}
"""What a target needs that may have no replica at all."""


def idle(*names):
    """Return ready pods without a request."""
    return tuple(replace(pod, in_flight=0) for pod in running(*names))


def test_the_last_replica_goes_after_the_idle_period():
    """Ten minutes of nothing, to the second; the others go at once."""
    story = Story(policy(**EMPTY), current=3)
    first = story.cycle(0, queue=0)
    assert (first.decision.to, first.decision.reason) == (1, Reason.BELOW_TARGET)
    step = next(step for step in first.steps if step.stage is Stage.IDLE)
    assert (step.from_, step.to, step.detail) == (0, 1, "idle for 0s of 600s")
    held = story.cycle(599, queue=0)
    assert (held.decision.to, held.decision.reason) == (1, Reason.NOT_IDLE)
    gone = story.cycle(600, queue=0).decision
    assert (gone.to, gone.reason) == (0, Reason.BELOW_TARGET)
    assert story.cycle(605, queue=0).decision.reason is Reason.WITHIN_TOLERANCE


def test_one_request_starts_the_idle_period_anew():
    """Half a session is not nothing."""
    story = Story(policy(**EMPTY), current=1)
    story.cycle(0, queue=0)
    story.cycle(300, queue=0.5)
    assert story.state.idle_since is None
    story.cycle(305, queue=0)
    assert story.cycle(899, queue=0).decision.to == 1
    assert story.cycle(905, queue=0).decision.to == 0


def test_from_zero_the_held_requests_bring_replicas_back():
    """What the gateway holds asks for as many as it needs, as fast as the rates allow."""
    story = Story(policy(**EMPTY, up_policies=(percent_per(100, 15),)), current=0)
    assert story.cycle(0, queue=0).decision.to == 0
    assert story.cycle(5, queue=1).decision.to == 1
    assert story.cycle(10, queue=1.6).decision.to == 1
    assert story.cycle(25, queue=1.6).decision.to == 2


def test_a_pod_with_requests_keeps_the_last_replica_whatever_the_totals_say():
    """One that is being deleted, too: its people may come back."""
    story = Story(policy(**EMPTY), current=1)
    busy = (*idle("a"), Pod(name="b", deleting=True, in_flight=1))
    story.cycle(0, queue=0, pods=busy)
    held = story.cycle(600, queue=0, pods=busy)
    assert (held.decision.to, held.decision.reason) == (1, Reason.NOT_IDLE)
    assert held.steps[-1].detail == "b has requests in flight"
    assert story.cycle(605, queue=0, pods=idle("a")).decision.to == 1
    assert story.cycle(1205, queue=0, pods=idle("a")).decision.to == 0


@pytest.mark.parametrize("answer", [missing(), one(0, age=60)])
def test_what_is_not_known_is_not_idle(answer):
    """A missing total ends the stretch."""
    story = Story(policy(**EMPTY), current=1)
    story.cycle(0, queue=0)
    story.cycle(300, queue=answer)
    assert story.state.idle_since is None
    story.cycle(305, queue=0)
    assert story.cycle(600, queue=0).decision.to == 1


def test_not_even_the_fallback_takes_the_last_replica():
    """Nobody knows whether somebody is there."""
    fall = Fallback(behavior=FallbackBehavior.STATIC, replicas=0)
    story = Story(policy(**EMPTY, fallback=fall), current=2)
    story.cycle(0, queue=missing())
    verdict = story.cycle(900, queue=missing())
    assert (verdict.decision.to, verdict.decision.reason) == (1, Reason.HOLD_EXPIRED)
    last = story.cycle(2000, queue=missing())
    assert (last.decision.to, last.decision.reason) == (1, Reason.NOT_IDLE)
    assert last.steps[-1].detail == "queue_depth is Failed"


def test_what_an_idle_process_uses_does_not_keep_the_last_replica():
    """CPU is never zero; with nothing in the system it needs no replica of its own."""
    story = Story(policy(**EMPTY, metrics=(QUEUE, CPU)), current=2)
    for now, to in ((0, 1), (300, 1), (600, 0)):
        cpu = per_pod(dict.fromkeys("ab"[: story.current], 0.002), now=now)
        assert story.cycle(now, queue=0, cpu=cpu).decision.to == to


def test_what_an_idle_process_uses_keeps_it_while_somebody_is_there():
    """A request in flight, and not one whole replica's worth of anything."""
    story = Story(policy(**EMPTY, metrics=(QUEUE, CPU)), current=1)
    verdict = story.cycle(0, queue=0.1, cpu=per_pod({"a": 0.002}))
    assert verdict.decision.to == 1
    scale_down = replace(QUEUE, use_for=UseFor.SCALE_UP)
    story = Story(policy(**EMPTY, metrics=(scale_down, CPU)), current=1)
    assert story.cycle(0, queue=0.1, cpu=per_pod({"a": 0.002})).decision.to == 1


def test_real_work_without_a_request_keeps_the_last_replica():
    """Who uses the CPU is not known, and it is in use."""
    story = Story(policy(**EMPTY, metrics=(QUEUE, CPU)), current=1)
    story.cycle(0, queue=0, cpu=per_pod({"a": 0.7}))
    assert story.cycle(600, queue=0, cpu=per_pod({"a": 0.7}, now=600)).decision.to == 1


def test_windows_and_the_idle_period_run_side_by_side():
    """The longer of both counts, not their sum."""
    story = Story(policy(**EMPTY, down_stabilization_window=seconds(300)), current=1)
    story.cycle(0, queue=0.8)
    story.cycle(5, queue=0)
    story.cycle(306, queue=0)
    assert story.cycle(604, queue=0).decision.to == 1
    assert story.cycle(605, queue=0).decision.to == 0


def test_a_time_that_nobody_watched_is_not_idle_time():
    """The process stood still for an hour, or the clock jumped."""
    story = Story(policy(**EMPTY), current=1)
    story.cycle(0, queue=0)
    assert story.cycle(3600, queue=0).decision.to == 1
    assert story.state.idle_since == at(3600)
    assert story.cycle(4200, queue=0).decision.to == 0


def test_a_positive_minimum_needs_no_idle_period():
    """The bound is the reason, not the wait; the clock is there for those who look."""
    story = Story(policy(min_replicas=1, idle_period=seconds(600)), current=1)
    assert story.cycle(0, queue=0).decision.reason is Reason.AT_MINIMUM
    assert story.state.idle_since == at(0)


def test_without_an_idle_period_the_last_replica_goes_with_the_load():
    """As records say that were written before there was one."""
    story = Story(policy(min_replicas=0), current=1)
    assert story.cycle(0, queue=0).decision.to == 0


def test_a_pod_metric_alone_never_shows_that_nothing_is_in_the_system():
    """CPU counts no requests."""
    given = policy(**EMPTY, metrics=(CPU,))
    story = Story(given, current=1)
    verdict = story.cycle(0, cpu=per_pod({"a": 0.0}))
    assert (verdict.decision.to, verdict.decision.reason) == (1, Reason.NOT_IDLE)
    assert "no metric counts" in verdict.steps[-1].detail


def test_samples_of_pods_that_have_gone_bring_nothing_back():
    """With no replica asked for, what a dying pod still uses is nobody's load."""
    story = Story(policy(**EMPTY, metrics=(QUEUE, CPU)), current=0)
    verdict = story.cycle(0, queue=0, cpu=per_pod({"a": 0.9}))
    assert (verdict.decision.to, verdict.readings[1].detail) == (0, "no replica")


def test_why_it_is_not_idle_is_told_in_one_word():
    """Zero, whole, and nobody in flight: then there is nothing to tell."""
    story = Story(policy(**EMPTY), current=1)
    for queue, told in ((0, ""), (2, "queue_depth is 2"), (missing(), "queue_depth is Failed")):
        observation = seen(1, queue=queue)
        readings = read_metrics(story.policy, story.state, observation)
        assert why_not_idle(observation, readings) == told

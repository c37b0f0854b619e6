"""Replicas that have requests and do nothing: noticed, told, first to go, replaced one by one."""

import math
from dataclasses import replace

import pytest

from autoscaler.decision.cycle import judge
from autoscaler.decision.decide import decide
from autoscaler.decision.model import ForeignWrite, Metric, Pod, Samples
from autoscaler.decision.words import Direction, MetricType, PodPhase, Reason, Stage
from tests.decision.build import (
    CPU,
    QUEUE,
    Story,
    at,
    missing,
    pending,
    per_pod,
    policy,
    running,
    seconds,
    seen,
)

GIVEN = policy(metrics=(QUEUE, CPU), stuck_after=seconds(300))
RESTART = replace(GIVEN, restart_stuck=True)


def pods(**in_flight):
    """Return ready pods with so many requests each."""
    return tuple(Pod(name=name, created=at(-3600), in_flight=n) for name, n in in_flight.items())


def use(now, **values):
    """Return the CPU use of the pods."""
    return per_pod(values, now=now)


TWO = pods(a=1, b=1)


def watch(story, *times, queue=1.6, pods=TWO, **values):
    """Run cycles in which the pods use so much; return the last verdict.

    Until the last one the queue is what the replicas there are can carry.
    """
    values = values or {"a": 0.01, "b": 0.4}
    for now in times:
        load = queue if now == times[-1] else 0.8 * story.current
        verdict = story.cycle(now, queue=load, pods=pods, cpu=use(now, **values))
    return verdict


def names_stuck(verdict):
    """Return what the step of this stage says."""
    return [step.detail for step in verdict.steps if step.stage is Stage.STUCK]


def test_requests_in_flight_and_no_use_for_the_time_make_a_replica_stuck():
    """Five minutes, to the second; the step names it and changes nothing."""
    story = Story(GIVEN, current=2)
    assert names_stuck(watch(story, 0, 299)) == []
    before = story.state
    verdict = watch(story, 300)
    assert names_stuck(verdict) == ["requests in flight and no use: a"]
    observation = seen(2, now=300, queue=1.6, pods=TWO, cpu=use(300, a=0.01, b=0.4))
    assert judge(GIVEN, before, observation).stuck == ("a",)
    step = next(step for step in verdict.steps if step.stage is Stage.STUCK)
    assert (step.from_, step.to, step.reason) == (2, 2, Reason.REPLICA_STUCK)


def test_a_twentieth_of_the_target_is_no_use_and_a_hair_more_is():
    """The edge is inside; above it the clock ends."""
    story = Story(GIVEN, current=2)
    assert names_stuck(watch(story, 0, 300, a=0.7 / 20, b=0.4))
    story = Story(GIVEN, current=2)
    assert not names_stuck(watch(story, 0, 300, a=0.7 / 20 + 1e-6, b=0.4))
    assert not story.state.stuck


@pytest.mark.parametrize(
    ("between", "values"),
    [
        pytest.param(pods(a=0, b=1), {"a": 0.01, "b": 0.4}, id="no-request"),
        pytest.param(TWO, {"a": 0.5, "b": 0.4}, id="use"),
        pytest.param(pods(b=1), {"b": 0.4}, id="gone"),
        pytest.param(
            (Pod(name="a", deleting=True, in_flight=1), *pods(b=1)), {"a": 0.01}, id="deleting"
        ),
    ],
)
def test_any_sign_of_life_ends_the_clock(between, values):
    """And it begins anew afterwards."""
    story = Story(GIVEN, current=2)
    watch(story, 0)
    watch(story, 200, pods=between, **values)
    assert not names_stuck(watch(story, 205, 300, 499))
    assert names_stuck(watch(story, 505))


@pytest.mark.parametrize(
    ("seen_pods", "cpu"),
    [
        pytest.param(running("a", "b"), {"a": 0.01, "b": 0.4}, id="nobody-knows-the-requests"),
        pytest.param(TWO, None, id="metric-missing"),
        pytest.param(TWO, {"b": 0.4}, id="no-sample"),
        pytest.param(TWO, {"a": math.nan, "b": 0.4}, id="no-number"),
        pytest.param(TWO, {"a": -1, "b": 0.4}, id="negative"),
        pytest.param(
            (Pod(name="a", ready=False, in_flight=1), *pods(b=1)), {"a": 0.01}, id="not-ready"
        ),
        pytest.param(
            (Pod(name="a", phase=PodPhase.UNKNOWN, in_flight=1), *pods(b=1)),
            {"a": 0.01},
            id="not-running",
        ),
    ],
)
def test_what_is_not_known_keeps_the_clock_and_concludes_nothing(seen_pods, cpu):
    """Neither a sign of life nor a proof."""
    story = Story(GIVEN, current=2)
    watch(story, 0)
    answer = missing() if cpu is None else per_pod(cpu, now=300)
    verdict = story.cycle(300, queue=1.6, pods=seen_pods, cpu=answer)
    assert not names_stuck(verdict)
    assert names_stuck(watch(story, 305))


def test_old_and_double_samples_prove_nothing():
    """One fresh sample for each pod and metric."""
    for answer in (
        per_pod({"a": 0.01}, now=300, age=31),
        Samples(samples=(*per_pod({"a": 0.01}, now=300).samples * 2,)),
    ):
        story = Story(GIVEN, current=2)
        watch(story, 0)
        assert not names_stuck(story.cycle(300, queue=1.6, pods=TWO, cpu=answer))


def test_without_a_request_nobody_is_looked_at():
    """Idle is what an idle replica should be."""
    story = Story(GIVEN, current=2)
    assert not names_stuck(watch(story, 0, 300, pods=pods(a=0, b=0), a=0.0, b=0.0))
    assert not story.state.stuck


def test_every_pod_metric_must_show_no_use():
    """What another metric sees is life."""
    gpu = Metric(name="gpu", type=MetricType.POD, target=1)
    story = Story(policy(metrics=(QUEUE, CPU, gpu), stuck_after=seconds(300)), current=1)
    for now, value, stuck in ((0, 0.5, False), (300, 0.5, False), (305, 0, False), (605, 0, True)):
        observation = seen(1, now=now, queue=0.8, pods=pods(a=1), cpu=use(now, a=0.01))
        metrics = {**observation.metrics, "gpu": per_pod({"a": value}, now=now)}
        verdict = decide(story.policy, story.state, replace(observation, metrics=metrics))
        story.state = verdict.state
        assert bool(names_stuck(verdict)) is stuck


def test_without_a_pod_metric_or_without_the_time_nothing_is_ever_stuck():
    """There is nothing to see it by, or nobody wants it."""
    for given in (policy(stuck_after=seconds(300)), replace(GIVEN, stuck_after=None)):
        story = Story(given, current=2)
        assert not names_stuck(watch(story, 0, 300, 600))
        assert not story.state.stuck


def test_a_time_that_nobody_watched_does_not_make_a_replica_stuck():
    """The process stood still for an hour, or the clock jumped."""
    story = Story(GIVEN, current=2)
    watch(story, 0)
    assert not names_stuck(watch(story, 3600))
    assert story.state.stuck == {"a": at(3600)}


def test_a_stuck_replica_is_no_capacity():
    """Two are needed and one of two is stuck: three; within tolerance it is two and one."""
    story = Story(GIVEN, current=2)
    assert watch(story, 0, 295).decision.to == 2
    verdict = watch(story, 300)
    assert (verdict.decision.to, verdict.decision.reason) == (3, Reason.ABOVE_TARGET)
    assert "1 stuck on top" in verdict.steps[1].detail
    more = pods(a=1, b=1, c=0)
    assert watch(story, 305, pods=more, a=0.01, b=0.6, c=0.3).decision.to == 3


def test_its_samples_are_left_out():
    """The mean is that of the one that works: 1.4 asks for two, and one stuck on top."""
    only_cpu = replace(GIVEN, metrics=(CPU,))
    story = Story(only_cpu, current=2)
    verdict = watch(story, 0, 300, a=0.0, b=1.4)
    assert (verdict.readings[0].counted, verdict.readings[0].load) == (1, 1.4)
    assert verdict.decision.to == 3


def test_the_bounds_hold_all_the_same():
    """Never above the maximum."""
    story = Story(replace(GIVEN, max_replicas=2), current=2)
    verdict = watch(story, 0, 300)
    assert (verdict.decision.to, verdict.decision.reason) == (2, Reason.AT_MAXIMUM)


def test_survivors_are_counted_without_it():
    """Three working ones at 0.5 may shrink to two and the stuck one, not to two with it."""
    story = Story(replace(GIVEN, metrics=(CPU,)), current=4)
    four = pods(a=1, b=0, c=1, d=1)
    verdict = watch(story, 0, 300, pods=four, a=0.03, b=0.75, c=0.75, d=0.75)
    assert (verdict.decision.to, verdict.decision.victims) == (4, ())
    verdict = watch(story, 305, pods=four, a=0.0, b=0.5, c=0.5, d=0.5)
    assert (verdict.decision.to, verdict.decision.victims) == (4, ())
    verdict = watch(story, 310, pods=four, a=0.0, b=0.4, c=0.4, d=0.4)
    assert (verdict.decision.to, verdict.decision.victims) == (3, ("a",))


def test_it_goes_before_those_with_fewer_requests():
    """First among the ready ones; the step says why."""
    story = Story(GIVEN, current=3)
    verdict = watch(story, 0, 300, queue=0.8, pods=pods(a=3, b=0, c=1), a=0.0, b=0.1, c=0.3)
    assert (verdict.decision.to, verdict.decision.victims) == (2, ("a",))
    assert verdict.steps[-1].detail == "a stuck (3 in flight)"


def test_all_replicas_stuck_are_no_capacity_at_all():
    """What is asked for comes on top of all of them, although nobody has a sample."""
    story = Story(GIVEN, current=2)
    verdict = watch(story, 0, 300, a=0.0, b=0.0)
    assert verdict.decision.to == 4


# --- replaced -----------------------------------------------------------------------------------

CALM = {"queue": 0.8}
"""One working replica is what is needed, so that the decision holds."""


def replaced(verdict):
    """Return the pod that is replaced."""
    decision = verdict.decision
    assert (decision.replace is None) or decision.direction is Direction.HOLD
    return decision.replace


def test_a_stuck_replica_is_replaced_where_that_is_wanted():
    """The number stays; the reason says why."""
    assert replaced(watch(Story(GIVEN, current=2), 0, 300, **CALM)) is None
    verdict = watch(Story(RESTART, current=2), 0, 300, **CALM)
    assert (replaced(verdict), verdict.decision.reason) == ("a", Reason.REPLICA_STUCK)
    assert (verdict.decision.to, verdict.decision.victims) == (2, ())


def test_only_a_decision_that_holds_replaces():
    """Growing comes first."""
    verdict = watch(Story(RESTART, current=2), 0, 300)
    assert (verdict.decision.to, replaced(verdict)) == (3, None)


def test_the_last_ready_replica_is_never_replaced():
    """Whatever it does, there is none beside it."""
    assert replaced(
        watch(Story(replace(RESTART, max_replicas=2), current=2), 0, 300, a=0, b=0)
    ) is (None)
    one = Story(replace(RESTART, max_replicas=1), current=1)
    assert replaced(watch(one, 0, 300, pods=pods(a=1), a=0.0)) is None


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Pod(name="x", deleting=True), id="deleting"),
        pytest.param(pending("x")[0], id="pending"),
        pytest.param(Pod(name="x", ready=False), id="unready"),
        pytest.param(Pod(name="x", phase=PodPhase.UNKNOWN), id="unknown"),
    ],
)
def test_one_at_a_time(other):
    """While any pod is on a way, nobody else is sent."""
    story = Story(RESTART, current=2)
    verdict = watch(story, 0, 300, pods=(*TWO, other), **CALM)
    assert names_stuck(verdict)
    assert replaced(verdict) is None


def test_pods_that_are_left_over_stand_in_nobodys_way():
    """An evicted one may lie about for days."""
    left = (Pod(name="x", phase=PodPhase.FAILED, ready=False),)
    story = Story(RESTART, current=2)
    assert replaced(watch(story, 0, 300, pods=TWO + left, **CALM)) == "a"


def test_a_pod_that_is_not_yet_created_is_on_a_way_too():
    """Three are asked for and two are listed."""
    story = Story(replace(RESTART, min_replicas=3), current=3)
    assert replaced(watch(story, 0, 300, **CALM)) is None


def test_the_longest_stuck_goes_first():
    """Then the next, once the new one is ready."""
    story = Story(RESTART, current=3)
    three = pods(a=1, b=1, c=1)
    watch(story, 0, queue=2.4, pods=three, a=0.4, b=0.0, c=0.4)
    verdict = watch(story, 5, 250, 305, pods=three, a=0.0, b=0.0, c=0.4, **CALM)
    assert names_stuck(verdict) == ["requests in flight and no use: b, a"]
    assert replaced(verdict) == "b"


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param({"paused": True}, id="paused"),
        pytest.param({"foreign_write": ForeignWrite(manager="kubectl")}, id="conflict"),
    ],
)
def test_nobody_is_replaced_while_somebody_else_is_at_work(rest):
    """A pause and a conflict hold everything."""
    story = Story(RESTART, current=2)
    watch(story, 0)
    cpu = use(300, a=0.01, b=0.4)
    verdict = story.cycle(300, pods=TWO, cpu=cpu, **CALM, **rest)
    assert names_stuck(verdict)
    assert replaced(verdict) is None


def test_a_pause_of_one_direction_lets_it_be_replaced():
    """The number stays in both directions."""
    story = Story(RESTART, current=2)
    watch(story, 0)
    cpu = use(300, a=0.01, b=0.4)
    paused = {"paused_direction": Direction.UP}
    verdict = story.cycle(300, pods=TWO, cpu=cpu, **CALM, **paused)
    assert replaced(verdict) == "a"


def test_a_time_of_nothing_cannot_be_built():
    """Zero is said by None."""
    with pytest.raises(ValueError, match='stuck_after = "0:00:00", must be above 0'):
        policy(stuck_after=seconds(0))

"""Each metric's answer is judged, and what is missing may hold the number for so long."""

import math
from dataclasses import replace

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.model import Fallback, Metric, Pod, Sample, Samples, ScalingState
from autoscaler.decision.words import (
    Direction,
    FallbackBehavior,
    MetricType,
    OnEmpty,
    Reason,
    UseFor,
)
from tests.decision.build import (
    CPU,
    QUEUE,
    Story,
    at,
    missing,
    one,
    pending,
    per_pod,
    policy,
    running,
    seconds,
    seen,
)

BOTH = policy(metrics=(QUEUE, CPU))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(missing("Failed"), Reason.METRIC_FAILED, id="failed"),
        pytest.param(missing("Stale"), Reason.METRIC_STALE, id="told-stale"),
        pytest.param(missing("Empty"), Reason.METRIC_EMPTY, id="told-empty"),
        pytest.param(missing("NotANumber"), Reason.METRIC_NOT_A_NUMBER, id="told-nan"),
        pytest.param(missing("TooManySeries"), Reason.TOO_MANY_SERIES, id="told-too-many"),
        pytest.param(Samples(samples=()), Reason.METRIC_EMPTY, id="no-series"),
        pytest.param(one(0.0, age=30.001), Reason.METRIC_STALE, id="older-than-max-age"),
        pytest.param(one(math.nan), Reason.METRIC_NOT_A_NUMBER, id="nan"),
        pytest.param(one(math.inf), Reason.METRIC_NOT_A_NUMBER, id="infinite"),
        pytest.param(one(-0.5), Reason.METRIC_NOT_A_NUMBER, id="negative"),
        pytest.param(
            Samples(samples=one(0.0).samples * 2), Reason.TOO_MANY_SERIES, id="two-series"
        ),
    ],
)
def test_an_unusable_answer_holds_and_names_its_own_reason(answer, reason):
    """Nothing moves on a metric that cannot be read, and the decision says which way it failed."""
    verdict = decide(policy(), ScalingState(), seen(6, queue=answer))
    assert (verdict.decision.to, verdict.decision.reason) == (6, reason)


def test_a_metric_that_the_observation_lacks_has_failed():
    """A configured metric without any answer counts as failed, not as nothing to do."""
    verdict = decide(policy(), ScalingState(), seen(6))
    assert verdict.decision.reason is Reason.METRIC_FAILED
    assert verdict.decision.to == 6


def test_a_sample_exactly_as_old_as_max_age_is_fresh():
    """The edge belongs to the fresh side."""
    assert decide(policy(), ScalingState(), seen(6, queue=one(0.0, age=30))).decision.to == 1


def test_a_sample_from_the_future_is_fresh():
    """A clock that runs ahead on the other side does not make a number useless."""
    assert decide(policy(), ScalingState(), seen(6, queue=one(0.0, age=-5))).decision.to == 1


@pytest.mark.parametrize("answer", [missing("Empty"), Samples(samples=())])
def test_empty_is_zero_only_where_the_metric_says_so(answer):
    """`on_empty: zero` turns an empty answer into a measured nothing."""
    zero = policy(metrics=(replace(QUEUE, on_empty=OnEmpty.ZERO),))
    assert decide(zero, ScalingState(), seen(6, queue=answer)).decision.to == 1


def test_empty_per_pod_metric_may_be_declared_zero_too():
    """For a per-pod metric the declared zero counts for every ready pod."""
    zero = policy(metrics=(replace(CPU, on_empty=OnEmpty.ZERO),))
    for pods in (None, running("a", "b", "c")):
        verdict = decide(zero, ScalingState(), seen(3, cpu=missing("Empty"), pods=pods))
        assert verdict.decision.to == 1


def test_a_declared_zero_waits_for_a_ready_pod():
    """While all replicas are starting nothing is known of their load."""
    zero = policy(metrics=(replace(CPU, on_empty=OnEmpty.ZERO),))
    assert decide(zero, ScalingState(), seen(3, ready=0, cpu=missing("Empty"))).decision.to == 3


def test_without_replicas_a_per_pod_metric_is_not_missing():
    """There is no pod to have a sample, so the hold clock does not run and no fallback starts."""
    story = Story(policy(min_replicas=0, metrics=(QUEUE, CPU)), current=0)
    verdict = story.cycle(0, queue=0, cpu=missing("Empty"))
    assert (verdict.decision.to, verdict.decision.reason) == (0, Reason.WITHIN_TOLERANCE)
    assert not story.state.holds


def test_a_missing_metric_blocks_shrinking_but_not_growing():
    """The other metric may still ask for more, and only for more."""
    up = decide(BOTH, ScalingState(), seen(2, queue=4, cpu=missing()))
    down = decide(BOTH, ScalingState(), seen(6, queue=0, cpu=missing()))
    assert up.decision.to == 5
    assert (down.decision.to, down.decision.reason) == (6, Reason.METRIC_FAILED)


@pytest.mark.parametrize("use_for", list(UseFor))
def test_a_missing_metric_blocks_shrinking_whatever_it_is_used_for(use_for):
    """Also a metric that never asks to shrink is needed to shrink safely."""
    metrics = (QUEUE, replace(CPU, use_for=use_for))
    verdict = decide(policy(metrics=metrics), ScalingState(), seen(6, queue=0, cpu=missing()))
    assert verdict.decision.to == 6


# --- per-pod answers --------------------------------------------------------------------------

PODS = policy(metrics=(CPU,))


def test_two_series_for_one_pod_are_too_many():
    """One pod, one number."""
    double = Samples(samples=per_pod({"a": 0.1}).samples * 2)
    verdict = decide(PODS, ScalingState(), seen(1, cpu=double))
    assert verdict.decision.reason is Reason.TOO_MANY_SERIES


def test_two_series_for_a_pod_that_does_not_serve_spoil_nothing():
    """It is ignored before anything is counted."""
    pods = (*running("a", "b"), Pod(name="x", deleting=True))
    cpu = Samples(samples=(*per_pod({"a": 1.4, "b": 1.4}).samples, *per_pod({"x": 9}).samples * 2))
    assert decide(PODS, ScalingState(), seen(2, cpu=cpu, pods=pods)).decision.to == 4


def test_a_series_without_the_label_pod_has_failed():
    """A number that belongs to nobody cannot be shared out."""
    verdict = decide(PODS, ScalingState(), seen(3, cpu=one(0.0)))
    assert (verdict.decision.to, verdict.decision.reason) == (3, Reason.METRIC_FAILED)


def test_samples_of_pods_that_do_not_serve_are_ignored():
    """Deleting, finished, unready and unknown pods neither add load nor spoil the answer."""
    pods = (
        *running("a", "b"),
        Pod(name="going", deleting=True),
        Pod(name="done", phase="Succeeded", ready=False),
        Pod(name="warming", ready=False),
    )
    values = {"a": 0.7, "b": 0.7, "going": 9, "done": 9, "warming": math.nan, "stranger": 9}
    verdict = decide(PODS, ScalingState(), seen(2, cpu=per_pod(values), pods=pods))
    assert verdict.decision.to == 2
    assert verdict.readings[0].quality == "Fresh"


def test_only_samples_of_pods_that_do_not_serve_are_an_empty_answer():
    """Nothing is known of the pods that matter."""
    cpu = per_pod({"x": 0.0})
    verdict = decide(PODS, ScalingState(), seen(3, cpu=cpu, pods=running("a", "b", "c")))
    assert (verdict.decision.to, verdict.decision.reason) == (3, Reason.METRIC_EMPTY)


def test_one_stale_pod_makes_the_answer_partial_and_all_stale_make_it_stale():
    """A stale pod sample makes that pod missing; with none left the metric is."""
    fresh, old = per_pod({"a": 0.0}).samples, per_pod({"b": 0.0}, age=60).samples
    partial = decide(PODS, ScalingState(), seen(2, cpu=Samples(samples=fresh + old)))
    stale = decide(PODS, ScalingState(), seen(1, ready=1, cpu=Samples(samples=old)))
    assert partial.readings[0].quality == "Partial"
    assert stale.decision.reason is Reason.METRIC_STALE


def test_one_pod_that_is_not_a_number_spoils_the_metric():
    """A NaN among pods is not left out: nobody knows what it hides."""
    cpu = per_pod({"a": 0.0, "b": math.nan})
    assert decide(PODS, ScalingState(), seen(2, cpu=cpu)).decision.reason is (
        Reason.METRIC_NOT_A_NUMBER
    )


def test_pods_without_a_sample_count_as_the_target_when_shrinking():
    """Two idle of four known: the unknown two are taken as busy."""
    verdict = decide(PODS, ScalingState(), seen(4, cpu=per_pod({"a": 0.0, "b": 0.0})))
    assert (verdict.decision.to, verdict.readings[0].lacking) == (2, 2)


def test_pods_without_a_sample_count_as_nothing_when_growing():
    """One of three known and far above: grown for that one alone."""
    verdict = decide(PODS, ScalingState(), seen(3, cpu=per_pod({"a": 3.5})))
    assert verdict.decision.to == 5


@pytest.mark.parametrize(
    "values",
    [pytest.param({"a": 1.0}, id="up"), pytest.param({"a": 0.5, "b": 0.5}, id="down")],
)
def test_pods_without_a_sample_never_turn_the_direction_round(values):
    """Filled in, the answer no longer asks for what it asked for: hold, and say it is partial."""
    verdict = decide(PODS, ScalingState(), seen(3, cpu=per_pod(values)))
    assert (verdict.decision.to, verdict.decision.reason) == (3, Reason.METRIC_PARTIAL)


def test_starting_pods_count_as_idle_and_are_not_added_to():
    """Two overloaded, two on their way: no growth on the account of those that start."""
    pods = (*running("a", "b"), *pending("c", "d"))
    cpu = per_pod({"a": 1.4, "b": 1.4})
    verdict = decide(PODS, ScalingState(), seen(4, ready=2, cpu=cpu, pods=pods))
    assert (verdict.decision.to, verdict.decision.reason) == (4, Reason.PODS_PENDING)


def test_load_beyond_ready_and_starting_pods_still_grows():
    """A starting pod is an idle replica, no more."""
    cpu = per_pod({"a": 3.5, "b": 1.4})
    assert decide(PODS, ScalingState(), seen(4, ready=2, cpu=cpu)).decision.to == 7


def test_more_ready_pods_than_asked_for_do_not_grow_the_number():
    """Just after shrinking the old pods still answer: a ratio below target never grows."""
    cpu = per_pod(dict.fromkeys("abcd", 0.53))
    assert decide(PODS, ScalingState(), seen(2, ready=4, cpu=cpu)).decision.to == 2


# --- hold clocks and the fallback -------------------------------------------------------------


def test_after_the_hold_limit_a_missing_metric_loses_its_veto():
    """With another metric whole, shrinking waits for hold_limit and not for ever."""
    story = Story(BOTH, current=6)
    assert story.cycle(0, queue=0, cpu=missing()).decision.to == 6
    assert story.cycle(899, queue=0, cpu=missing()).decision.to == 6
    verdict = story.cycle(900, queue=0, cpu=missing())
    assert verdict.decision.to == 1
    assert Reason.HOLD_EXPIRED in {step.reason for step in verdict.steps}


def test_an_expired_metric_is_no_reason_for_a_hold_that_others_want():
    """The other metric is in its band: that is why nothing moves."""
    story = Story(BOTH, current=2)
    story.cycle(0, queue=1.6, cpu=missing())
    verdict = story.cycle(900, queue=1.6, cpu=missing())
    assert verdict.decision.reason is Reason.WITHIN_TOLERANCE
    assert verdict.steps[0].reason is Reason.HOLD_EXPIRED


def test_a_hold_names_the_metric_that_still_has_its_veto():
    """One has expired, the other not: the other keeps the number."""
    story = Story(BOTH, current=2)
    story.cycle(0, queue=missing("Failed"), cpu=per_pod({"a": 0.7, "b": 0.7}))
    verdict = story.cycle(900, queue=missing("Failed"), cpu=missing("Stale"))
    assert verdict.decision.reason is Reason.METRIC_STALE


def test_one_whole_answer_ends_the_hold_clock():
    """The clock starts anew with the next stretch."""
    story = Story(BOTH, current=6)
    story.cycle(0, queue=0, cpu=missing())
    story.cycle(890, queue=4.8, cpu=per_pod(dict.fromkeys("abcdef", 0.7), now=890))
    assert story.cycle(900, queue=0, cpu=missing()).decision.to == 6


def test_a_partial_answer_neither_starts_nor_ends_the_hold_clock():
    """Usable, but not whole."""
    story = Story(BOTH, current=2)
    story.cycle(0, queue=1.6, cpu=per_pod({"a": 0.7}))
    assert not story.state.holds
    story.cycle(10, queue=1.6, cpu=missing())
    story.cycle(20, queue=1.6, cpu=per_pod({"a": 0.7}, now=20))
    assert story.state.holds == {"cpu_to_limit": at(10)}


def test_an_expired_metric_keeps_its_veto_while_no_other_is_whole():
    """Partial is not whole."""
    story = Story(BOTH, current=3)
    story.cycle(0, queue=missing(), cpu=per_pod(dict.fromkeys("abc", 0.7)))
    verdict = story.cycle(2000, queue=missing(), cpu=per_pod({"a": 0, "b": 0}, now=2000))
    assert verdict.decision.to == 3


@pytest.mark.parametrize(
    ("behavior", "replicas", "to"),
    [
        (FallbackBehavior.CURRENT_REPLICAS, None, 4),
        (FallbackBehavior.STATIC, 2, 2),
        (FallbackBehavior.STATIC, 9, 9),
        (FallbackBehavior.CURRENT_IF_HIGHER, 2, 4),
        (FallbackBehavior.CURRENT_IF_HIGHER, 9, 9),
        (FallbackBehavior.CURRENT_IF_LOWER, 2, 2),
        (FallbackBehavior.CURRENT_IF_LOWER, 9, 4),
    ],
)
def test_once_no_metric_is_left_the_fallback_gives_the_number(behavior, replicas, to):
    """KEDA's behaviours, after hold_limit without any metric."""
    story = Story(policy(fallback=Fallback(behavior=behavior, replicas=replicas)), current=4)
    assert story.cycle(0, queue=missing()).decision.to == 4
    verdict = story.cycle(900, queue=missing())
    assert (verdict.decision.to, verdict.decision.reason) == (to, Reason.HOLD_EXPIRED)


def test_the_fallback_waits_for_the_last_metric_and_passes_the_later_stages():
    """One metric still inside its limit holds; then the fallback obeys windows and bounds."""
    fall = Fallback(behavior=FallbackBehavior.STATIC, replicas=99)
    story = Story(policy(metrics=(QUEUE, CPU), fallback=fall, max_replicas=8), current=4)
    story.cycle(0, queue=missing(), cpu=per_pod(dict.fromkeys("abcd", 0.7)))
    story.cycle(500, queue=missing(), cpu=missing())
    assert story.cycle(1000, queue=missing(), cpu=missing()).decision.to == 4
    last = story.cycle(1400, queue=missing(), cpu=missing()).decision
    assert (last.to, last.direction, last.reason) == (8, Direction.UP, Reason.HOLD_EXPIRED)


def test_a_fallback_does_not_take_turns_with_what_is_half_known():
    """A partial answer leaves it, and it is entered again only after another hold limit."""
    fall = Fallback(behavior=FallbackBehavior.STATIC, replicas=9)
    story = Story(policy(metrics=(CPU,), fallback=fall), current=4)
    story.cycle(0, cpu=missing())
    assert story.cycle(900, cpu=missing()).decision.to == 9
    half = per_pod({"a": 0.0, "b": 0.0}, now=905)
    story.cycle(905, cpu=half, ready=4)
    assert story.current == 2
    for now in (910, 1000, 1804):
        assert story.cycle(now, cpu=missing()).decision.to == 2
    assert story.cycle(1805, cpu=missing()).decision.to == 9


def test_a_fallback_is_left_with_the_first_whole_answer_and_entered_after_the_limit():
    """Prometheus answers once in a while: no turns, either."""
    fall = Fallback(behavior=FallbackBehavior.STATIC, replicas=5)
    story = Story(policy(fallback=fall), current=1)
    story.cycle(0, queue=missing())
    assert story.cycle(900, queue=missing()).decision.to == 5
    moves = []
    for now in range(905, 2000, 5):
        answer = one(0.8, now=now) if now % 100 == 5 else missing()
        moves.append(story.cycle(now, queue=answer).decision.to)
    assert moves[0] == 1
    assert set(moves) == {1}


def test_a_ratio_that_turns_nan_when_traffic_stops_does_not_pin_the_size_for_ever():
    """The other metric says that nothing is there; after the limit that is enough."""
    story = Story(BOTH, current=6)
    nan = per_pod(dict.fromkeys("abcdef", math.nan))
    assert story.cycle(0, queue=0, cpu=nan).decision.reason is Reason.METRIC_NOT_A_NUMBER
    late = per_pod(dict.fromkeys("abcdef", math.nan), now=900)
    assert story.cycle(900, queue=0, cpu=late).decision.to == 1


def test_where_the_ratio_is_the_only_metric_the_fallback_lets_the_size_go():
    """The operator says what a time without a number means."""
    fall = Fallback(behavior=FallbackBehavior.CURRENT_IF_LOWER, replicas=2)
    story = Story(policy(metrics=(CPU,), fallback=fall), current=6)
    nan = per_pod(dict.fromkeys("abcdef", math.nan))
    assert story.cycle(0, cpu=nan).decision.to == 6
    assert story.cycle(900, cpu=missing("NotANumber")).decision.to == 2


def test_an_exporter_that_dies_under_load_shrinks_nothing():
    """What is left says that there is load, before and after the limit."""
    story = Story(BOTH, current=6)
    for now in (0, 600, 1200, 86_400):
        cpu = per_pod(dict.fromkeys("abcdef", 0.7), now=now)
        assert story.cycle(now, queue=missing(), cpu=cpu).decision.to == 6
    for now in (86_405, 90_000, 100_000):
        assert story.cycle(now, queue=missing(), cpu=missing()).decision.to == 6


def test_a_pods_name_from_outside_stays_on_its_line():
    """Labels are what somebody else wrote."""
    double = Samples(samples=per_pod({"a\nb": 0.1}).samples * 2)
    verdict = decide(PODS, ScalingState(), seen(1, cpu=double))
    assert verdict.readings[0].detail == '2 series for pod "a\\nb"'


def test_hold_limit_zero_never_vetoes():
    """An operator may choose not to wait at all."""
    verdict = decide(
        policy(metrics=(QUEUE, CPU), hold_limit=seconds(0)),
        ScalingState(),
        seen(6, queue=0, cpu=missing()),
    )
    assert verdict.decision.to == 1


def test_metric_types_are_values_too():
    """A metric cannot be built without a name, with a target of zero or without an age."""
    for bad in ({"name": ""}, {"target": 0.0}, {"target": math.nan}, {"max_age": seconds(0)}):
        given = {"name": "m", "type": MetricType.TOTAL, "target": 1.0, **bad}
        with pytest.raises(ValueError, match="must"):
            Metric(**given)


def test_a_sample_needs_a_zone():
    """A time without a zone is no time."""
    with pytest.raises(ValueError, match="must have a zone"):
        Sample(value=1, at=at(0).replace(tzinfo=None))

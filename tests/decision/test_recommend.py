"""From load to replicas, and the band in which nothing moves."""

from dataclasses import replace

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.model import ScalingState
from autoscaler.decision.words import Direction, Reason, UseFor
from tests.decision.build import CPU, QUEUE, per_pod, policy, seen


def to(observation, **changes):
    """Decide a first cycle and return where it goes."""
    return decide(policy(**changes), ScalingState(), observation).decision.to


@pytest.mark.parametrize(
    ("current", "load", "expected"),
    [
        pytest.param(2, 5.0, 7, id="up"),
        pytest.param(6, 1.0, 2, id="down"),
        pytest.param(2, 0.0, 1, id="nothing-to-do"),
        pytest.param(2, 4.0, 5, id="exactly-five"),
        pytest.param(2, 4.0 + 7e-10, 5, id="a-rounding-error-above-five"),
        pytest.param(2, 4.0 + 1e-6, 6, id="truly-above-five"),
        pytest.param(2, 1e300, 20, id="absurd"),
    ],
)
def test_total_divides_the_load_by_the_target(current, load, expected):
    """ceil(total / target), where a hair above a whole number is that number."""
    assert to(seen(current, queue=load)) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param((0.9, 0.9), 3, id="up"),
        pytest.param((0.1, 0.1, 0.1), 1, id="down"),
        pytest.param((0.7, 0.7), 2, id="on-target"),
        pytest.param((1.05, 1.05), 3, id="exactly-three"),
        pytest.param((0.0, 0.0), 1, id="idle"),
    ],
)
def test_pod_divides_the_sum_by_the_target(values, expected):
    """ceil(sum / target) over the ready pods."""
    cpu = per_pod({f"p{i}": value for i, value in enumerate(values)})
    assert to(seen(len(values), cpu=cpu), metrics=(CPU,)) == expected


def test_the_largest_of_several_metrics_wins():
    """Whoever needs most gets it."""
    cpu = per_pod({"a": 0.1, "b": 0.1})
    assert to(seen(2, queue=4, cpu=cpu), metrics=(QUEUE, CPU)) == 5


@pytest.mark.parametrize(
    ("load", "moves"),
    [
        pytest.param(8 * 1.1, False, id="upper-edge"),
        pytest.param(8 * 1.1 + 1e-6, True, id="above-it"),
        pytest.param(8 * 0.8, False, id="lower-edge"),
        pytest.param(8 * 0.8 - 1e-6, True, id="below-it"),
    ],
)
def test_within_tolerance_nothing_moves_edges_included(load, moves):
    """Ten replicas at 0.8 each, a band of its own per direction."""
    verdict = decide(policy(), ScalingState(), seen(10, queue=load))
    assert (verdict.decision.to != 10) == moves
    if not moves:
        assert verdict.decision.reason is Reason.WITHIN_TOLERANCE


def test_tolerance_holds_for_each_metric_on_its_own():
    """One metric in its band keeps the replicas although the other asks for fewer."""
    cpu = per_pod(dict.fromkeys("abcdefghij", 0.1))
    assert to(seen(10, queue=7.0, cpu=cpu), metrics=(QUEUE, CPU)) == 10


def test_scale_up_metric_grows_and_never_asks_to_shrink():
    """It neither shrinks alone nor stands in the way of another that shrinks."""
    cpu = replace(CPU, use_for=UseFor.SCALE_UP)
    idle = per_pod(dict.fromkeys("abcdef", 0.1))
    busy = per_pod(dict.fromkeys("abcdef", 1.4))
    assert to(seen(6, cpu=idle), metrics=(cpu,)) == 6
    assert to(seen(6, queue=0.8, cpu=idle), metrics=(QUEUE, cpu)) == 1
    assert to(seen(6, queue=4.8, cpu=busy), metrics=(QUEUE, cpu)) == 12


def test_scale_down_metric_vetoes_shrinking_and_never_grows():
    """It keeps what is there while it is high, and lets go when it is low."""
    cpu = replace(CPU, use_for=UseFor.SCALE_DOWN)
    busy, idle = per_pod(dict.fromkeys("abcdef", 5.0)), per_pod(dict.fromkeys("abcdef", 0.1))
    assert to(seen(6, queue=0.8, cpu=busy), metrics=(QUEUE, cpu)) == 6
    assert to(seen(6, queue=0.8, cpu=idle), metrics=(QUEUE, cpu)) == 1


def test_from_zero_the_load_alone_counts():
    """With min_replicas 0 there is no ratio at zero: ceil(total / target)."""
    zero = {"min_replicas": 0}
    assert to(seen(0, queue=1.0), **zero) == 2
    assert to(seen(0, queue=0.0), **zero) == 0
    assert to(seen(1, queue=0.0), **zero) == 0


def test_a_decision_up_says_above_target_and_down_below_target():
    """The plain reasons, and the direction."""
    up = decide(policy(), ScalingState(), seen(2, queue=5)).decision
    down = decide(policy(), ScalingState(), seen(6, queue=1)).decision
    assert (up.direction, up.reason) == (Direction.UP, Reason.ABOVE_TARGET)
    assert (down.direction, down.reason) == (Direction.DOWN, Reason.BELOW_TARGET)


def test_the_need_that_equals_the_current_replicas_holds():
    """Out of the band but rounded up to what is there."""
    verdict = decide(policy(), ScalingState(), seen(1, queue=0.5))
    assert (verdict.decision.to, verdict.decision.reason) == (1, Reason.WITHIN_TOLERANCE)


def test_tolerance_holds_for_a_metric_that_only_grows():
    """In its band it asks for nothing, alone or beside one that is missing."""
    only_up = replace(QUEUE, use_for=UseFor.SCALE_UP)
    assert to(seen(4, queue=0.8 * 4.2), metrics=(only_up,)) == 4
    assert to(seen(4, queue=0.8 * 4.2), metrics=(only_up, CPU)) == 4
    verdict = decide(policy(metrics=(only_up,)), ScalingState(), seen(4, queue=0.4))
    assert [step.detail for step in verdict.steps] == [
        "no usable metric may ask for another number"
    ]


def test_pods_beyond_the_current_number_are_not_pending():
    """After a cut from outside four answer for two: in the band, and nobody starts."""
    cpu = per_pod(dict.fromkeys("abcd", 0.56))
    verdict = decide(policy(metrics=(CPU,)), ScalingState(), seen(2, ready=4, cpu=cpu))
    assert (verdict.decision.to, verdict.decision.reason) == (2, Reason.WITHIN_TOLERANCE)
    more = per_pod(dict.fromkeys("abcd", 0.2))
    verdict = decide(policy(metrics=(CPU,)), ScalingState(), seen(1, ready=4, cpu=more))
    assert (verdict.decision.to, verdict.decision.reason) == (1, Reason.WITHIN_TOLERANCE)

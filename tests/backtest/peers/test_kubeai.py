"""KubeAI against the figures of its own tests, and figures derived from its source."""

import pytest

from autoscaler.backtest.peers.kubeai import Decider, MovingMean, Timing
from autoscaler.hpa.rules import Bounds
from tests.backtest.peers.tables import cases

KUBEAI = "kubeai.yaml"


@pytest.mark.parametrize("case", cases(KUBEAI, "TestSimple"))
def test_the_moving_mean(case):
    """The mean of the last values, zeros at first."""
    mean = MovingMean([0] * case["seed"])
    assert [mean.add(value) for value in case["values"]][-1] == case["mean"]


@pytest.mark.parametrize("case", cases(KUBEAI, "TestAutoscalingConfig"))
def test_what_its_seconds_come_to(case):
    """Ticks of the mean, and ticks before it shrinks."""
    timing = Timing(*case["timing"])
    assert timing.steps_before_shrinking == case["shrinks_after"]
    assert timing.samples == case["samples"]


@pytest.mark.parametrize("case", cases(KUBEAI, "derived"))
def test_the_number_it_sets(case):
    """Tick by tick."""
    timing = Timing(*case["timing"]) if "timing" in case else Timing()
    bounds = Bounds(case["low"], case["high"])
    decider = Decider(case["target"], bounds, timing, case["mean"])
    replicas = case["start"]
    for requests, expected in case["steps"]:
        replicas = decider.decide(replicas, requests)
        assert replicas == expected

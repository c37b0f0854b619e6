"""KEDA against the figures of its own tests."""

import pytest

from autoscaler.backtest.peers.keda import (
    Fallback,
    ScaledObject,
    Trigger,
    fallback_total,
    hpa_bounds,
    poll,
)
from autoscaler.hpa.rules import Bounds
from tests.backtest.peers.tables import cases

KEDA = "keda.yaml"


@pytest.mark.parametrize("case", cases(KEDA, "executor", "derived"))
def test_from_zero_and_to_it(case):
    """What is set besides what the HPA sets, and what counts as activity."""
    trigger = Trigger(case["active"], case.get("failed", False))
    spec = ScaledObject(created=-1 if "now" not in case else 0, **case["spec"])
    polled = poll(spec, case["current"], case.get("now", 0), case.get("last"), trigger)
    assert polled.replicas == case["expect"]
    assert polled.active == case.get("counts", polled.active)


@pytest.mark.parametrize("case", cases(KEDA, "TestGetHPAReplicas"))
def test_the_bounds_of_its_hpa(case):
    """One to a hundred where nothing else is said."""
    bounds = hpa_bounds(ScaledObject(low=case["low"], high=case["high"]))
    assert bounds == Bounds(*case["expect"])


@pytest.mark.parametrize(
    "case",
    cases(KEDA, "TestFallback", "TestCalculateScalingModifiersFormulaFallbackReplicas"),
)
def test_what_is_told_in_a_failed_metrics_place(case):
    """So much that the HPA comes to the replicas of the fallback."""
    given = case["fallback"]
    fallback = None if given is None else Fallback(*given)
    told = fallback_total(fallback, case["current"], case["target"], case["failures"])
    assert told == case["expect"]

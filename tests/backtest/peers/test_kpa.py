"""Knative's autoscaler against the figures of its own tests."""

from dataclasses import replace

import pytest

from autoscaler.backtest.peers.kpa import (
    Activity,
    Decider,
    Spec,
    bounded,
    target,
    toward_zero,
)
from autoscaler.backtest.peers.kpa_windows import Highest, Means
from autoscaler.hpa.rules import Bounds
from tests.backtest.peers.tables import cases

KPA = "kpa.yaml"
USUAL = Spec(target=10, up_rate=10, down_rate=10)


@pytest.mark.parametrize("case", cases(KPA, "autoscaler", "TestAutoscalerScale", "derived"))
def test_wanted_pods_step_by_step(case):
    """What is wanted, and since when there is panic."""
    decider = Decider(replace(USUAL, **case.get("spec", {})), case.get("ready", 1), now=0)
    if "panic" in case:
        decider.panicking_since, decider.most = case["panic"]
    for place, (now, ready, stable, panic, wanted, *since) in enumerate(case["steps"]):
        decider.spec = replace(decider.spec, **case.get("then", {}).get(place, {}))
        assert decider.scale(now, ready, stable, panic) == wanted
        found = "none" if decider.panicking_since is None else decider.panicking_since
        assert since in ([], [found])


@pytest.mark.parametrize("case", cases(KPA, "TestStartInPanicMode"))
def test_it_begins_in_panic_with_several_pods(case):
    """A restart must not shrink what it knows nothing of."""
    decider = Decider(USUAL, case["ready"], now=0)
    assert (decider.panicking_since is not None) is case["panic"]
    assert decider.most == case["most"]


@pytest.mark.parametrize(
    "case",
    cases(
        KPA,
        "TestTimedFloat64BucketsWindowAverage",
        "TestDescendingRecord",
        "TestTimedFloat64BucketsHoles",
        "TestTimedFloat64BucketsResizeWindow",
    ),
)
def test_means_over_a_window(case):
    """Over the part that has data, whatever order it came in."""
    means = Means(case["window"])
    for now, value in case["write"]:
        means.record(now, value)
    assert [[now, means.mean(now)] for now, _ in case["read"]] == case["read"]


@pytest.mark.parametrize("case", cases(KPA, "TestWindowMax", "TestTimedWindowMax"))
def test_the_highest_of_a_window(case):
    """The maximum of the last five ticks, after each value."""
    highest = Highest(5, 1)
    at = case.get("at", range(len(case["values"])))
    found = [highest.record(now, value) for now, value in zip(at, case["values"], strict=True)]
    assert found == case["expect"]


@pytest.mark.parametrize("case", cases(KPA, "TestResolveMetricTarget"))
def test_what_is_aimed_at(case):
    """A share of what a pod can take at once."""
    assert target(case["concurrency"], case["utilization"]) == pytest.approx(case["target"])


@pytest.mark.parametrize("case", cases(KPA, "TestScaler"))
def test_the_way_to_zero_and_the_bounds(case):
    """Inactive first, then after a time of grace at zero."""
    active = "active" in case
    activity = Activity(active, -case["active" if active else "inactive"], case.get("proxied"))
    usual = replace(USUAL, stable_window=300, grace=60)
    windows = {name: case[name] for name in ("stable_window", "retention") if name in case}
    wanted = bounded(case["wanted"], Bounds(case.get("low", 0), case.get("high", 100)))
    number, now = toward_zero(0, wanted, activity, replace(usual, **windows))
    assert (number, now and number != case["start"]) == (case["expect"], case["set"])

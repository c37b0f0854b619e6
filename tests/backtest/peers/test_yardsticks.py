"""The policies that are only there to measure others by."""

import pytest

from autoscaler.backtest.peers.delayed_off import decide
from autoscaler.backtest.peers.static import busy_at_once, replicas_for
from tests.backtest.peers.tables import cases


@pytest.mark.parametrize("case", cases("static.yaml", "derived"))
def test_how_many_are_busy_at_once(case):
    """At the peak, or for a share of the time."""
    busy = busy_at_once(case["served"], case["share"])
    assert (busy, replicas_for(busy, slots=2)) == (case["busy"], case["replicas"])


@pytest.mark.parametrize("case", cases("delayed_off.yaml", "derived"))
def test_one_more_for_who_finds_none_and_one_less_after_a_time(case):
    """As many as are needed, and whoever has not been idle for long enough."""
    present = case["present"]
    idle = [-doing for doing in present if not isinstance(doing, str)]
    assert decide(0, len(present), idle, case["needed"], case["timeout"]) == case["expect"]

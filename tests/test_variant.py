"""A recorded policy under other values: by the configuration's rules, and nothing else changed."""

from datetime import timedelta

import pytest

from autoscaler.decision.model import Fallback, Schedule
from autoscaler.decision.words import FallbackBehavior, PolicyType
from autoscaler.errors import ConfigError
from autoscaler.settings import load, to_policy, vary
from tests.decision.build import CPU, QUEUE, percent_per, pods_per, policy, seconds
from tests.test_cli import SHIPPED

FULL = policy(
    metrics=(QUEUE, CPU),
    up_policies=(pods_per(4, 15), percent_per(100, 15)),
    schedules=(
        Schedule(name="night", start="0 22 * * *", end="0 6 * * *", min_replicas=1),
        Schedule(name="noon", start="0 12 * * *", end="0 13 * * *", max_replicas=30),
    ),
)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("max_replicas=8", lambda p: p.max_replicas == 8),
        ("scale_down.stabilization_window=10m", lambda p: p.scale_down.stabilization_window
         == timedelta(minutes=10)),
        ("metrics.cpu_to_limit.target=0.5", lambda p: p.metrics[1].target == 0.5),
        ("metrics[0].target=2", lambda p: p.metrics[0].target == 2),
        ("metrics.queue_depth.on_empty=zero", lambda p: p.metrics[0].on_empty == "zero"),
        ("scale_up.policies[0].value=9", lambda p: p.scale_up.policies[0].value == 9),
        ("scale_up.policies.1.period=1m", lambda p: p.scale_up.policies[1].period == seconds(60)),
        ("scale_up.policies=[{type: percent, value: 10, period: 1m}]",
         lambda p: p.scale_up.policies == (percent_per(10, 60),)
         and p.scale_up.policies[0].type is PolicyType.PERCENT),
        ("schedules.night.min_replicas=3", lambda p: p.schedules[0].min_replicas == 3),
        ("schedules=[]", lambda p: p.schedules == ()),
        ("stuck_after=0", lambda p: p.stuck_after is None),
        ("restart_stuck=true", lambda p: p.restart_stuck is True),
        ("idle_period=5m", lambda p: p.idle_period == timedelta(minutes=5)),
    ],
)  # fmt: skip
def test_a_value_takes_the_place_of_another(change, found):
    """As the configuration would say it, entries of lists by name or by number."""
    varied = vary(FULL, [change])
    assert found(varied)
    assert varied != FULL or change == "stuck_after=0"


def test_nothing_else_changes():
    """Not even what the configuration would no longer allow."""
    assert vary(FULL, []) == FULL
    assert vary(FULL, ["hold_limit=15m"]) == FULL
    assert FULL.idle_period == timedelta(0)


def test_several_values_are_checked_together():
    """Each alone would be refused, or mean something else."""
    varied = vary(FULL, ["fallback.behavior=static", "fallback.replicas=4"])
    assert varied.fallback == Fallback(behavior=FallbackBehavior.STATIC, replicas=4)
    with pytest.raises(ConfigError, match="replicas = null, must be given"):
        vary(FULL, ["fallback.behavior=static"])


def test_a_key_that_an_earlier_change_took_away_is_refused():
    """In words, not by a traceback."""
    with pytest.raises(ConfigError, match=r"is no longer there after scale_up=..."):
        vary(FULL, ["scale_up.policies=[]", "scale_up.policies.1.value=2"])


def test_the_shipped_policy_can_be_varied():
    """Every key that is named can be given its own value."""
    shipped = to_policy(load(SHIPPED, {}).targets[0])
    assert vary(shipped, ["max_replicas=6"]) == shipped
    keys = keys_told(shipped, "x=1", "must be one of ")
    assert len(keys) > 10
    assert {"max_replicas", "metrics", "scale_up", "schedules"} <= keys
    assert not {"namespace", "deployment", "mode"} & keys
    keys = keys_told(shipped, "metrics.queue_depth.x=1", "must be metrics.queue_depth. and one of ")
    assert {"target", "max_age"} <= keys
    assert not {"name", "query"} & keys


def keys_told(shipped, change, rule):
    """Return the keys that the refusal of another one names."""
    with pytest.raises(ConfigError) as refusal:
        vary(shipped, [change])
    return set(str(refusal.value).split(rule)[1].split("; ")[0].split(", "))


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ("max_replica=8", "type it again with max_replicas=VALUE"),
        ("scale_up.toleranse=8", "type it again with scale_up.tolerance=VALUE"),
        ("max_replicas", "type it again as KEY=VALUE, such as max_replicas=8"),
        ("max_replicas=many", "type it again with another value"),
        ("max_replicas=[", "type it again with another value"),
    ],
)
def test_every_refusal_says_what_to_do(change, step):
    """What would be right, where that is known."""
    with pytest.raises(ConfigError) as refusal:
        vary(FULL, [change])
    assert refusal.value.next_step == step

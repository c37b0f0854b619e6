"""One factor for every duration, and nothing that is not one."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from autoscaler.sandbox.gateway import defaults
from autoscaler.sandbox.timescale import (
    KEPT_KEYS,
    SCALED_KEYS,
    Difference,
    differences,
    divide,
    divide_config,
    divide_gateway,
    divide_query,
)
from autoscaler.settings import load

CONFIG = Path("config/autoscaler.yaml")


@pytest.mark.parametrize(
    ("duration", "speed", "expected"),
    [
        ("5m", 10, "30s"),
        ("1m", 11.25, "5s333ms"),
        ("0s", 10, "0s"),
        ("5ms", 10, "1ms"),
        ("1h30m", 1, "1h30m"),
    ],
)
def test_duration_is_divided_and_stays_positive(duration, speed, expected):
    """A duration becomes its part, never nothing; at speed 1 it stays as it is written."""
    assert divide(duration, speed) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("rate(x[1m])", "rate(x[6s])"),
        ("rate(x[ 1m ])", "rate(x[ 6s ])"),
        ("max_over_time(rate(x[2m])[10m:30s])", "max_over_time(rate(x[12s])[1m:3s])"),
        ("max_over_time(x[10m:])", "max_over_time(x[1m:])"),
        ("x offset 5m", "x offset 30s"),
        ("x offset -5m", "x offset -30s"),
        ('x{pod=~"a[1m]b"}', 'x{pod=~"a[1m]b"}'),
        ('x{pod="\\"[1m]"}[1m]', 'x{pod="\\"[1m]"}[6s]'),
        ("x{a='[1m]', b=`[1m]`}[1m]", "x{a='[1m]', b=`[1m]`}[6s]"),
        ("x # over [1m]\n[1m]", "x # over [1m]\n[6s]"),
        ("sum(x) / 60", "sum(x) / 60"),
    ],
)
def test_ranges_of_a_query_are_divided_and_its_texts_are_not(query, expected):
    """Ranges, steps and offsets are divided; label values and comments stay."""
    assert divide_query(query, 10) == expected


def test_query_at_speed_1_is_the_same_byte_for_byte():
    """At speed 1 nothing is rewritten."""
    query = "rate( x [ 60s ] )"
    assert divide_query(query, 1) is query


def test_every_duration_of_the_configuration_is_known():
    """A key that holds a duration is either divided or kept on purpose."""
    plain = load(CONFIG, {}).model_dump(mode="json")
    found = {key for key, value in _leaves(plain) if _reads_as_duration(value)}
    assert found <= SCALED_KEYS | KEPT_KEYS
    assert found >= SCALED_KEYS


def test_scaled_configuration_is_one_that_the_daemon_accepts(tmp_path):
    """The shipped file still loads when everything is divided by the highest speed."""
    before = load(CONFIG, {})
    plain = before.model_dump(mode="json")
    scaled = divide_config(plain, 36)
    path = tmp_path / "scaled.yaml"
    path.write_text(json.dumps(scaled))
    after = load(path, {})
    assert after.interval == timedelta(milliseconds=138)
    assert after.prometheus.timeout == before.prometheus.timeout
    assert after.targets[0].scale_down.stabilization_window == timedelta(milliseconds=8333)


def test_differences_show_old_and_new():
    """Each changed value is told with its key; of a query, its ranges alone."""
    before = {"targets": [{"period": "1m", "query": "rate(a[1m]) / rate(b[2m])", "target": 0.8}]}
    after = divide_config(before, 10)
    assert list(differences(before, after)) == [
        Difference(key="targets[0].period", shipped="1m", here="6s"),
        Difference(key="targets[0].query", shipped="[1m] [2m]", here="[6s] [12s]"),
    ]


def test_gateways_durations_are_divided_in_words_that_haproxy_knows():
    """HAProxy's variables become whole milliseconds; names, ports and numbers are left out."""
    scaled = divide_gateway(defaults(), 7)
    assert scaled["GATEWAY_QUEUE_TIMEOUT"] == "85714ms"
    assert scaled["GATEWAY_RESOLVE_INTERVAL"] == "71ms"
    assert "GATEWAY_SLOTS" not in scaled
    assert "GATEWAY_REPLICAS_NAME" not in scaled


def test_limits_that_guard_against_a_slow_machine_stay_above_a_second():
    """Connecting takes a busy machine real time, whatever the speed."""
    scaled = divide_gateway(defaults(), 36)
    assert scaled["GATEWAY_CONNECT_TIMEOUT"] == "1000ms"
    assert scaled["GATEWAY_RESOLVE_INTERVAL"] == "25ms"


def _leaves(value, key=""):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key)
    else:
        yield key, value


def _reads_as_duration(value):
    return isinstance(value, str) and value[:1].isdigit() and value[-1:] in "smhd"

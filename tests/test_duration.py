"""Durations in Prometheus notation."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.duration import LONGEST, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 0.5),
        ("15s", 15),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d12h", 129_600),
        ("1w", 604_800),
        ("1m30s500ms", 90.5),
        ("365d", 31_536_000),
    ],
)
def test_reads_what_prometheus_reads(text, seconds):
    """Each unit counts once, in Prometheus' order; zero needs no unit."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "15 s", " 15s", "15s\n", "15", "-5m", "+5m", "5", "1.5h", "5M", "s", "30m1h"),
        *("1s1s", "5min", "٣s", "PT15S", "1e3s", "366d", "9" * 18 + "y", "9" * 400 + "s", "inf"),
    ],
)
def test_refuses_everything_else(text):
    """A refusal states the rule and is one line."""
    with pytest.raises(ValueError, match=r"^must (be a duration|not be longer)[^\n]*$"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=LONGEST // timedelta(milliseconds=1)))
def test_writing_is_the_inverse_of_reading(milliseconds):
    """Nothing is lost down to a millisecond."""
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span

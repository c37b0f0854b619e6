"""Cron expressions: what they mean, and what is refused."""

from datetime import datetime

import pytest

from autoscaler.decision.cron import last, parse


def before(expression, text):
    """Return the last occurrence at or before a local time, as text."""
    found = last(expression, datetime.fromisoformat(text))
    return found and found.isoformat(" ", "minutes")


@pytest.mark.parametrize(
    ("expression", "at", "expected"),
    [
        pytest.param("30 7 * * *", "2026-11-23 07:30:00", "2026-11-23 07:30", id="on-the-minute"),
        pytest.param("30 7 * * *", "2026-11-23 07:29:59", "2026-11-22 07:30", id="a-second-before"),
        pytest.param("*/15 8-10 * * *", "2026-11-23 10:50", "2026-11-23 10:45", id="step-in-range"),
        pytest.param("*/15 8-10 * * *", "2026-11-23 07:59", "2026-11-22 10:45", id="day-before"),
        pytest.param("0,20,5 3 * * *", "2026-11-23 03:19", "2026-11-23 03:05", id="list"),
        pytest.param("10-40/10 3 * * *", "2026-11-23 23:00", "2026-11-23 03:40", id="range-step"),
        pytest.param("50/5 3 * * *", "2026-11-23 23:00", "2026-11-23 03:55", id="open-step"),
        pytest.param("0 8 * * mon-fri", "2026-11-23 07:00", "2026-11-20 08:00", id="weekdays"),
        pytest.param("0 8 * * MON", "2026-11-22 12:00", "2026-11-16 08:00", id="capitals"),
        pytest.param("0 8 * * 7", "2026-11-23 07:00", "2026-11-22 08:00", id="seven-is-sunday"),
        pytest.param("0 8 * * 5-7", "2026-11-26 07:00", "2026-11-22 08:00", id="friday-to-seven"),
        pytest.param("0 8 * * sat-sun", "2026-11-26 07:00", "2026-11-22 08:00", id="a-week-end"),
        pytest.param("0 8 * * sun-mon", "2026-11-26 07:00", "2026-11-23 08:00", id="a-week-start"),
        pytest.param("0 8 * jan,mar *", "2026-11-23 07:00", "2026-03-31 08:00", id="months"),
        pytest.param("0 8 31 * *", "2026-12-01 07:00", "2026-10-31 08:00", id="long-months-only"),
        pytest.param("0 8 29 2 *", "2026-11-23 07:00", "2024-02-29 08:00", id="leap-day"),
        pytest.param("0 8 29 2 *", "2104-01-01 07:00", "2096-02-29 08:00", id="no-leap-year-2100"),
        pytest.param("0 8 13 * fri", "2026-11-14 07:00", "2026-11-13 08:00", id="either-of-both"),
        pytest.param("0 8 13 * fri", "2026-11-08 07:00", "2026-11-06 08:00", id="or-the-weekday"),
        pytest.param("0 8 */31 2 mon", "2026-11-23 07:00", "2021-02-01 08:00", id="stars-want-all"),
        pytest.param("0 8 1 * */2", "2026-11-23 07:00", "2026-11-01 08:00", id="also-of-the-week"),
        pytest.param("* * * * *", "0001-01-01 00:00", "0001-01-01 00:00", id="the-first-minute"),
        pytest.param("0 1 * * *", "0001-01-01 00:00", None, id="before-all-time"),
        pytest.param("0 1 1 7 *", "0001-03-01 00:00", None, id="months-before-all-time"),
    ],
)
def test_the_last_occurrence_is_found(expression, at, expected):
    """At the time or before it, however long ago."""
    assert before(expression, at) == expected


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "has 0"),
        ("0 8 * *", "has 4"),
        ("0 0 8 * * *", "has 6"),
        ("@daily", "has 1"),
        ("60 8 * * *", "minute 60 is not in 0..59"),
        ("0 24 * * *", "hour 24 is not in 0..23"),
        ("0 8 0 * *", "day 0 is not in 1..31"),
        ("0 8 * 13 *", "month 13 is not in 1..12"),
        ("0 8 * * 8", "weekday 8 is not in 0..7"),
        ("0 8 * * monday", "weekday monday is not in 0..7"),
        ("mon 8 * * *", "minute mon is not in 0..59"),
        ("0 18-8 * * *", "hour 18-8 runs backwards"),
        ("0 8 * * fri-mon", "weekday fri-mon runs backwards"),
        ("*/0 8 * * *", "minute 0 is not in 1..59"),
        ("*/ 8 * * *", "minute without a number is not in 1..59"),
        (", 8 * * *", "minute without a number is not in 0..59"),
        ("- 8 * * *", "minute without a number is not in 0..59"),
        ("-5 8 * * *", "minute without a number is not in 0..59"),
        ("1.5 8 * * *", "minute 1.5 is not in 0..59"),
        ("\u0661 8 * * *", "minute \u0661 is not in 0..59"),
        ("0000 8 * * *", "minute 0000 is not in 0..59"),
        ("? 8 * * *", "minute ? is not in 0..59"),
        ("0 8 31 2,4,6 *", "must name a day that there is in one of its months"),
        ("0 8 30 2 *", "must name a day that there is in one of its months"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_the_field(expression, told):
    """One line, and nothing is guessed."""
    with pytest.raises(ValueError, match="must") as refusal:
        parse(expression)
    assert told in str(refusal.value)


def test_a_day_that_there_never_is_may_stand_beside_a_weekday():
    """One of both is enough."""
    assert before("0 8 30 2 mon", "2026-03-01 00:00") == "2026-02-23 08:00"

"""Windows of time: when they are active, in whose clocks, and what that does to the bounds."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decision.decide import decide
from autoscaler.decision.model import ScalingState, Schedule
from autoscaler.decision.schedule import Bounds, bounds_in_force, is_active
from autoscaler.decision.windows import require_windows, windows
from autoscaler.decision.words import Reason, Stage
from autoscaler.decision.zones import instant, zone
from tests.decision.build import Story, missing, policy, seconds, seen


def window(start, end, timezone="UTC", name="office", **bounds):
    """Return a schedule; four replicas at least unless told otherwise."""
    bounds = bounds or {"min_replicas": 4}
    return Schedule(name=name, start=start, end=end, timezone=timezone, **bounds)


def utc(text):
    """Return a moment."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


OFFICE = window("0 8 * * mon-fri", "0 18 * * mon-fri")


@pytest.mark.parametrize(
    ("at", "active"),
    [
        ("2026-11-23 07:59:59", False),
        ("2026-11-23 08:00:00", True),
        ("2026-11-23 17:59:59", True),
        ("2026-11-23 18:00:00", False),
        ("2026-11-22 12:00:00", False),
    ],
)
def test_a_window_begins_with_its_start_and_is_over_with_its_end(at, active):
    """Monday, to the second; sunday is no work day."""
    assert is_active(OFFICE, utc(at)) is active


def test_a_window_may_last_over_midnight_and_over_days():
    """What counts is which of both was last."""
    night = window("0 22 * * *", "0 6 * * *")
    assert is_active(night, utc("2026-11-23 03:00"))
    assert not is_active(night, utc("2026-11-23 12:00"))
    week_end = window("0 18 * * fri", "0 6 * * mon")
    assert is_active(week_end, utc("2026-11-22 12:00"))
    assert not is_active(week_end, utc("2026-11-24 12:00"))


def test_where_a_window_ends_and_begins_in_one_moment_it_begins():
    """Two shifts without a gap."""
    shifts = window("0 6,14 * * *", "0 14,22 * * *")
    assert is_active(shifts, utc("2026-11-23 14:00"))
    assert not is_active(shifts, utc("2026-11-23 22:00"))


def test_a_window_is_meant_in_the_clocks_of_its_zone():
    """Eight in the morning is another moment in Berlin, and in summer again another."""
    berlin = window("0 8 * * *", "0 18 * * *", "Europe/Berlin")
    assert not is_active(berlin, utc("2026-11-23 06:59"))
    assert is_active(berlin, utc("2026-11-23 07:00"))
    assert is_active(berlin, utc("2026-07-23 06:00"))
    kathmandu = window("0 8 * * *", "0 18 * * *", "Asia/Kathmandu")
    assert not is_active(kathmandu, utc("2026-11-23 02:14"))
    assert is_active(kathmandu, utc("2026-11-23 02:15"))


def active_minutes(schedule, since, until):
    """Return the first and the last active minute of a span, in UTC, and how many there are."""
    at, found = utc(since), []
    while at < utc(until):
        if is_active(schedule, at):
            found.append(at)
        at += timedelta(minutes=1)
    return [f"{found[0]:%H:%M}", f"{found[-1]:%H:%M}", len(found)] if found else []


SPRING = ("2026-03-29 00:00", "2026-03-29 06:00")
AUTUMN = ("2026-10-25 00:00", "2026-10-25 06:00")


@pytest.mark.parametrize(
    ("start", "end", "day", "expected"),
    [
        # at 01:00 UTC the clocks of Berlin jump from 02:00 to 03:00
        pytest.param("30 2", "30 3", SPRING, ["01:00", "01:29", 30], id="starts-in-the-gap"),
        pytest.param("30 1", "30 2", SPRING, ["00:30", "00:59", 30], id="ends-in-the-gap"),
        pytest.param("10 2", "50 2", SPRING, [], id="is-jumped-over"),
        pytest.param("30 1", "30 3", SPRING, ["00:30", "01:29", 60], id="an-hour-shorter"),
        # at 01:00 UTC they go back from 03:00 to 02:00
        pytest.param("30 2", "30 3", AUTUMN, ["00:30", "02:29", 120], id="starts-the-first-time"),
        pytest.param("30 1", "30 2", AUTUMN, ["00:00", "00:29", 30], id="ends-the-first-time"),
        pytest.param("10 2", "50 2", AUTUMN, ["00:10", "00:49", 40], id="counts-once"),
        pytest.param("50 2", "10 3", AUTUMN, ["00:50", "02:09", 80], id="over-the-change"),
    ],
)
def test_the_clocks_may_change_at_any_time(start, end, day, expected):
    """What they jump over stands for the jump; what they show twice counts once, the first."""
    schedule = window(f"{start} * * *", f"{end} * * *", "Europe/Berlin")
    assert active_minutes(schedule, *day) == expected


def test_a_day_that_a_zone_left_out_stands_for_its_end():
    """Samoa went from the 29th to the 31st."""
    apia = window("0 8 30 12 *", "0 20 31 12 *", "Pacific/Apia")
    assert not is_active(apia, utc("2011-12-30 09:59"))
    assert is_active(apia, utc("2011-12-30 10:00"))
    assert not is_active(apia, utc("2011-12-31 06:00"))


FIRST = datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize("at", [FIRST, datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Tokyo"])
def test_the_ends_of_the_calendar_raise_nothing(at, timezone):
    """A strange clock is no reason to stop."""
    schedule = window("0 8 * * *", "0 8 1 1 *", timezone)
    assert is_active(schedule, at) in (True, False)
    assert not is_active(window("0 8 1 6 *", "0 8 1 7 *"), FIRST)


def test_a_window_that_has_begun_and_never_ended_is_active():
    """In the year 1 there is no end to be found before."""
    schedule = window("* * * * *", "0 8 1 7 *")
    assert is_active(schedule, FIRST)


# --- bounds -----------------------------------------------------------------------------------


def test_outside_of_all_windows_the_bounds_are_the_policys():
    """No name, no change."""
    given = policy(min_replicas=2, max_replicas=6, schedules=(OFFICE,))
    night = bounds_in_force(given, utc("2026-11-23 03:00"))
    assert night == Bounds(min_replicas=2, max_replicas=6)
    assert night.schedule == ""


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"min_replicas": 4}, (4, 6)),
        ({"max_replicas": 3}, (2, 3)),
        ({"min_replicas": 0, "max_replicas": 9}, (0, 9)),
    ],
)
def test_a_window_changes_the_bounds_that_it_names(changed, expected):
    """The other one stays."""
    schedule = window("0 8 * * *", "0 18 * * *", **changed)
    given = policy(min_replicas=2, max_replicas=6, schedules=(schedule,))
    bounds = bounds_in_force(given, utc("2026-11-23 10:00"))
    assert (bounds.min_replicas, bounds.max_replicas, bounds.schedule) == (*expected, "office")


def test_where_two_are_active_the_first_counts():
    """The configuration refuses that; a policy from elsewhere still means one thing."""
    late = window("0 9 * * *", "0 20 * * *", name="late", min_replicas=5)
    given = policy(schedules=(OFFICE, late))
    assert bounds_in_force(given, utc("2026-11-23 10:00")).schedule == "office"
    assert bounds_in_force(given, utc("2026-11-23 19:00")).schedule == "late"


def test_a_window_that_begins_lifts_the_replicas_metrics_or_not():
    """The story begins at ten on a monday; the step names the schedule."""
    schedule = window("5 10 * * *", "10 10 * * *")
    story = Story(policy(min_replicas=2, max_replicas=6, schedules=(schedule,)), current=2)
    assert story.cycle(299, queue=missing()).decision.to == 2
    verdict = story.cycle(300, queue=missing())
    assert (verdict.decision.to, verdict.decision.reason) == (4, Reason.AT_MINIMUM)
    assert verdict.steps[-1].detail == "min_replicas 4, max_replicas 6 by schedule office"
    held = story.cycle(305, queue=0)
    assert (held.decision.to, held.decision.reason) == (4, Reason.AT_MINIMUM)
    assert story.cycle(600, queue=0).decision.to == 2


def test_a_window_that_ends_takes_the_replicas_to_the_bound():
    """Nine were allowed, six are."""
    schedule = window("0 10 * * *", "10 10 * * *", max_replicas=9)
    story = Story(policy(max_replicas=6, schedules=(schedule,)), current=6)
    assert story.cycle(0, queue=80).decision.to == 9
    down = story.cycle(600, queue=80).decision
    assert (down.to, down.reason) == (6, Reason.AT_MAXIMUM)


def test_zero_replicas_may_come_from_a_window_and_then_are_no_switch():
    """At night nobody is there; in the morning the bound brings them back."""
    night = window("0 10 * * *", "0 11 * * *", min_replicas=0)
    given = policy(min_replicas=2, schedules=(night,), idle_period=seconds(60))
    story = Story(given, current=2)
    assert story.cycle(0, queue=0).decision.to == 1
    assert story.cycle(60, queue=0).decision.to == 0
    assert story.cycle(120, queue=0).decision.to == 0
    assert story.cycle(180, queue=1).decision.to == 2
    story.current = 0
    morning = story.cycle(3600, queue=0).decision
    assert (morning.to, morning.reason) == (2, Reason.AT_MINIMUM)


def test_a_window_that_lifts_the_bound_above_zero_is_no_switch_either():
    """By day two, at night none."""
    day = window("0 10 * * *", "0 11 * * *", min_replicas=2)
    decision = decide(policy(min_replicas=0, schedules=(day,)), ScalingState(), seen(0, queue=0))
    assert (decision.decision.to, decision.steps[-1].stage) == (2, Stage.BOUNDS)


# --- what cannot be built -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": ""}, 'name = "", must not be empty'),
        ({"start": "0 8 * *"}, 'start = "0 8 * *", must be a cron expression'),
        ({"end": "x 8 * * *"}, "minute x is not in 0..59"),
        ({"timezone": "Berlin"}, 'timezone = "Berlin", must be an IANA time zone'),
        ({"timezone": "../etc/passwd"}, "must be an IANA time zone"),
        ({"timezone": "Europe"}, "must be an IANA time zone"),
        ({"timezone": ""}, "must be an IANA time zone"),
        ({"min_replicas": None}, "min_replicas = null, must be given where max_replicas is not"),
        ({"min_replicas": -1}, "min_replicas = -1, must not be negative"),
        ({"max_replicas": 0}, "max_replicas = 0, must be at least 1"),
    ],
)
def test_an_impossible_schedule_cannot_be_built(change, told):
    """Field, value, rule."""
    plain = {"name": "n", "start": "0 8 * * *", "end": "0 9 * * *", "min_replicas": 1}
    with pytest.raises(ValueError, match="must") as refusal:
        Schedule(**{**plain, **change})
    assert told in str(refusal.value)


@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        ({"min_replicas": 9}, "schedules[0].min_replicas = 9, must not be above max_replicas = 6"),
        ({"max_replicas": 1}, "schedules[0].max_replicas = 1, must not be below min_replicas = 2"),
        ({"min_replicas": 3, "max_replicas": 2}, "schedules[0].min_replicas = 3, must not be abo"),
    ],
)
def test_bounds_that_contradict_the_policys_cannot_be_built(bounds, told):
    """Each window is looked at together with what it leaves as it is."""
    with pytest.raises(ValueError, match="must") as refusal:
        policy(
            min_replicas=2,
            max_replicas=6,
            schedules=(window("0 8 * * *", "0 9 * * *", **bounds),),
        )
    assert told in str(refusal.value)


def test_two_schedules_of_one_name_cannot_be_built():
    """A name stands for one window."""
    with pytest.raises(ValueError, match='schedules = "office", stands twice'):
        policy(schedules=(OFFICE, OFFICE))


# --- windows over years -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedules", "told"),
    [
        pytest.param(
            [("0 8 * * *", "0 8 * * *")],
            'schedules[0].end = "0 8 * * *", must end what start = 0 8 * * * begins',
            id="always",
        ),
        pytest.param([("0 8 * * *", "0 8 * * mon")], "it never does", id="ends-where-it-begins"),
        pytest.param(
            [("10 2 29 3 *", "50 2 29 3 *", "Europe/Berlin"), ("* * * * *", "0 0 1 1 *")],
            "schedules[1].end",
            id="an-end-that-a-start-undoes",
        ),
        pytest.param(
            [("*/2 * * * *", "1/2 * * * *")],
            'schedules[0].start = "*/2 * * * *", must not begin more than 24 times a day',
            id="ever-so-often",
        ),
        pytest.param(
            [("0 8 * * *", "0 18 * * *"), ("59 17 * * *", "0 22 * * *")],
            'schedules = "s0", must not overlap with "s1", as it does at 2024-01-01T17:59:00+00:00',
            id="by-a-minute",
        ),
        pytest.param(
            [("0 8 1 1 *", "0 18 1 1 *"), ("0 9 * * sun", "0 10 * * sun")],
            'with "s1", as it does at 2034-01-01T09:00:00+00:00',
            id="once-in-eleven-years",
        ),
        pytest.param(
            [("0 22 * * *", "0 6 * * *"), ("30 5 * * *", "0 7 * * *")],
            'must not overlap with "s1"',
            id="over-midnight",
        ),
        pytest.param(
            [
                ("0 8 * * *", "0 13 * * *", "Europe/Berlin"),
                ("0 7 * * *", "0 9 * * *", "US/Eastern"),
            ],
            'with "s1", as it does at 2024-03-10T11:00:00+00:00',
            id="only-while-the-clocks-differ",
        ),
    ],
)
def test_windows_that_mean_nothing_or_two_things_are_refused(schedules, told):
    """Over twelve fixed years, whatever the clock says."""
    built = [window(*each, name=f"s{index}") for index, each in enumerate(schedules)]
    with pytest.raises(ValueError, match="must") as refusal:
        require_windows(built)
    assert told in str(refusal.value)


def test_windows_that_follow_one_another_are_fine():
    """Without a gap, over midnight, and jumped over once a year."""
    require_windows(
        [
            window("0 6 * * *", "0 14 * * *", "Europe/Berlin", "early"),
            window("0 14 * * *", "0 22 * * *", "Europe/Berlin", "late"),
            window("0 22 * * *", "0 6 * * *", "Europe/Berlin", "night"),
        ]
    )
    jumped = tuple(windows(window("10 2 29 3 *", "50 2 29 3 *", "Europe/Berlin")))
    assert [start.year for start, _ in jumped] == [
        year for year in range(2024, 2036) if year != 2026
    ]
    require_windows([])


ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]
times = st.tuples(st.integers(0, 59), st.integers(0, 23)).map(lambda t: f"{t[0]} {t[1]}")
cron_days = st.sampled_from(["* * *", "* * mon-fri", "29 3 *", "*/2 * *", "1 * sun", "* 3,10 *"])
crons = st.tuples(times, cron_days).map(" ".join)


@given(crons, crons, st.sampled_from(ZONES), st.integers(0, 366 * 24 * 60))
def test_what_is_active_now_is_a_window_of_the_years(start, end, timezone, minutes):
    """The question of a cycle and the look over all years have the same answer."""
    schedule = window(start, end, timezone)
    now = utc("2026-01-01 00:00") + timedelta(minutes=minutes)
    found = tuple(windows(schedule))
    if found and found[0][0] <= now < found[-1][1]:
        assert is_active(schedule, now) is any(begin <= now < over for begin, over in found)


@given(st.sampled_from(ZONES), st.dates(date(2026, 1, 1), date(2026, 12, 31)), st.integers(0, 1439))
def test_local_times_rise_with_the_moments_that_they_stand_for(timezone, day, minute):
    """Also where the clocks jump: then several stand for one."""
    local = datetime.combine(day, time()) + timedelta(minutes=minute)
    at, later = instant(local, timezone), instant(local + timedelta(minutes=1), timezone)
    assert at <= later
    shown = at.astimezone(zone(timezone)).replace(tzinfo=None)
    assert shown >= local
    assert shown == local or instant(shown, timezone) == at

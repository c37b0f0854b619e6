"""The windows of schedules over some fixed years: whether there are any, and none overlap.

Looked for when a configuration is read, never in a cycle.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise

from autoscaler.decision.cron import parse
from autoscaler.decision.model import Schedule
from autoscaler.decision.refusal import require
from autoscaler.decision.zones import instant

_DAYS = range(date(2024, 1, 1).toordinal(), date(2036, 1, 1).toordinal())
"""Twelve years: every date falls on every weekday, leap days nearly so."""
_MOST_A_DAY = 24

Window = tuple[datetime, datetime]


def require_windows(schedules: Sequence[Schedule]) -> None:
    """Refuse a schedule whose windows never end, and two that are active at the same time."""
    found: list[tuple[datetime, datetime, str]] = []
    for index, schedule in enumerate(schedules):
        key = f"schedules[{index}]"
        often = len(_changes(parse(schedule.start).times, parse(schedule.end).times)) // 2
        rule = f"must not begin more than {_MOST_A_DAY} times a day"
        require(often <= _MOST_A_DAY, f"{key}.start", schedule.start, rule)
        spans = tuple(windows(schedule))
        rule = f"must end what start = {schedule.start} begins, it never does"
        require(spans, f"{key}.end", schedule.end, rule)
        found += [(start, end, schedule.name) for start, end in spans]
    for (_, end, one), (start, _, other) in pairwise(sorted(found)):
        rule = f'must not overlap with "{other}", as it does at {start.isoformat()}'
        require(start >= end, "schedules", one, rule)


def windows(schedule: Schedule) -> Iterator[Window]:
    """Yield the windows that begin and end in those years, as moments in UTC."""
    starts, ends = parse(schedule.start), parse(schedule.end)
    began: datetime | None = None
    for ordinal in _DAYS:
        day = date.fromordinal(ordinal)
        today = (
            starts.times if starts.falls_on(day) else (),
            ends.times if ends.falls_on(day) else (),
        )
        for minute in _changes(*today, active=began is not None):
            local = datetime.combine(day, time()) + timedelta(minutes=minute)
            at = instant(local, schedule.timezone)
            if began is None:
                began = at
                continue
            if began < at:  # else the clocks jump over all of it
                yield began, at
            began = None


@lru_cache(maxsize=64)
def _changes(
    starts: tuple[int, ...], ends: tuple[int, ...], *, active: bool = False
) -> tuple[int, ...]:
    """Return the minutes of a day at which a window begins or ends, in turn."""
    found, begins = [], frozenset(starts)
    for minute in sorted(begins.union(ends)):
        if (minute in begins) is not active:
            found.append(minute)
            active = not active
    return tuple(found)

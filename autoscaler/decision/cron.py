"""Cron expressions of five fields, in local time: minute, hour, day, month, day of the week.

Lists, ranges, steps and names (`mon`, `jan`) are understood, and 7 is sunday, too. As in Vixie's
cron, a day must match both the day of the month and the day of the week, unless neither begins
with `*`: then one of them is enough.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

_FORM = "must be a cron expression of five fields: minute hour day month weekday"
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_WEEKDAYS = {
    name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
}
_MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_HORIZON = 13 * 366
"""Days: no day of the year waits longer for a given weekday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """What an expression stands for."""

    times: tuple[int, ...]
    """Minutes since midnight, rising."""
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is sunday."""
    either: bool
    """The day of the month or the day of the week is enough."""

    def falls_on(self, day: date) -> bool:
        """Tell whether there are occurrences on a day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either else of_month and of_week


@lru_cache(maxsize=256)
def parse(expression: str) -> Cron:
    """Read an expression. Raises ValueError with the rule that it breaks."""
    fields = expression.lower().split()
    if len(fields) != 5:
        raise ValueError(f"{_FORM}, has {len(fields)}")
    minute, hour, day, month, weekday = fields
    hours, minutes = _values("hour", hour, 0, 23), _values("minute", minute, 0, 59)
    cron = Cron(
        times=tuple(60 * each + other for each in sorted(hours) for other in sorted(minutes)),
        days=_values("day", day, 1, 31),
        months=_values("month", month, 1, 12, _MONTHS),
        weekdays=frozenset(each % 7 for each in _values("weekday", weekday, 0, 7, _WEEKDAYS)),
        either=not day.startswith("*") and not weekday.startswith("*"),
    )
    if not cron.either and all(_MOST_DAYS[each - 1] < min(cron.days) for each in cron.months):
        raise ValueError("must name a day that there is in one of its months")
    return cron


def last(expression: str, at: datetime) -> datetime | None:
    """Return the last occurrence at or before a time; both are local and have no zone."""
    today = at.toordinal()
    day = _last_day(expression, today)
    times = parse(expression).times
    passed = bisect_right(times, 60 * at.hour + at.minute) if day == today else len(times)
    if not passed:
        day, passed = _last_day(expression, today - 1), len(times)
    if day is None:
        return None
    return datetime.combine(date.fromordinal(day), time()) + timedelta(minutes=times[passed - 1])


@lru_cache(maxsize=4096)
def _last_day(expression: str, ordinal: int) -> int | None:
    """Return the last day with occurrences at or before a day; None where none is near."""
    cron, first = parse(expression), max(1, ordinal - _HORIZON)
    while ordinal >= first:
        day = date.fromordinal(ordinal)
        if cron.falls_on(day):
            return ordinal
        ordinal -= 1 if day.month in cron.months else day.day
    return None


def _values(
    name: str, field: str, low: int, high: int, words: dict[str, int] | None = None
) -> frozenset[int]:
    """Return the numbers that one field lists."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        width = _number(name, step, 1, high, {}) if slash else 1
        if span == "*":
            found.update(range(low, high + 1, width))
            continue
        first, dash, final = span.partition("-")
        begin = _number(name, first, low, high, words or {})
        end = _number(name, final, low, high, words or {}) if dash else begin
        if name == "weekday" and dash and end == 0 < begin:  # `sat-sun`: sunday ends a week, too
            end = 7
        if begin > end:
            raise ValueError(f"{_FORM}; {name} {span} runs backwards")
        found.update(range(begin, (end if dash or not slash else high) + 1, width))
    return frozenset(found)


def _number(name: str, text: str, low: int, high: int, words: dict[str, int]) -> int:
    if text in words:
        return words[text]
    if not (text.isascii() and text.isdigit() and len(text) < 4 and low <= int(text) <= high):
        raise ValueError(f"{_FORM}; {name} {text or 'without a number'} is not in {low}..{high}")
    return int(text)

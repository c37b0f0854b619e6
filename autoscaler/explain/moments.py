"""`--at` and `--since`: a date and time, a time of day, or a span before the end."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from autoscaler.duration import parse_duration
from autoscaler.errors import InputError

_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_EXAMPLES = "a time of day such as 03:12, or a time such as 2026-11-23T03:12:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time, given once and for all or for each day."""

    text: str
    """As it was given."""
    zone: tzinfo | None
    """None: the system's."""
    fixed: datetime | None = None
    daily: time | None = None
    slack: timedelta = timedelta(seconds=1)
    """What is left open by how it was given: a minute, a second."""

    def latest(self, at: datetime) -> datetime | None:
        """Return the last such time that is not after another one."""
        if self.daily is None:
            return self.fixed if self.fixed is not None and self.fixed <= at else None
        day = at.astimezone(self.zone).date()
        today = self._on(day)
        return today if today <= at else self._on(day - timedelta(days=1))

    def rounded(self, at: datetime) -> datetime:
        """Return a time no finer than this one was given: what was shown can be asked for."""
        exact = self.fixed is not None and self.fixed.microsecond
        return at if exact else at.replace(microsecond=0)

    def _on(self, day: date) -> datetime:
        return _localized(datetime.combine(day, self.daily or time()), self.zone)


def parse_at(text: str, zone: tzinfo | None, option: str = "--at") -> Moment:
    """Read a moment. Raises InputError."""
    found = _TIME_OF_DAY.fullmatch(text)
    slack = timedelta(seconds=1 if text.count(":") > 1 else 60)
    try:
        if found:
            hour, minute, second = (int(part or 0) for part in found.groups())
            daily = time(hour, minute, second)
            return Moment(text=text, zone=zone, daily=daily, slack=slack)
        at = datetime.fromisoformat(text)
        fixed = at if at.tzinfo else _localized(at, zone)
    except (ValueError, OverflowError):
        told = f"{option} = {text}, must be {_EXAMPLES}"
        raise InputError(told, next_step=f"type it again with {option} 03:12") from None
    return Moment(text=text, zone=zone, fixed=fixed, slack=slack)


def parse_since(text: str, zone: tzinfo | None) -> Moment | timedelta:
    """Read a moment, or a span that ends with the last record. Raises InputError."""
    try:
        return parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_at(text, zone, "--since")
    except InputError:
        rule = f"must be a span such as 15m before the last record, {_EXAMPLES}"
        step = "type it again with --since 15m"
        raise InputError(f"--since = {text}, {rule}", next_step=step) from None


def shown(at: datetime, zone: tzinfo | None) -> str:
    """Write a time as people read it."""
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


def shown_range(first: datetime, last: datetime, zone: tzinfo | None) -> str:
    """Write from when to when; the date only once where it is the same."""
    begin, end = first.astimezone(zone), last.astimezone(zone)
    form = "%H:%M:%S" if begin.date() == end.date() else "%Y-%m-%d %H:%M:%S"
    return f"{begin:%Y-%m-%d %H:%M:%S} to {end:{form}} {end.tzname()}"


def _localized(at: datetime, zone: tzinfo | None) -> datetime:
    return at.astimezone() if zone is None else at.replace(tzinfo=zone)

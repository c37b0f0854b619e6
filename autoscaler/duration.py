"""Spans of time as Prometheus writes them: `500ms`, `15s`, `5m`, `1h30m`, `1d`."""

import re
from datetime import timedelta

_UNITS = {
    "y": timedelta(days=365),
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
# Prometheus' own order of units, each at most once. The digits are limited so that a hostile
# length costs nothing; anything near that limit is refused as too long all the same.
_PATTERN = re.compile("".join(rf"(?:([0-9]{{1,18}}){unit})?" for unit in _UNITS))

LONGEST = timedelta(days=365)
"""No duration in this project is longer."""


def parse_duration(text: str) -> timedelta:
    """Read a duration; `0` needs no unit. A refusal is a ValueError that states the rule."""
    if text == "0":
        return timedelta(0)
    found = _PATTERN.fullmatch(text)
    if not text or found is None:
        raise ValueError("must be a duration such as 500ms, 15s, 5m or 1h30m")
    try:
        span = sum(
            (
                int(count) * unit
                for count, unit in zip(found.groups(), _UNITS.values(), strict=True)
                if count is not None
            ),
            start=timedelta(0),
        )
    except OverflowError:
        span = timedelta.max
    if span > LONGEST:
        raise ValueError(f"must not be longer than {format_duration(LONGEST)}")
    return span


def format_duration(span: timedelta) -> str:
    """Write a duration; the inverse of `parse_duration` down to a millisecond."""
    rest = span // timedelta(milliseconds=1)
    text = "-" if rest < 0 else ""
    rest = abs(rest)
    for name, unit in _UNITS.items():
        count, rest = divmod(rest, unit // timedelta(milliseconds=1))
        if count:
            text += f"{count}{name}"
    return text or "0s"

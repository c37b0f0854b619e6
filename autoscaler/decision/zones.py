"""Local time: what the clocks of a time zone show, and when.

The tables of the zones come with Python's standard library or the system; each is read once.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises ValueError with the rule that its name breaks."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None


def offset(at: datetime) -> timedelta:
    """Return how far local time is ahead of UTC then."""
    return at.utcoffset() or timedelta(0)


def instant(local: datetime, name: str) -> datetime:
    """Return the moment (UTC) for which a local time stands.

    A time that the clocks show twice stands for the first; one that they jump over, for the jump.
    """
    there = zone(name)
    before, after = local.replace(tzinfo=there), local.replace(tzinfo=there, fold=1)
    if offset(before) >= offset(after):
        return before.astimezone(UTC)
    early, late = after.astimezone(UTC), before.astimezone(UTC)
    while late - early > _MINUTE:  # the jump lies between them
        middle = early + (late - early) // _MINUTE // 2 * _MINUTE
        if offset(middle.astimezone(there)) == offset(before):
            early = middle
        else:
            late = middle
    return late

"""Which bounds are in force: those of the policy, or those of a window of time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autoscaler.decision.cron import last
from autoscaler.decision.model import Policy, Schedule
from autoscaler.decision.zones import offset, zone

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least and the most replicas that there may be."""

    min_replicas: int
    max_replicas: int
    schedule: str = ""
    """Name of the schedule that they come from; empty where none is active."""


def bounds_in_force(policy: Policy, now: datetime) -> Bounds:
    """Return the bounds at a time; an active schedule changes one of the policy's, or both."""
    low, high = policy.min_replicas, policy.max_replicas
    for schedule in policy.schedules:
        if is_active(schedule, now):
            least, most = schedule.min_replicas, schedule.max_replicas
            return Bounds(
                min_replicas=low if least is None else least,
                max_replicas=high if most is None else most,
                schedule=schedule.name,
            )
    return Bounds(min_replicas=low, max_replicas=high)


def is_active(schedule: Schedule, now: datetime) -> bool:
    """Tell whether the last start is later than the last end; where both are one, it starts.

    They are compared by local time: where the clocks jump over a whole window, it has ended.
    """
    try:
        local = now.astimezone(zone(schedule.timezone))
    except OverflowError:  # at the very ends of the calendar
        return False
    start, end = _last(schedule.start, local), _last(schedule.end, local)
    return start is not None and (end is None or start >= end)


def _last(expression: str, local: datetime) -> datetime | None:
    """Return the last occurrence, as local time without a zone.

    Local times rise with the moments that they stand for, also where the clocks jump. In the hour
    that they show for the second time, everything of the first has been.
    """
    at = local.replace(tzinfo=None, fold=0)
    if not local.fold:
        return last(expression, at)
    found = last(expression, at + offset(local.replace(fold=0)) - offset(local))
    while found is not None and found.replace(tzinfo=local.tzinfo).astimezone(UTC) > local:
        found = last(expression, found - _MINUTE)
    return found

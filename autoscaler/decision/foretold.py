"""An outlook in one sentence."""

from datetime import UTC, datetime, timedelta

from autoscaler.decision.outlook import Condition, Hold, Move, Outlook, Turn
from autoscaler.decision.words import Reason

_ENDS = {
    Reason.STABILIZED: "the stabilization window ends",
    Reason.COOLING_DOWN: "the cooldown ends",
    Reason.RATE_LIMITED: "the rate policy's period ends",
    Reason.CONFLICT: "conflict_hold ends",
    Reason.PODS_PENDING: "pending_limit ends",
    Reason.NOT_IDLE: "idle_period ends",
    Reason.AT_MINIMUM: "the schedule changes",
    Reason.AT_MAXIMUM: "the schedule changes",
    Reason.METRIC_STALE: "hold_limit ends",
    Reason.METRIC_EMPTY: "hold_limit ends",
    Reason.METRIC_NOT_A_NUMBER: "hold_limit ends",
    Reason.METRIC_FAILED: "hold_limit ends",
    Reason.METRIC_PARTIAL: "hold_limit ends",
    Reason.TOO_MANY_SERIES: "hold_limit ends",
}
"""What ends a hold that ends by the clock."""
_QUIET = (Reason.STABILIZED, Reason.COOLING_DOWN, Reason.RATE_LIMITED, Reason.NOT_IDLE)
"""Holds whose end is no news where nothing comes after it."""


def foretell(outlook: Outlook) -> str:
    """Say what comes next, under which condition, and what holds it back until then."""
    if outlook.move is not None:
        return _moves(outlook, outlook.move)
    first, last = outlook.holds[:1], outlook.holds[-1:]
    parts = [_ending(hold) for hold in first if hold.until and hold.reason not in _QUIET]
    stays = f"stays at {outlook.current}"
    conditions = _conditions(outlook.conditions)
    if any(hold.until is None for hold in last):
        parts.append(f"{stays}: {_why(last[0])}")
    else:
        nothing = stays if parts else f"nothing to do: {stays}"
        parts.append(f"{nothing} while {conditions}" if conditions else nothing)
    return "; ".join([*parts, *(_turn(outlook, turn) for turn in outlook.turns)])


def _moves(outlook: Outlook, move: Move) -> str:
    if move.replace:
        told = f"replaces {move.replace}"
    else:
        grows = move.to > outlook.current
        further = f" or {'more' if grows else 'fewer'}" if outlook.further else ""
        told = f"{'grows' if grows else 'shrinks'} to {move.to}{further}"
    conditions = _conditions(outlook.conditions)
    told += f" at {_clock(move.at)}{f' if {conditions}' if conditions else ''} ({move.reason})"
    holds = ", then ".join(map(_why, outlook.holds))
    return f"{told}; until then {holds}" if holds else told


def _why(hold: Hold) -> str:
    return f"{hold.reason}{f' ({hold.detail})' if hold.detail else ''}"


def _ending(hold: Hold) -> str:
    at = _clock(hold.until) if hold.until else ""
    return f"goes on at {at} when {_ENDS.get(hold.reason, f'{hold.reason} ends')}"


def _conditions(conditions: tuple[Condition, ...]) -> str:
    return " and ".join(f"{each.metric} stays {_range(each)}" for each in conditions)


def _range(condition: Condition) -> str:
    low, high = condition.low, condition.high
    if high is not None and number(high) == "0":
        return "at 0"
    if low is None:
        return f"under {number(high)}"
    return f"above {number(low)}" if high is None else f"between {number(low)} and {number(high)}"


def _turn(outlook: Outlook, turn: Turn) -> str:
    move, value = turn.move, number(turn.value)
    if move.replace:
        does = f"replace {move.replace}"
    else:
        does = f"{'grow' if move.to > outlook.current else 'shrink'} to {move.to}"
    where = f"above {value}" if turn.above else f"under {value}" if value != "0" else "0"
    if move.at - outlook.now <= outlook.step:
        return f"would {does} once {turn.metric} is {where}"
    return f"would {does} once {turn.metric} has been {where} for {_span(move.at - outlook.now)}"


def _span(span: timedelta) -> str:
    minutes, seconds = divmod(round(span.total_seconds()), 60)
    parts = [f"{minutes}m" if minutes else "", f"{seconds}s" if seconds or not minutes else ""]
    return " ".join(filter(None, parts))


def number(value: float | None) -> str:
    """Write a threshold; what is next to nothing is 0."""
    return f"{round(value or 0.0, 6):.6g}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}Z"

"""What a status says of each target, in words. What is not known is left out, and never a zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from autoscaler.adapters.lines import printable

_LATE = 3
"""Intervals after which the last cycle is too long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One target."""

    target: str
    replicas: str
    """Asked for, ready, and the bounds."""
    metrics: tuple[str, ...]
    """Each against its target value."""
    decision: str
    next: str
    age: str
    """Of the last cycle."""
    is_late: bool = False
    is_bad: bool = False
    """The last cycle did not do what it should."""


def rows_of(status: Mapping[str, Any]) -> tuple[Row, ...]:
    """Return a row for each target."""
    return tuple(_row(each, status) for each in status["targets"])


def head_of(status: Mapping[str, Any]) -> str:
    """Say which daemon it is, and whether it acts."""
    leads = {True: "leads", False: "stands by: another daemon leads, ask that one"}
    leader = status.get("leader")
    told = leads[leader] if isinstance(leader, bool) else "has not ended a cycle yet"
    return printable(f"autoscaler {status.get('version', '')}".strip() + f": {told}")


def _row(told: Mapping[str, Any], status: Mapping[str, Any]) -> Row:
    name = told["target"]
    age = _age(told.get("time"), status.get("now"))
    interval = status.get("interval")
    limit = timedelta(seconds=_LATE * interval) if isinstance(interval, int | float) else None
    outlook = told.get("outlook", {}).get("sentence")
    return Row(
        target=printable(name),
        replicas=_replicas(told),
        metrics=tuple(printable(_metric(key, each, told)) for key, each in _metrics(told)),
        decision=printable(_decision(told)),
        next=printable(outlook if isinstance(outlook, str) else ""),
        age="" if age is None else span(age),
        is_late=bool(age and limit and age > limit),
        is_bad=told.get("outcome") in ("failed", "conflicted") or "error" in told,
    )


def current_of(told: Mapping[str, Any]) -> int | None:
    """Return the replicas asked for now: what was decided, where that was written."""
    number = told.get("to" if told.get("outcome") == "scaled" else "from")
    return number if isinstance(number, int) else None


def _replicas(told: Mapping[str, Any]) -> str:
    current, ready, bounds = current_of(told), told.get("ready"), told.get("bounds", {})
    if current is None:
        return ""
    low, high = bounds.get("min_replicas"), bounds.get("max_replicas")
    within = f", bounds {low}..{high}" if None not in (low, high) else ""
    schedule = told.get("schedule")
    by = f" by {schedule}" if schedule and within else ""
    return printable(f"{current}, {ready} ready{within}{by}")


def _metrics(told: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return list(told.get("metrics", {}).items())


def _metric(name: str, metric: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    value, target, ratio = metric.get("value"), metric.get("target"), metric.get("ratio")
    quality = metric.get("quality", "Fresh")
    if not isinstance(value, int | float):
        return f"{name} {quality}" + (f": {metric['detail']}" if metric.get("detail") else "")
    number = current_of(told)
    if metric.get("type") == "total" and isinstance(target, int | float) and number:
        target = target * number
    against = f" of {target:.4g}" if isinstance(target, int | float) else ""
    times = f" ({ratio:.2f}x)" if isinstance(ratio, int | float) else ""
    return f"{name} {value:.4g}{against}{times}" + (f" {quality}" if quality != "Fresh" else "")


def _decision(told: Mapping[str, Any]) -> str:
    sentence = told.get("sentence", "").removeprefix(f"{told['target']}: ")
    return f"{sentence} [shadow]" if told.get("mode") == "shadow" else sentence


def _age(at: object, now: object) -> timedelta | None:
    try:
        return datetime.fromisoformat(str(now)) - datetime.fromisoformat(str(at))
    except (ValueError, TypeError):
        return None


def span(age: timedelta) -> str:
    """Write a span in its two largest units."""
    seconds = max(0, round(age.total_seconds()))
    for unit, size, next_unit, next_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit} {seconds % size // next_size}{next_unit}"
    return f"{seconds // 60}m {seconds % 60}s" if seconds >= 60 else f"{seconds}s"

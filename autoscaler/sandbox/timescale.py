"""One factor for every duration: at speed 10, a minute of the cluster takes six seconds here.

The daemon's configuration, the ranges inside its queries, HAProxy's timers and Prometheus'
intervals are divided alike. What guards against a slow machine stays as it is (time limits of
requests between processes): the machine does not get faster.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from autoscaler.duration import format_duration, parse_duration

SCALED_KEYS = frozenset(
    {
        "interval", "max_age", "stabilization_window", "cooldown", "period", "hold_limit",
        "pending_limit", "conflict_hold", "idle_period", "stuck_after",
    }
)  # fmt: skip
"""Keys of the daemon's configuration that are divided."""
KEPT_KEYS = frozenset({"timeout", "duration"})
"""Keys that hold a duration and are not."""

_SHORTEST = timedelta(milliseconds=1)
# Connecting and being checked take a busy machine real time, and so does each look at the DNS.
_GATEWAY_SHORTEST = {
    "GATEWAY_CONNECT_TIMEOUT": timedelta(seconds=1),
    "GATEWAY_CHECK_TIMEOUT": timedelta(seconds=1),
    "GATEWAY_RESOLVE_INTERVAL": timedelta(milliseconds=25),
}
_QUERY_PARTS = re.compile(
    r"""
    (?P<text> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | `[^`]*` )  # label values, left alone
    | \#[^\n]*                                                   # comments likewise
    | \[ \s* (?P<range>[0-9a-z]+) \s* (?: : \s* (?P<step>[0-9a-z]*) \s* )? \]
    | \b offset \s+ -? \s* (?P<offset>[0-9][0-9a-z]*)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One value that the run changes in the shipped configuration."""

    key: str
    shipped: str
    here: str


def divide(duration: str, speed: float, shortest: timedelta = _SHORTEST) -> str:
    """Divide a duration in Prometheus' notation; a positive one stays positive."""
    span = parse_duration(duration)
    return duration if not span or speed == 1 else format_duration(max(shortest, span / speed))


def divide_query(query: str, speed: float) -> str:
    """Divide the ranges, steps and offsets inside a PromQL expression."""

    def scaled(match: re.Match[str]) -> str:
        found = match.group()
        for part in ("step", "range", "offset"):  # from the back, so that positions stay true
            if match[part]:
                start, end = (place - match.start() for place in match.span(part))
                found = found[:start] + divide(match[part], speed) + found[end:]
        return found

    return query if speed == 1 else _QUERY_PARTS.sub(scaled, query)


def divide_config(settings: object, speed: float) -> object:
    """Divide every duration of the daemon's configuration, given and returned as plain data."""
    if isinstance(settings, dict):
        return {key: _divide_value(key, value, speed) for key, value in settings.items()}
    if isinstance(settings, list):
        return [divide_config(entry, speed) for entry in settings]
    return settings


def _divide_value(key: str, value: object, speed: float) -> object:
    if not isinstance(value, str):
        return divide_config(value, speed)
    if key in SCALED_KEYS:
        return divide(value, speed)
    return divide_query(value, speed) if key == "query" else value


def divide_gateway(variables: Mapping[str, str], speed: float) -> dict[str, str]:
    """Divide the durations among HAProxy's variables and return those alone, in milliseconds.

    HAProxy knows no compound ones such as 1m20s.
    """
    divided = {
        name: divide(value, speed, _GATEWAY_SHORTEST.get(name, _SHORTEST))
        for name, value in variables.items()
        if _is_duration(value)
    }
    return {name: f"{parse_duration(value) // _SHORTEST}ms" for name, value in divided.items()}


def differences(shipped: object, here: object, key: str = "") -> Iterator[Difference]:
    """Compare two configurations of one shape, value by value."""
    if isinstance(shipped, dict) and isinstance(here, dict):
        for name in shipped:
            yield from differences(shipped[name], here[name], f"{key}.{name}".lstrip("."))
    elif isinstance(shipped, list) and isinstance(here, list):
        for number, (old, new) in enumerate(zip(shipped, here, strict=True)):
            yield from differences(old, new, f"{key}[{number}]")
    elif shipped != here:
        # Of a query, only the parts that differ: the whole would hide them.
        show = _spans if key.endswith(".query") else _show
        yield Difference(key=key, shipped=show(shipped), here=show(here))


def _is_duration(value: str) -> bool:
    try:
        return bool(parse_duration(value))
    except ValueError:
        return False


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _spans(query: object) -> str:
    found = _QUERY_PARTS.finditer(str(query))
    return " ".join(match.group() for match in found if match["range"] or match["offset"])

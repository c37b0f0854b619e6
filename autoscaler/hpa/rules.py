"""What becomes of the count that the metrics ask for: HPA's stabilization and limits.

There are two ways, and they differ: without `behavior` an old limit holds (twice as many, or
four); with it, windows and rate policies for each direction.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Log = list[tuple[float, int]]  # when, and how many: recommendations, or changes


@dataclass(frozen=True, slots=True)
class Rate:
    """No more than this many pods, or percent, within a period."""

    kind: Literal["pods", "percent"]
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction of `behavior`; None is what was left out."""

    rates: tuple[Rate, ...] | None = None
    window: float | None = None
    select: Literal["max", "min", "disabled"] | None = None


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of `behavior`, complete."""

    rates: tuple[Rate, ...]
    window: float
    select: Literal["max", "min", "disabled"] = "max"

    def changed(self, rules: Rules | None) -> "Direction":
        """Return these, but for what the rules say."""
        if rules is None:
            return self
        return Direction(
            rates=self.rates if rules.rates is None else rules.rates,
            window=self.window if rules.window is None else rules.window,
            select=rules.select or self.select,
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """The fewest and the most replicas."""

    low: int = 1
    high: int = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked for, at a moment, of how many there are to be now."""

    now: float
    current: int
    wanted: int


UP = Direction(rates=(Rate("pods", 4, 15), Rate("percent", 100, 15)), window=0.0)
DOWN = Direction(rates=(Rate("percent", 100, 15),), window=300.0)


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions, with what Kubernetes fills in."""

    up: Direction = UP
    down: Direction = DOWN


@dataclass(slots=True)
class Memory:
    """What the controller keeps: recommendations, and the changes that it made."""

    recommendations: Log = field(default_factory=list)
    added: Log = field(default_factory=list)
    removed: Log = field(default_factory=list)


def highest_recent(log: Log, now: float, wanted: int, window: float) -> int:
    """Return the highest of the window's recommendations, and remember this one."""
    highest = max([wanted, *(number for at, number in log if at >= now - window)])
    _put(log, (now, wanted), lambda at: at < now - window)
    return highest


def old_limit(current: int, wanted: int, bounds: Bounds) -> int:
    """Keep within the bounds, and when growing below twice as many (or four)."""
    if wanted < bounds.low:
        return bounds.low
    return min(wanted, bounds.high, max(2 * current, 4))


def between_windows(log: Log, ask: Ask, up_window: float, down_window: float) -> int:
    """Move from the current count no further than each direction's window agrees on."""
    up_since, down_since = ask.now - up_window, ask.now - down_window
    lowest = min([ask.wanted, *(number for at, number in log if at > up_since)])
    highest = max([ask.wanted, *(number for at, number in log if at > down_since)])
    _put(log, (ask.now, ask.wanted), lambda at: at < up_since and at < down_since)
    return min(max(ask.current, lowest), highest)


def rate_limit(memory: Memory, ask: Ask, bounds: Bounds, behavior: Behavior) -> int:
    """Change no faster than the rate policies allow, within the bounds."""
    if ask.wanted > ask.current:
        furthest = max(ask.current, furthest_up(memory, ask.now, ask.current, behavior.up))
        return min(ask.wanted, furthest, bounds.high)
    if ask.wanted < ask.current:
        furthest = min(ask.current, furthest_down(memory, ask.now, ask.current, behavior.down))
        return max(ask.wanted, furthest, bounds.low)
    return ask.wanted


def furthest_up(memory: Memory, now: float, current: int, rules: Direction) -> int:
    """Return how far the policies let it grow, from the count at their period's start."""
    pick = min if rules.select == "min" else max
    return pick(
        (
            base + rate.value if rate.kind == "pods" else math.ceil(base * (1 + rate.value / 100))
            for rate, base in _bases(memory, now, current, rules)
        ),
        default=current,
    )


def furthest_down(memory: Memory, now: float, current: int, rules: Direction) -> int:
    """Return how far the policies let it shrink, from the count at their period's start."""
    pick = max if rules.select == "min" else min
    return pick(
        (
            base - rate.value if rate.kind == "pods" else int(base * (1 - rate.value / 100))
            for rate, base in _bases(memory, now, current, rules)
        ),
        default=current,
    )


def changed_within(log: Log, now: float, period: float) -> int:
    """Return by how many replicas a direction's changes of the period add up."""
    return sum(number for at, number in log if at > now - period)


def record_change(memory: Memory, ask: Ask, behavior: Behavior) -> None:
    """Remember that what was asked for was done, for the rate policies."""
    growing = ask.wanted > ask.current
    log = memory.added if growing else memory.removed
    rates = behavior.up.rates if growing else behavior.down.rates
    since = ask.now - max((rate.period for rate in rates), default=0.0)
    _put(log, (ask.now, abs(ask.wanted - ask.current)), lambda at: at < since)


def _bases(
    memory: Memory, now: float, current: int, rules: Direction
) -> Iterator[tuple[Rate, int]]:
    """Return each policy with the count at the start of its period; none where it is disabled."""
    for rate in rules.rates if rules.select != "disabled" else ():
        added = changed_within(memory.added, now, rate.period)
        removed = changed_within(memory.removed, now, rate.period)
        yield rate, current - added + removed


def _put(log: Log, entry: tuple[float, int], outdated: Callable[[float], bool]) -> None:
    """Remember an entry in the place of the last outdated one, or at the end."""
    old = [place for place, (at, _) in enumerate(log) if outdated(at)]
    if old:
        log[old[-1]] = entry
    else:
        log.append(entry)

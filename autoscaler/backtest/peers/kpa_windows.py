"""Knative's two windows over time: a mean over what has data, and a maximum."""

import math
from collections import deque


class Means:
    """Values in buckets of time; their mean over a window, or over the part of it with data."""

    def __init__(self, window: float, grain: float = 1.0) -> None:
        self._window = window
        self._grain = grain
        self._buckets = [0.0] * math.ceil(window / grain)
        self._total = 0.0
        self._first: int | None = None  # bucket numbers since the beginning of time
        self._last = 0

    def record(self, now: float, value: float) -> None:
        """Add a value; one that is older than the window is dropped."""
        place = self._place(now)
        if self._first is None:
            self._first = self._last = place
        elif place != self._last:
            if (self._last - place) * self._grain >= self._window:
                return
            self._first = min(self._first, place)
            if place > self._last:
                self._advance(place)
        self._buckets[place % len(self._buckets)] += value
        self._total += value

    def empty(self, now: float) -> bool:
        """Tell whether nothing has come for longer than the window."""
        return self._first is None or self._since_last(now) * self._grain > self._window

    def mean(self, now: float) -> float:
        """Return the mean; after a time without data, that of the window's part before it."""
        behind = self._since_last(now)
        if self._first is None or behind * self._grain >= self._window:
            return 0.0
        size = len(self._buckets)
        total = self._total
        for place in range(self._last + 1, self._last + behind + 1):
            total -= self._buckets[place % size]
        return _rounded(total / min(self._last - self._first + 1, size - behind))

    def _advance(self, place: int) -> None:
        size = len(self._buckets)
        if (place - self._last) * self._grain >= self._window:
            self._first = place
            self._buckets = [0.0] * size
            self._total = 0.0
        for gap in range(max(self._last, place - size) + 1, place + 1):
            self._total -= self._buckets[gap % size]
            self._buckets[gap % size] = 0.0
        self._last = place

    def _since_last(self, now: float) -> int:
        return max(0, self._place(now) - self._last)

    def _place(self, now: float) -> int:
        return math.floor(now / self._grain)


class Highest:
    """The highest value of the last so many ticks."""

    def __init__(self, window: float, grain: float) -> None:
        self._size = math.ceil(window / grain)
        self._grain = grain
        self._falling: deque[tuple[int, int]] = deque()  # (tick, value), values falling

    def record(self, now: float, value: int) -> int:
        """Add a value, and return the highest."""
        tick = math.floor(now) // int(self._grain)
        kept = self._falling
        while kept and value >= kept[-1][1]:
            kept.pop()
        while kept and tick - kept[0][0] >= self._size:
            kept.popleft()
        if not kept or kept[-1][0] != tick:  # within one tick the highest stays
            kept.append((tick, value))
        return kept[0][1]


def _rounded(value: float) -> float:
    """Round to six digits, halves away from zero."""
    return math.copysign(math.floor(abs(value) * 1e6 + 0.5) / 1e6, value)

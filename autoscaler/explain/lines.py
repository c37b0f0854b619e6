"""Many cycles, one line each: the sentences of the log, or only those that say something new."""

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import TypeVar

from autoscaler.adapters.lines import printable
from autoscaler.explain.moments import Moment
from autoscaler.explain.screen import gap_sentence, viewed
from autoscaler.explain.source import Found

T = TypeVar("T")


def told(found: Found, zone: tzinfo | None) -> str:
    """Return a cycle's line."""
    return f"{found.at.astimezone(zone):%Y-%m-%d %H:%M:%S}  {sentence(found)}"


def sentence(found: Found) -> str:
    """Return what the log said of a cycle."""
    if found.record is not None:
        return printable(viewed(found.record).sentence)
    if found.gap is None:
        return ""
    more = f" ({found.gap.cycles} cycles in a row)" if found.gap.cycles > 1 else ""
    return printable(gap_sentence(found.gap)) + more


def changes(found: Iterable[Found]) -> Iterator[Found]:
    """Yield a cycle that came to something else than the target's last, or moved the number."""
    last: dict[str, tuple[object, ...]] = {}
    for one in found:
        said = _said(one)
        if last.get(one.target) != said:
            yield one
        last[one.target] = said


def since(items: Iterable[tuple[datetime, T]], start: Moment | timedelta | None) -> Iterator[T]:
    """Yield what is late enough; where that depends on the last, once that is known."""
    waiting: deque[tuple[datetime, T]] = deque()
    known_at_once = start is None or (isinstance(start, Moment) and start.fixed is not None)
    for at, item in items:
        begin = _begin(at, start)
        if start is not None and begin is None:  # too early
            continue
        if known_at_once:
            yield item
            continue
        waiting.append((at, item))
        while begin is not None and waiting and waiting[0][0] < begin:
            waiting.popleft()
    yield from (item for _, item in waiting)


def _begin(newest: datetime, start: Moment | timedelta | None) -> datetime | None:
    """Return from when on lines count, as far as the newest tells; None where it is too early."""
    if isinstance(start, Moment):
        return start.latest(newest)
    return None if start is None else newest - start


def _said(found: Found) -> tuple[object, ...]:
    if found.record is None:
        gap = found.gap
        return (gap.outcome, gap.reason, gap.error) if gap else ()
    decision = found.record.decision
    return decision.from_, decision.to, decision.reason, found.record.outcome

"""Which cycles are meant: the last of each target, the one in force at a time, those since one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

from autoscaler.errors import InputError
from autoscaler.explain.moments import Moment, shown_range
from autoscaler.explain.source import Found, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a target was at when."""

    found: Found
    """A record, or the gap that there is instead."""
    before: Found | None = None
    """The last record before a gap."""


class Span:
    """From when to when the records go, and whose they are."""

    def __init__(self) -> None:
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.targets: dict[str, None] = {}

    def add(self, found: Found) -> None:
        """Take note of one more."""
        self.first = found.at if self.first is None else min(self.first, found.at)
        self.last = found.at if self.last is None else max(self.last, found.at)
        self.targets.setdefault(found.target)

    def shown(self, zone: tzinfo | None) -> str:
        """Write the range."""
        if self.first is None or self.last is None:
            return "nothing"
        return shown_range(self.first, self.last, zone)


def of_target(found: Iterable[Found], target: str | None, span: Span) -> Iterator[Found]:
    """Yield the lines of one target, or of all; `span` learns of every target."""
    for one in found:
        if target is None or one.target == target:
            span.add(one)
            yield one
        else:
            span.targets.setdefault(one.target)


def require_some(span: Span, source: Source, target: str | None) -> None:
    """Refuse a source without records, or without those of the target. Raises InputError."""
    if not span.targets:
        rule = "must hold one line for each cycle of a daemon"
        raise InputError(f"{source.name}: holds no records, {rule}", next_step=source.another)
    if span.first is None:
        names = sorted(span.targets)
        raise InputError(
            f"--target = {target}, has no records here, must be one of {', '.join(names)}",
            next_step=f"type it again with --target {names[0]}",
        )


def last_of_each(source: Source, target: str | None, span: Span) -> list[Chosen]:
    """Return the last cycle of each target; older files are opened only for want of newer lines."""
    for part in source.newest():
        if chosen := latest(of_target(part, target, span)):
            return chosen
    return []


def latest(found: Iterable[Found]) -> list[Chosen]:
    """Return the last cycle of each target."""
    last: dict[str, Chosen] = {}
    for one in found:
        last[one.target] = _chosen(one, last.get(one.target))
    return list(last.values())


def in_force(found: Iterable[Found], moment: Moment, span: Span) -> list[tuple[Chosen, datetime]]:
    """Return, for each target, the cycle in force at a moment, and which time that is.

    It is the last one not later. Raises InputError where the records do not reach there.
    """
    searches: dict[str, _InForce] = {}
    for one in found:
        searches.setdefault(one.target, _InForce(moment)).add(one)
    best = [chosen for search in searches.values() if (chosen := search.best())]
    if searches and not best:
        last = f"{span.last.astimezone(moment.zone):%H:%M:%S}" if span.last else ""
        raise InputError(
            f"--at = {moment.text}, no cycle is recorded then, must lie within the records: "
            f"{span.shown(moment.zone)}",
            next_step=f"type it again with --at {last}",
        )
    return best


class _InForce:
    """Looks at the lines of one target as they come."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._last: Chosen | None = None
        self._best: tuple[Chosen, datetime] | None = None

    def add(self, found: Found) -> None:
        """Look at the next line."""
        last, self._last = self._last, _chosen(found, self._last)
        began = self._moment.rounded(found.at)
        at = self._moment.latest(began)
        if at is None:
            return
        if began == at or (last is None and began - at < self._moment.slack):
            self._best = (self._last, at)
        elif last is not None and self._moment.rounded(last.found.at) <= at < began:
            self._best = (last, at)

    def best(self) -> tuple[Chosen, datetime] | None:
        """Return what was found."""
        return self._best


def _chosen(found: Found, last: Chosen | None) -> Chosen:
    if found.record is not None or last is None:
        return Chosen(found=found)
    return Chosen(found=found, before=last.found if last.found.record else last.before)


def refused_since(text: str, span: Span, zone: tzinfo | None) -> InputError:
    """Return the refusal of a start behind the end."""
    rule = f"no cycle is recorded since then, must lie within the records: {span.shown(zone)}"
    return InputError(f"--since = {text}, {rule}", next_step="type it again with --since 15m")

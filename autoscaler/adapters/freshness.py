"""Makes the age of a query's data part of its answer. Text in, text out; nothing is sent here.

Prometheus stamps an instant query's answer with the time of evaluation, whatever the age of the
samples behind it. So a query is sent with riders: for each of its selectors, one more series
that says how old the newest sample of the selector's oldest series is.

    (<query>) or label_replace(max(time() - timestamp(<selector>)), "__age_..__", "a0", "", "")

Both times are the server's, so that a difference between its clock and ours does not matter. What
"newest sample" means follows what the query itself would read at that place:

- a plain selector: `timestamp(selector)`, which looks back as far as the server does;
- a range `x[2m]`: also samples from before a stale marker, found by evaluating `timestamp` at 60
  points of the range (of its last 5 minutes too, where it is longer); a series that slips
  through the points counts as old as the range is long;
- a subquery: the same subquery over `timestamp`, so its own steps count;
- `offset`: age is counted from the time that was asked for, so the offset is taken off;
- `@ 1700000000`: the data is as old as that; `@ end()` and `@ start()` are now.

Limits: a recording rule's series is as old as the rule's last evaluation, not as its input. A
source that stamps its own samples is believed. What `info()` joins is not looked at. Series that
find no partner in a join count as well: an age may be too high, never too low.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256

from autoscaler.adapters.promql import Place, QueryError, Selector, matcher, parse_query

_MAX_NAMES = 50
_MAX_REMEMBERED = 8192
"""Queries of about 2 kB each; more than 1,000 targets have."""
_POINTS = 60
_NEAR = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessQuery:
    """A query with its riders, and how to tell the two apart in the answer."""

    text: str
    """What to send; always an instant vector."""
    marker: str
    """The label that only riders carry: `a0`, `a1`, .. where the value is the age of a whole
    selector in seconds, `p0`, `p1`, .. where it is the age by `pod`."""
    has_selectors: bool
    """False: the query reads no series, so there is nothing that could be old."""
    names_query: str = ""
    """Not empty: `timestamp` drops the metric's name, so two metrics with equal labels would
    collide. Ask this first, hand its answer to `names_found`, and build again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """How old the data is that each selector read, in seconds."""

    whole: tuple[float, ...] = ()
    by_pod: tuple[tuple[str, float], ...] = ()

    def __bool__(self) -> bool:
        """Tell whether any selector found a series at all."""
        return bool(self.whole or self.by_pod)

    def of(self, pod: str) -> float:
        """Return the age of the oldest data behind the result for `pod` ("" for none)."""
        own = [age for name, age in self.by_pod if name in {pod, ""}]
        return max(own + list(self.whole) or [age for _, age in self.by_pod])


@lru_cache(_MAX_REMEMBERED)
def first_query(query: str, *, per_pod: bool) -> FreshnessQuery:
    """Return the query with its riders, remembered: reading one costs more than asking it."""
    return freshness_query(query, per_pod=per_pod)


def freshness_query(
    query: str, *, per_pod: bool = False, names: Mapping[str, Sequence[str]] | None = None
) -> FreshnessQuery:
    """Return the query with its riders.

    `per_pod` tells ages by pod where a selector's label `pod` reaches the result. Raises
    QueryError with one line that says what is wrong with the query.
    """
    parsed = parse_query(query)
    head = f"vector(\n{query}\n)" if parsed.is_scalar else f"(\n{query}\n)"
    marker = f"__age_{sha256(query.encode()).hexdigest()[:8]}__"
    unnamed = [each for each in parsed.selectors if not each.named]
    selectors = list(_with_names(parsed.selectors, names or {}))
    riders = [
        _rider(selector, number, marker, per_pod=per_pod)
        for number, selector in enumerate(selectors)
    ]
    return FreshnessQuery(
        text="\nor ".join([head, *riders]),
        marker=marker,
        has_selectors=bool(parsed.selectors),
        names_query="" if names is not None else "\nor ".join(map(_names, unnamed)),
    )


def names_found(labels: Sequence[Mapping[str, str]]) -> Mapping[str, Sequence[str]]:
    """Turn the label sets of the answer to a `names_query` into the argument `names`."""
    found: dict[str, list[str]] = {}
    for each in labels:
        found.setdefault(each["selector"], []).append(each["name"])
    return found


def split_ages(
    marker: str, series: Sequence[tuple[Mapping[str, str], float]]
) -> tuple[list[tuple[Mapping[str, str], float]], Ages]:
    """Part an answer into the query's own series and what the riders say."""
    own, whole, by_pod = [], [], []
    for labels, value in series:
        rider = labels.get(marker, "")
        if not rider:
            own.append((labels, value))
        elif rider.startswith("p"):
            by_pod.append((labels.get("pod", ""), value))
        else:
            whole.append(value)
    return own, Ages(whole=tuple(whole), by_pod=tuple(by_pod))


def _rider(selector: Selector, number: int, marker: str, *, per_pod: bool) -> str:
    group, mark = (" by (pod) ", "p") if per_pod and selector.by_pod else ("", "a")
    offset = _offset(selector)
    now = f"time() - {_seconds(offset)}" if offset else "time()"
    age = f"{now} - ({_newest(selector)})"
    return f'label_replace(max{group}({age}), "{marker}", "{mark}{number}", "", "")'


def _offset(selector: Selector) -> timedelta:
    """Add up the offsets, outwards to the first `@`, which pins the rest."""
    total = timedelta(0)
    for level in (selector.place, *selector.outer):
        total += level.offset
        if level.at is not None:
            break
    return total


def _newest(selector: Selector) -> str:
    """Write a vector: the time of the newest sample of each series that the query reads."""
    place, series = selector.place, _series(selector)
    text = f"timestamp({series}{_modifiers(place)})"
    if place.range is not None:
        # Inside a subquery its own steps reach back; elsewhere we have to.
        for reach in () if selector.outer else _reaches(place.range):
            step = max(reach / _POINTS, timedelta(milliseconds=1))
            window = Place(range=reach, step=step, offset=place.offset, at=place.at)
            text += f" or max_over_time(timestamp({series}){_window(window)})"
        # The look-back may be wider than the range, and a series may slip through the steps.
        end = f"{place.at:.3f}" if isinstance(place.at, float) else "time()"
        start = f"({end} - {_seconds(place.offset + place.range)})"
        present = f"present_over_time({series}[{_duration(place.range)}]{_modifiers(place)})"
        text = f"({text}) >= {start} or {present} * {start}"
    return _through(selector, "max_over_time", text)


def _names(selector: Selector) -> str:
    """Write a query for the names of the metrics that a selector can have read."""
    reach = (selector.place.range or timedelta(0)) + _NEAR
    over = f"[{_duration(reach)}]{_modifiers(selector.place)}"
    found = f"group by (__name__) (last_over_time({_series(selector)}{over}))"
    text = _through(selector, "last_over_time", found)
    text = f'label_replace({text}, "name", "$1", "__name__", "(.+)")'
    return f'label_replace({text}, "selector", "{_key(selector)}", "", "")'


def _with_names(
    selectors: Sequence[Selector], names: Mapping[str, Sequence[str]]
) -> Iterator[Selector]:
    for selector in selectors:
        found = names.get(_key(selector), ())
        if len(found) > _MAX_NAMES:
            raise QueryError(
                f"{_series(selector)} selects {len(found)} metric names, must select at most"
                f" {_MAX_NAMES} for their age to be known"
            )
        if selector.named:
            yield selector
        for name in found:
            exact = matcher("__name__", "=", name)
            yield replace(selector, matchers=(exact, *selector.matchers), named=True)


def _key(selector: Selector) -> str:
    return sha256(repr(selector).encode()).hexdigest()[:8]


def _series(selector: Selector) -> str:
    return "{" + ",".join(selector.matchers) + "}"


def _through(selector: Selector, function: str, text: str) -> str:
    """Wrap a vector in the subqueries that the selector stands in."""
    for level in selector.outer:
        text = f"{function}(({text}){_window(level)})"
    return text


def _window(place: Place) -> str:
    step = _duration(place.step) if place.step else ""
    return f"[{_duration(place.range or timedelta(0))}:{step}]{_modifiers(place)}"


def _modifiers(place: Place) -> str:
    at = f"{place.at:.3f}" if isinstance(place.at, float) else f"{place.at}()"
    offset = f" offset {_duration(place.offset)}" if place.offset else ""
    return offset if place.at is None else f" @ {at}{offset}"


def _reaches(span: timedelta) -> Sequence[timedelta]:
    """Look closely at the last minutes, where `max_age` lies, and roughly at the rest."""
    return (span,) if span <= _NEAR else (_NEAR, span)


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.3f}"


def _duration(span: timedelta) -> str:
    return f"{round(span / timedelta(milliseconds=1))}ms"

"""What a policy could have cost at best.

No policy can do with less than `lower`, and a clairvoyant needs no more than `upper`. Both are in
replica-seconds, start-up included, for requests that get a slot within the wish but for a share
`misses` of them, under the service model (a start costs D, no jitter).

Lower: whoever is served in time is surely in service from arrival + wish to arrival + S, if S is
longer; so many replicas must be up then. All work must be done. Levels of replicas are kept
through a gap or started again, whichever is cheaper. A weight joins work and presence, the best of
a grid is taken. A missed request may not be served at all: its work, its presence and a start are
taken off, those of the costliest.

Upper: first fit in the order of arrival: a warm idle slot, else a busy one that is free within the
wish, else a cold replica, else a new one up to the smallest number that the misses allow. With
several slots, all are as slow as when they are all busy.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from math import floor, inf

from autoscaler.backtest.requests import Requests
from autoscaler.backtest.service import Service

_WEIGHTS = tuple(step / 20 for step in range(21))


def lower(requests: Requests, service: Service, wish: float, misses: float = 0.01) -> float:
    """Return what no policy can do without."""
    work = requests.work(service)
    allowed = floor(misses * len(work) + 1e-9)
    musts = [max(0.0, seconds - wish) for seconds in work]
    levels = _Levels(list(_steps(_presence(requests, work, wish), service.slots)))
    levels.highest = max(levels.highest, min(1, len(work)))  # somebody must be there at all
    best = 0.0
    for weight in _WEIGHTS:
        shares = (
            weight * seconds / service.gamma + (1 - weight) * must
            for seconds, must in zip(work, musts, strict=True)
        )
        spared = sum(nlargest(allowed, shares)) + allowed * service.start
        bound = weight * sum(work) / service.gamma + levels.cost(1 - weight, service.start)
        best = max(best, bound - spared)
    return best


def upper(requests: Requests, service: Service, wish: float, misses: float = 0.01) -> float:
    """Return what a clairvoyant schedule costs that meets the wish."""
    slowest = 1 / service.speed(service.slots)
    work = array("d", (seconds * slowest for seconds in requests.work(service)))
    allowed = floor(misses * len(work) + 1e-9)
    low, high = 0, 1
    while _missed(_first_fit(requests, work, service, wish, high), work) > allowed:
        low, high = high, high * 2
    while low + 1 < high:
        middle = (low + high) // 2
        if _missed(_first_fit(requests, work, service, wish, middle), work) > allowed:
            low = middle
        else:
            high = middle
    fleet = _first_fit(requests, work, service, wish, high)
    return sum(_kept(spans, service.start) for spans in fleet if spans)


def _missed(fleet: "list[list[tuple[float, float]]]", work: Sequence[float]) -> int:
    return len(work) - sum(map(len, fleet))


def presence_cost(spans: Sequence[tuple[float, float]], slots: int, start: float) -> float:
    """Return the least that replicas cost of which enough are up for these spans of service."""
    return _Levels(list(_steps(spans, slots))).cost(1.0, start)


def _presence(requests: Requests, work: Sequence[float], wish: float) -> list[tuple[float, float]]:
    return [
        (at + wish, at + seconds)
        for at, seconds in zip(requests.arrival, work, strict=True)
        if seconds > wish
    ]


def _steps(spans: Sequence[tuple[float, float]], slots: int) -> Iterator[tuple[float, int]]:
    """Yield (time, replicas needed from then on) whenever that changes."""
    changes: Counter[float] = Counter()
    for begin, end in spans:
        changes[begin] += 1
        changes[end] -= 1
    count = needed = 0
    for at in sorted(changes):
        count += changes[at]
        if -(-count // slots) != needed:
            needed = -(-count // slots)
            yield at, needed


class _Levels:
    """How long each level of replicas is up, and the gaps in between."""

    def __init__(self, steps: Sequence[tuple[float, int]]) -> None:
        self.up = 0.0
        self.gaps: list[float] = []
        self.highest = 0
        since: list[float] = []
        """When each level began."""
        ended: dict[int, float] = {}
        """When each level last ended."""
        for at, needed in steps:
            while len(since) < needed:
                level = len(since)
                if level in ended:
                    self.gaps.append(at - ended[level])
                since.append(at)
            while len(since) > needed:
                self.up += at - since.pop()
                ended[len(since)] = at
            self.highest = max(self.highest, needed)

    def cost(self, running: float, start: float) -> float:
        """Return the least cost at so much per replica-second and start."""
        gaps = sum(min(running * gap, start) for gap in self.gaps)
        return running * self.up + gaps + start * self.highest


@dataclass(slots=True)
class _Box:
    """One replica of the schedule."""

    free: list[float]
    """When each slot is free."""
    until: float = -inf
    """When the last of them is."""


def _first_fit(
    requests: Requests, work: Sequence[float], service: Service, wish: float, most: int
) -> "list[list[tuple[float, float]]]":
    """Return each replica's spans of service; who finds no place is in none."""
    boxes: list[_Box] = []
    fleet: list[list[tuple[float, float]]] = []
    for at, seconds in zip(requests.arrival, work, strict=True):
        number, slot = _place(boxes, at, wish, service.start)
        if number is None:
            if len(boxes) == most:
                continue
            boxes.append(_Box([-inf] * service.slots))
            fleet.append([])
            number = len(boxes) - 1
        box = boxes[number]
        begin = max(at, box.free[slot])
        box.free[slot] = begin + seconds
        box.until = max(box.until, begin + seconds)
        fleet[number].append((begin, begin + seconds))
    return fleet


def _place(boxes: Sequence[_Box], at: float, wish: float, start: float) -> tuple[int | None, int]:
    """Return replica and slot: warm and idle, else free soon, else cold; else no replica."""
    cold: int | None = None
    soon, soonest, when = None, 0, at + wish
    for number, box in enumerate(boxes):
        slot = min(range(len(box.free)), key=box.free.__getitem__)
        free = box.free[slot]
        if free <= at:
            if at - box.until < start:
                return number, slot
            cold = number if cold is None else cold
        elif free <= when and (soon is None or free < boxes[soon].free[soonest]):
            soon, soonest = number, slot
    return (soon, soonest) if soon is not None else (cold, 0)


def _kept(spans: Sequence[tuple[float, float]], start: float) -> float:
    """Return what one replica costs that is kept through gaps shorter than a start."""
    ordered = sorted(spans)
    cost, until = start, ordered[0][0]
    for begin, end in ordered:
        cost += min(max(0.0, begin - until), start)
        cost += max(0.0, end - max(begin, until))
        until = max(until, end)
    return cost

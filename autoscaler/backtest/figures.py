"""What a run comes to: the raw outcome, the figures of a table's row, and hashes of both ends."""

import json
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from hashlib import sha256
from itertools import pairwise
from math import ceil, isnan

from autoscaler.backtest.requests import Requests, portable
from autoscaler.backtest.service import Service

MODEL = 1
"""Raised whenever the same arguments come to something else."""
REVERSAL_S = 600.0
"""A move against the one before, within this time, is a reversal."""


class Status(IntEnum):
    """What became of a request."""

    SERVED = 0
    DROPPED = 1
    """The queue was full."""
    GAVE_UP = 2
    """Its patience ended in the queue."""
    CUT = 3
    """Its replica had to go before it was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """The life of one replica."""

    created: float
    placed: float | None
    """None: it never had a node, and cost nothing."""
    ready_at: float | None
    ended: float

    @property
    def seconds(self) -> float:
        """Return what it is paid for: start-up and drain included."""
        return 0.0 if self.placed is None else self.ended - self.placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A row of the table."""

    share: float
    """Requests that got a slot within the wish, over all that arrived."""
    replica_hours: float
    wait_p50: float
    wait_p99: float
    """Of all that were not turned away; who gave up has waited that long."""
    drops: int
    gave_up: int
    cut: int
    """Answers that a replica could not finish in its grace."""
    actions: int
    reversals: int
    starts: int
    """Replicas created after the first ones."""
    requests: int
    hours: float
    most: int
    """Replicas that existed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that a run leaves; `wait` and `left` by the requests' order."""

    requests: Requests
    service: Service
    seed: int
    initial: int
    end: float
    wait: "array[float]"
    """Seconds from arrival to slot; NaN for who was turned away."""
    left: "array[float]"
    """When each left, served or not."""
    status: bytearray
    visits: tuple[Visit, ...]
    actions: tuple[tuple[float, int, int], ...]
    """When the number was changed, from what, to what."""

    def figures(self, wish: float) -> Figures:
        """Return the figures; a slot within `wish` seconds is what users want."""
        waits = sorted(each for each in self.wait if not isnan(each))
        return Figures(
            share=self.share(wish),
            replica_hours=sum(visit.seconds for visit in self.visits) / 3600,
            wait_p50=_quantile(waits, 0.5),
            wait_p99=_quantile(waits, 0.99),
            drops=self.status.count(Status.DROPPED),
            gave_up=self.status.count(Status.GAVE_UP),
            cut=self.status.count(Status.CUT),
            actions=len(self.actions),
            reversals=sum(_turns(*pair) for pair in pairwise(self.actions)),
            starts=len(self.visits) - self.initial,
            requests=len(self.requests),
            hours=self.end / 3600,
            most=self._most(),
        )

    def share(self, wish: float) -> float:
        """Return the share that got a slot in time; nobody having asked, all of them did."""
        if not self.wait:
            return 1.0
        served = (Status.SERVED, Status.CUT)
        good = sum(
            wait <= wish and status in served
            for wait, status in zip(self.wait, self.status, strict=True)
        )
        return good / len(self.wait)

    def result_hash(self) -> str:
        """Return a hash of everything that happened."""
        digest = sha256()
        for column in (self.wait, self.left, self.status):
            digest.update(portable(column))
        digest.update(repr([_plain(visit) for visit in self.visits]).encode())
        digest.update(repr((self.actions, self.end)).encode())
        return digest.hexdigest()

    def input_hash(self, policy: Mapping[str, object]) -> str:
        """Return a hash of what the run was made of; `policy` describes who decided, as JSON."""
        told = {
            "model": MODEL,
            "requests": self.requests.key,
            "service": {key: repr(value) for key, value in asdict(self.service).items()},
            "seed": self.seed,
            "initial": self.initial,
            "policy": policy,
        }
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    def _most(self) -> int:
        changes = [(visit.placed, 1) for visit in self.visits if visit.placed is not None]
        changes += [(visit.ended, -1) for visit in self.visits if visit.placed is not None]
        count = most = 0
        for _, change in sorted(changes):
            count += change
            most = max(most, count)
        return most


def _plain(visit: Visit) -> tuple[float | None, ...]:
    return (visit.created, visit.placed, visit.ready_at, visit.ended)


def _turns(before: tuple[float, int, int], then: tuple[float, int, int]) -> bool:
    opposite = (before[2] - before[1]) * (then[2] - then[1]) < 0
    return opposite and then[0] - before[0] <= REVERSAL_S


def _quantile(ordered: list[float], share: float) -> float:
    """Return the smallest value that so many are not above; 0 where there is none."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0

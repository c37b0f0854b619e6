"""A log of requests, as three columns; thinned by a seeded coin, and cut into halves.

`key` names what it is: the log's own content and what was done to it since. Another log, another
seed or another share is another key.
"""

import random
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from pathlib import Path

from autoscaler.backtest.service import Service
from autoscaler.errors import InputError
from autoscaler.requestlog import read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests in the order of their arrivals."""

    name: str
    arrival: "array[float]"
    """Seconds since the start."""
    tokens_in: "array[int]"
    tokens_out: "array[int]"
    span: float
    """Seconds that it stands for, from 0 on."""
    key: str
    """Hash of where it comes from."""

    def __len__(self) -> int:
        return len(self.arrival)

    def work(self, service: Service) -> "array[float]":
        """Return how long each takes alone on a replica."""
        seconds = service.seconds
        return array("d", map(seconds, self.tokens_in, self.tokens_out))

    def load(self, service: Service) -> float:
        """Return the slots that it keeps busy on average, each alone on its replica."""
        return sum(self.work(service)) / self.span if self.span else 0.0

    def warm(self, service: Service, window: float = 300.0) -> int:
        """Return with how many replicas a run begins so that its first minutes are no cold start.

        What the first requests need at four fifths of what a replica can do; at least one.
        """
        span = min(window, self.span)
        work = sum(
            service.seconds(self.tokens_in[i], self.tokens_out[i])
            for i in range(len(self))
            if self.arrival[i] < span
        )
        return max(1, ceil(work / (span * service.gamma * 0.8))) if span else 1


def make(name: str, rows: Iterable[tuple[float, int, int]], span: float | None = None) -> Requests:
    """Put requests together; without a span, it ends with the last arrival."""
    arrival, tokens_in, tokens_out = array("d"), array("q"), array("q")
    for at, asked, answered in rows:
        arrival.append(at)
        tokens_in.append(asked)
        tokens_out.append(answered)
    digest = sha256()
    for column in (arrival, tokens_in, tokens_out):
        digest.update(portable(column))
    return Requests(
        name=name,
        arrival=arrival,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        span=span if span is not None else arrival[-1] if arrival else 0.0,
        key=digest.hexdigest(),
    )


def read(path: Path) -> Requests:
    """Read a CSV or CSV.gz. Raises InputError."""
    return make(path.name, (row[:3] for row in read_rows(path)))


def thin(requests: Requests, share: float, seed: int) -> Requests:
    """Keep each request by a coin of its own. A share of 1 keeps all, whatever the seed."""
    if not 0 < share <= 1:
        raise InputError(f"--share = {share:g}, must be above 0 and at most 1")
    if share == 1:
        return requests
    draw = random.Random(f"thin {seed}").random  # noqa: S311 - seeded, and no secret
    return _kept(
        requests,
        [i for i in range(len(requests)) if draw() < share],
        f"thin {share!r} {seed}",
    )


def halves(requests: Requests) -> tuple[Requests, Requests]:
    """Cut at half of the time: the first to tune on, the second to report on."""
    middle = requests.span / 2
    first = [i for i, at in enumerate(requests.arrival) if at < middle]
    second = range(len(first), len(requests))
    return (
        _kept(requests, first, "first half", span=middle),
        _kept(requests, second, "second half", begin=middle, span=requests.span - middle),
    )


def _kept(
    requests: Requests,
    which: Iterable[int],
    what: str,
    begin: float = 0.0,
    span: float | None = None,
) -> Requests:
    kept = list(which)
    return Requests(
        name=f"{requests.name}, {what}",
        arrival=array("d", (requests.arrival[i] - begin for i in kept)),
        tokens_in=array("q", (requests.tokens_in[i] for i in kept)),
        tokens_out=array("q", (requests.tokens_out[i] for i in kept)),
        span=requests.span if span is None else span,
        key=sha256(f"{requests.key} {what}".encode()).hexdigest(),
    )


def portable(column: "array[float] | array[int] | bytearray") -> bytes:
    """Return a column's bytes as they are on every machine."""
    if sys.byteorder == "big" and isinstance(column, array):
        column = column[:]
        column.byteswap()
    return bytes(column)

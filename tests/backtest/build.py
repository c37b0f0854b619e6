"""Short words for the small worlds of these tests."""

import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import inf

from autoscaler.backtest.requests import Requests, make
from autoscaler.backtest.service import Service

PLAIN = Service(
    name="plain",
    pp=1.0,
    tg=1.0,
    start=30.0,
    load=7.0,
    overhead=0.0,
    start_sigma=0.0,
    patience=inf,
    queue_limit=10**9,
    idle_unload=inf,
)
"""A token is a second, and nothing else happens: each test adds what it is about."""


def service(**changes: object) -> Service:
    """Return PLAIN with changes."""
    return replace(PLAIN, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Requests):
    """Requests that take any time, and not only what tokens can say."""

    seconds: "array[float]"

    def work(self, service: Service) -> "array[float]":
        """Return what was given."""
        return self.seconds


def timed(pairs: Sequence[tuple[float, float]], span: float | None = None) -> Timed:
    """Return requests of (arrival, seconds alone on a replica)."""
    plain = make("timed", [(at, 1, 1) for at, _ in pairs], span)
    return Timed(
        name="timed",
        arrival=plain.arrival,
        tokens_in=plain.tokens_in,
        tokens_out=plain.tokens_out,
        span=plain.span,
        key=sha256(repr(pairs).encode()).hexdigest(),
        seconds=array("d", [seconds for _, seconds in pairs]),
    )


class Script:
    """A policy that has everything written down: time to number."""

    def __init__(self, orders: Mapping[float, int], period: float = 5.0, marks: str = "") -> None:
        self.period = period
        self.orders = dict(orders)
        self.marks = [f"ollama-{int(mark):05d}" for mark in marks.split()]
        self.seen = []

    def tick(self, truth):
        """Note what there is to see, and do as was ordered."""
        self.seen.append(
            (truth.now, truth.wanted, truth.waiting, truth.running, truth.in_system_seconds)
        )
        return self.orders.get(truth.now)

    def victims(self, truth, count):
        """Name the same ones each time."""
        return self.marks


def bursty(seed: int, hours: float = 1.0, busy: float = 2.0, mean: float = 6.0) -> Requests:
    """Return made-up traffic: calm and busy stretches, long and short answers, quiet nights."""
    draw = random.Random(f"bursty {seed}")
    rows, at, end = [], 0.0, hours * 3600
    while at < end:
        level = draw.choice([0.0, 0.0, 0.3, 1.0, 1.0, 3.0]) * busy / mean
        until = min(end, at + draw.expovariate(1 / 240))
        while level:
            at += draw.expovariate(level)
            if at >= until:
                break
            tokens = (draw.randint(1, 600), 1 + int(draw.expovariate(1 / (mean * 20))))
            rows.append((at, *tokens))
        at = until
    return make(f"bursty {seed}", rows, end)

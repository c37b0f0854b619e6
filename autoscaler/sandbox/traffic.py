"""Which requests to send when: generated conversation traffic, or a request log of one's own.

The generator draws from figures measured on a real log: one hour of an Azure conversation service,
19,366 requests (Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv, CC-BY-4.0). The figures
are below; no row of the log is here.

A quarter of an hour has four phases. Load is in busy slots, so it means the same on every profile.
With a target of 0.8 requests in the system per replica it asks for ceil(load / 0.8) replicas:

    phase    from   to     load  replicas (between 2 and 6)
    calm      0:00   2:00  0.5   2
    burst     2:00   3:30  4.5   6
    plateau   3:30   6:30  2.5   4
    end       6:30  15:00  0.25  2: long enough for what is left of the queue, a scale-down window
                                 of 5 minutes and two steps down

Times are simulated seconds from the start.
"""

import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, pi, sin
from pathlib import Path
from statistics import NormalDist, fmean

from autoscaler.requestlog import read_rows
from autoscaler.sandbox.service import Profile

HOME_BUSY_SLOTS = 1.5
"""What is left of a cloud's log for a home server: busy slots on average. Six replicas of one slot
are then enough but for 0.1 % of the time (Poisson), in the log's busiest minutes 1 %."""

# Measured on the log named above.
GAP_VARIATION = 1.09
"""Standard deviation over mean of the gaps between arrivals: close to Poisson (1.0)."""
TOKEN_RANK_CORRELATION = 0.07
"""Spearman, input against output tokens."""
TOKEN_SHARES = (0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99)
INPUT_TOKENS = (29, 181, 207, 396, 1020, 1189, 2734, 4083, 4142)
OUTPUT_TOKENS = (16, 41, 54, 85, 129, 395, 424, 451, 601)

_SHAPE = (
    ("calm", 120 / 900, 0.5),
    ("burst", 90 / 900, 4.5),
    ("plateau", 180 / 900, 2.5),
    ("end", 510 / 900, 0.25),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to be sent."""

    arrival_s: float
    input_tokens: int
    output_tokens: int
    chat_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of generated traffic."""

    name: str
    from_s: float
    to_s: float
    load: float
    """Busy slots on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The requests of one run, in the order of their arrivals."""

    requests: tuple[Request, ...]
    duration_s: float
    source: str
    """Where they come from, in one phrase."""
    phases: tuple[Phase, ...] = ()

    def load(self, profile: Profile) -> float:
        """Return the busy slots that they need on average, nobody waiting."""
        work = sum(profile.service_s(one.input_tokens, one.output_tokens) for one in self.requests)
        return work / self.duration_s if self.duration_s else 0.0


def generate(profile: Profile, seed: int, duration_s: float = 900.0) -> Traffic:
    """Make conversation traffic with the four phases; the same seed gives the same requests."""
    draw = random.Random(seed)
    phases = tuple(_phases(duration_s))
    mean = fmean(
        profile.service_s(_quantile(INPUT_TOKENS, share), _quantile(OUTPUT_TOKENS, share))
        for share in (each / 1000 + 0.0005 for each in range(1000))
    )
    arrivals = _arrivals(draw, phases, mean)
    return Traffic(
        requests=tuple(_request(draw, arrival) for arrival in arrivals),
        duration_s=duration_s,
        source=f"generated (seed {seed}) with the figures of a real conversation log:"
        " Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv, CC-BY-4.0",
        phases=phases,
    )


def _phases(duration_s: float) -> Iterator[Phase]:
    begin = 0.0
    for name, share, load in _SHAPE:
        end = begin + share * duration_s
        yield Phase(name=name, from_s=begin, to_s=end, load=load)
        begin = end


def _arrivals(
    draw: random.Random, phases: Sequence[Phase], mean_service_s: float
) -> Iterator[float]:
    """Gaps are gamma, with the log's variation, in a time that runs with the load."""
    shape = GAP_VARIATION**-2
    work = draw.gammavariate(shape, 1 / shape)
    for phase in phases:
        at = phase.from_s
        rate = phase.load / mean_service_s
        while at + work / rate < phase.to_s:
            at += work / rate
            yield at
            work = draw.gammavariate(shape, 1 / shape)
        work -= (phase.to_s - at) * rate


def _request(draw: random.Random, arrival: float) -> Request:
    normal = NormalDist()
    correlation = 2 * sin(pi / 6 * TOKEN_RANK_CORRELATION)  # of normals with that rank correlation
    first, own = draw.gauss(), draw.gauss()
    second = correlation * first + (1 - correlation**2) ** 0.5 * own
    return Request(
        arrival_s=arrival,
        input_tokens=_quantile(INPUT_TOKENS, normal.cdf(first)),
        output_tokens=_quantile(OUTPUT_TOKENS, normal.cdf(second)),
    )


def _quantile(values: Sequence[int], share: float) -> int:
    """Interpolate in the table; beyond its ends, the ends."""
    share = min(max(share, TOKEN_SHARES[0]), TOKEN_SHARES[-1])
    right = max(1, bisect_left(TOKEN_SHARES, share))
    low, high = TOKEN_SHARES[right - 1], TOKEN_SHARES[right]
    part = (share - low) / (high - low)
    return round(values[right - 1] + part * (values[right] - values[right - 1]))


def thin(
    traffic: Traffic, profile: Profile, seed: int, busy_slots: float = HOME_BUSY_SLOTS
) -> Traffic:
    """Keep each request by a coin of its own, so that the load becomes `busy_slots` on average.

    Traffic that needs no more than that is returned as it is.
    """
    load = traffic.load(profile)
    if load <= busy_slots:
        return traffic
    draw = random.Random(seed)
    kept = tuple(one for one in traffic.requests if draw.random() < busy_slots / load)
    source = (
        f"{traffic.source}, thinned (seed {seed}) to {len(kept)} of {len(traffic.requests)}"
        f" requests, {busy_slots:g} busy slots on average"
    )
    return replace(traffic, requests=kept, source=source)


def read_trace(path: Path, limit_s: float | None = None) -> Traffic:
    """Read a request log.

    Only the first `limit_s` seconds are read. Raises InputError with file, line, key and value.
    """
    requests = tuple(
        Request(
            arrival_s=row.arrival_s,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            chat_id=row.user_id,
        )
        for row in read_rows(path, inf if limit_s is None else limit_s)
    )
    duration = requests[-1].arrival_s if limit_s is None else limit_s
    return Traffic(requests=requests, duration_s=duration, source=f"request log {path.name}")

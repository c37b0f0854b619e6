"""What Prometheus' `rate` makes of a counter, from its samples in a window."""

from collections.abc import Sequence

_NEAR = 1.1
"""A series reaches to the window's edge if it ends no further from it than this many intervals."""


def rate(samples: Sequence[tuple[float, float]], now: float, window: float) -> float | None:
    """Return the increase per second of (time, value) samples; None with fewer than two.

    As `extrapolatedRate` has it: the increase between the first and the last sample inside of
    (now - window, now], stretched to the window's edges where the series seems to reach there, and
    never to before the counter was zero. Counters of one pod's life are not reset.
    """
    inside = [sample for sample in samples if now - window < sample[0] <= now]
    if len(inside) < 2:
        return None
    (first, low), (last, high) = inside[0], inside[-1]
    sampled, increase = last - first, high - low
    apart = sampled / (len(inside) - 1)
    to_start, to_end = first - (now - window), now - last
    if to_start >= apart * _NEAR:
        to_start = apart / 2
    if increase > 0 and low >= 0:
        to_start = min(to_start, sampled * low / increase)
    if to_end >= apart * _NEAR:
        to_end = apart / 2
    return increase * (sampled + to_start + to_end) / sampled / window

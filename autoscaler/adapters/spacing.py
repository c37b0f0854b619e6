"""How far apart the samples of a series are: what Prometheus' own answer tells of its scrapes.

Only queries are asked, so nobody needs more rights for it than for a cycle: a list of scrape
targets is not what every Prometheus has, nor what everybody may see.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from statistics import median
from typing import Any

LOOK_BACK = timedelta(minutes=5)
"""So far back samples are looked at: two of them, where they come every minute or two."""
_MOST_SERIES = 32


def spacing_of(result: Sequence[Any]) -> timedelta | None:
    """Return the usual time between two samples of a range's answer; None where it shows none.

    Of several series the one that has the most samples counts; the others may just have begun, or
    be of what comes and goes. The median, since a restart leaves a gap.
    """
    gaps = [
        [float(later) - float(earlier) for (earlier, _), (later, _) in pairwise(series["values"])]
        for series in result[:_MOST_SERIES]
        if "values" in series
    ]
    densest = max(gaps, key=len, default=[])
    return timedelta(seconds=median(densest)) if densest else None

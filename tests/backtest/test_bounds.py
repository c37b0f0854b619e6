"""The bounds lie about the optimum, found by trying everything on small instances."""

import random
from itertools import combinations, product

import pytest

from autoscaler.backtest.bounds import lower, presence_cost, upper
from autoscaler.backtest.engine import simulate
from autoscaler.backtest.ours import Ours
from autoscaler.backtest.requests import make
from autoscaler.backtest.scaler import Fixed
from autoscaler.backtest.service import service_named
from tests.backtest.build import bursty, service, timed
from tests.backtest.test_ours import SHIPPED


def optimum(pairs, wish, start, allowed):
    """Try every whole second at which each may begin, and every choice of who is missed.

    With whole numbers there is a best schedule of whole numbers; with fixed times, replicas are
    kept through gaps or not, level by level.
    """
    best = float("inf")
    for kept in combinations(pairs, len(pairs) - allowed):
        for waits in product(range(wish + 1), repeat=len(kept)):
            spans = [(at + w, at + w + s) for (at, s), w in zip(kept, waits, strict=True)]
            best = min(best, presence_cost(spans, 1, start))
    return best


def by_time_steps(spans, start):
    """Return the least cost of replicas for fixed spans, second by second over all numbers."""
    end = max(e for _, e in spans)
    most = len(spans)
    best = {0: 0.0}
    for second in range(end):
        needed = sum(b <= second < e for b, e in spans)
        best = {
            n: min(cost + max(0, n - m) * start for m, cost in best.items()) + n
            for n in range(needed, most + 1)
        }
    return min(best.values())


@pytest.mark.parametrize("seed", range(40))
def test_levels_cost_what_dynamic_programming_finds(seed):
    """Whole seconds, all numbers of replicas at each."""
    draw = random.Random(seed)
    spans = [(b, b + draw.randint(1, 8)) for b in (draw.randint(0, 30) for _ in range(5))]
    start = draw.randint(0, 9)

    assert presence_cost(spans, 1, start) == by_time_steps(spans, start)


@pytest.mark.parametrize("block", range(5))
def test_the_optimum_lies_between_the_bounds(block):
    """Five hundred small instances with one slot: tight on the whole, never wrong."""
    above = []
    for seed in range(100 * block, 100 * block + 100):
        draw = random.Random(seed)
        count = draw.randint(1, 5)
        pairs = sorted((draw.randint(0, 25), draw.randint(1, 12)) for _ in range(count))
        wish, start = draw.randint(0, 3), draw.randint(0, 10)
        allowed = draw.choice([0, 0, 1]) if count > 1 else 0
        made, log = service(start=float(start)), timed([(float(a), float(s)) for a, s in pairs])

        best = optimum(pairs, wish, start, allowed)
        low = lower(log, made, wish, misses=allowed / count)
        high = upper(log, made, wish, misses=allowed / count)

        assert low <= best + 1e-9, seed
        assert high >= best - 1e-9, seed
        if not allowed:
            above.append(best / low if low else 1.0)
    assert sum(above) / len(above) < 1.25


@pytest.mark.parametrize("seed", range(12))
def test_the_lower_bound_is_below_the_upper_with_several_slots(seed):
    """Any sharing, any wish."""
    draw = random.Random(seed)
    made = service_named("3b-laptop", slots=draw.randint(1, 4), phi=draw.choice([0.4, 0.8, 1.0]))
    log, wish = bursty(seed, hours=0.5), draw.choice([2.0, 10.0, 30.0])

    assert 0 < lower(log, made, wish) <= upper(log, made, wish)


@pytest.mark.parametrize("seed", range(4))
def test_no_run_costs_less_than_the_lower_bound_at_its_own_misses(seed):
    """Ours and fixed replicas, with the start-up time as it is said to be."""
    log, made = bursty(seed, hours=0.7), service_named("3b-laptop", start_sigma=0.0)
    for scaler in (Ours(SHIPPED), Fixed()):
        run = simulate(log, made, scaler, seed=seed, initial=3)
        figures = run.figures(10)

        assert 3600 * figures.replica_hours >= lower(log, made, 10.0, misses=1 - figures.share)


def test_nobody_needs_nothing():
    """No requests, no replicas."""
    empty = make("nobody", [], span=100.0)

    assert lower(empty, service(), 10.0) == 0
    assert upper(empty, service(), 10.0) == 0

"""The engine against a slow one that shares nothing with it."""

import random
from math import inf

import pytest

from autoscaler.backtest.engine import simulate
from tests.backtest.build import Script, service, timed
from tests.backtest.reference import reference


def world(seed):
    """Return a small random world: everything that can be switched is, now and then."""
    draw = random.Random(seed)
    at, pairs = 0.0, []
    for _ in range(draw.randint(0, 40)):
        at += draw.expovariate(1 / draw.choice([1, 5, 40]))
        pairs.append((at, draw.expovariate(1 / 15)))
    made = service(
        slots=draw.choice([1, 1, 2, 4]),
        phi=draw.choice([0.0, 0.4, 0.8, 1.0]),
        start=draw.uniform(5, 60),
        start_sigma=draw.choice([0.0, 0.3]),
        patience=draw.choice([inf, 60.0, 20.0]),
        queue_limit=draw.choice([3, 512]),
        grace=draw.choice([0.0, 10.0, 120.0]),
        idle_unload=draw.choice([inf, 10.0, 30.0]),
        load=draw.uniform(0, 9),
        capacity=draw.choice([None, None, 3, 5]),
    )
    initial = draw.randint(1, 3)
    ticks = [5.0 * k for k in range(60)]
    orders = {tick: draw.randint(1, 6) for tick in ticks if draw.random() < 0.2}
    marks = [number for number in range(12) if draw.random() < 0.3]
    return timed(pairs, draw.choice([None, 150.0, at + 60])), made, orders, initial, marks


@pytest.mark.parametrize("block", range(10))
def test_both_come_to_the_same(block):
    """Waits, ends, what became of each request, and the life of each replica."""
    for seed in range(block * 60, block * 60 + 60):
        requests, made, orders, initial, marks = world(seed)
        script = Script(orders, marks=" ".join(map(str, marks)))

        run = simulate(requests, made, script, seed=seed, initial=initial)
        wait, left, status, lives = reference(
            requests, made, orders, seed=seed, initial=initial, marks=marks
        )

        assert list(run.status) == status, seed
        assert list(run.wait) == pytest.approx(wait, abs=1e-6, nan_ok=True), seed
        assert list(run.left) == pytest.approx(left, abs=1e-6), seed
        found = [(v.created, v.placed, v.ready_at, v.ended) for v in run.visits]
        assert ordered(found) == [pytest.approx(life, abs=1e-6) for life in ordered(lives)], seed


def ordered(lives):
    """Return lives in an order of their own, what never came last; times as numbers."""
    plain = [tuple(-1e9 if each is None else each for each in life) for life in lives]
    return sorted(plain, key=lambda life: tuple(round(each, 4) for each in life))

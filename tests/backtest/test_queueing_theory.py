"""Where mathematics knows the answer: the engine's mean is it, within the Monte Carlo error."""

import random
from math import factorial
from statistics import fmean, stdev

import pytest

from autoscaler.backtest.engine import simulate
from autoscaler.backtest.scaler import Fixed
from tests.backtest.build import service, timed

MEAN_S = 8.0


def poisson(seed, load, count):
    """Return arrivals at random, answers of exponential length, so many busy slots on average."""
    draw = random.Random(seed)
    at, pairs = 0.0, []
    for _ in range(count):
        at += draw.expovariate(load / MEAN_S)
        pairs.append((at, draw.expovariate(1 / MEAN_S)))
    return timed(pairs)


def erlang_c(servers, load):
    """Return the probability of having to wait."""
    last = load**servers / factorial(servers) * servers / (servers - load)
    return last / (sum(load**k / factorial(k) for k in range(servers)) + last)


def agrees(means, truth):
    """Tell whether means of independent runs lie about the truth: four standard errors."""
    return abs(fmean(means) - truth) <= 4 * stdev(means) / len(means) ** 0.5


@pytest.mark.parametrize(("replicas", "load"), [(1, 0.6), (2, 1.6), (5, 4.0), (12, 9.0)])
def test_fixed_replicas_wait_as_erlang_says(replicas, load):
    """M/M/c: P(wait) is Erlang C, the mean wait C / (c mu - lambda)."""
    waits, shares = [], []
    for seed in range(12):
        run = simulate(poisson(seed, load, 4000), service(), Fixed(), initial=replicas)
        waits.append(fmean(run.wait))
        shares.append(sum(wait > 0 for wait in run.wait) / len(run.wait))
    chance = erlang_c(replicas, load)

    assert agrees(shares, chance)
    assert agrees(waits, chance * MEAN_S / (replicas - load))


@pytest.mark.parametrize("load", [0.5, 0.75])
def test_one_processor_shared_by_all_is_processor_sharing(load):
    """With phi 1 and slots for all, M/M/1-PS: the mean time in the system is S / (1 - load)."""
    means = []
    for seed in range(12):
        requests = poisson(seed, load, 4000)
        run = simulate(requests, service(slots=1000, phi=1.0), Fixed())
        means.append(fmean(map(float.__sub__, run.left, requests.arrival)))
        assert max(run.wait) == 0

    assert agrees(means, MEAN_S / (1 - load))


def test_slots_that_share_nothing_are_servers():
    """At phi 0, four slots of one replica are four replicas of one slot."""
    requests = poisson(1, 3.0, 3000)

    one = simulate(requests, service(slots=4, phi=0.0), Fixed(), initial=1)
    four = simulate(requests, service(), Fixed(), initial=4)

    assert list(one.wait) == pytest.approx(list(four.wait), abs=1e-6)

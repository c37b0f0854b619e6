"""The figures of a row, and what makes a hash another one."""

from dataclasses import replace

import pytest

from autoscaler.backtest.engine import simulate
from autoscaler.backtest.figures import Run
from autoscaler.backtest.requests import thin
from autoscaler.backtest.scaler import Fixed
from autoscaler.backtest.service import service_named
from tests.backtest.build import Script, bursty, service, timed

LAPTOP = service_named("3b-laptop")


def run_of(*, seed=0, made=LAPTOP, log=1, share=0.5, orders=None, initial=2) -> Run:
    """Return a run of made-up traffic."""
    script = Script(orders or {600.0: 4, 1200.0: 2})
    return simulate(thin(bursty(log), share, seed), made, script, seed=seed, initial=initial)


def test_repeating_a_run_changes_nothing():
    """Both hashes, byte for byte."""
    first, again = run_of(), run_of()

    assert first.input_hash({}) == again.input_hash({})
    assert first.result_hash() == again.result_hash()


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"log": 2},
        {"share": 0.51},
        {"initial": 3},
        {"made": replace(LAPTOP, pp=73.0)},
        {"made": replace(LAPTOP, tg=23.9)},
        {"made": replace(LAPTOP, start=36.0)},
        {"made": replace(LAPTOP, start_sigma=0.31)},
        {"made": replace(LAPTOP, overhead=0.21)},
        {"made": replace(LAPTOP, slots=2)},
    ],
    ids=str,
)
def test_whatever_is_changed_changes_both_hashes(other):
    """The log, the seed, the share, the start, each parameter of the service."""
    assert run_of(**other).input_hash({}) != run_of().input_hash({})
    assert run_of(**other).result_hash() != run_of().result_hash()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("phi", 0.4),
        ("load", 6.0),
        ("queue_limit", 511),
        ("patience", 121.0),
        ("grace", 121.0),
        ("idle_unload", 301.0),
        ("capacity", 50),
    ],
)
def test_a_parameter_that_made_no_difference_is_another_input_all_the_same(key, value):
    """The hash of the inputs says what was asked for."""
    assert run_of(made=replace(LAPTOP, **{key: value})).input_hash({}) != run_of().input_hash({})


def test_the_policy_is_part_of_the_inputs():
    """Its description, whatever it is."""
    assert run_of().input_hash({"target": 0.8}) != run_of().input_hash({"target": 0.9})


def test_a_row_counts_moves_and_turns():
    """Up and down within ten minutes is a reversal; later it is not."""
    orders = {5.0: 3, 300.0: 2, 1000.0: 4, 1100.0: 5}
    run = simulate(timed([(0, 1)], span=2000.0), service(), Script(orders), initial=1)

    figures = run.figures(10)
    assert (figures.actions, figures.reversals, figures.starts, figures.most) == (4, 1, 5, 5)


def test_waits_are_those_of_all_who_stood_in_line():
    """Half of them wait 0 and half 9; who gave up has waited to the end."""
    waiting = service(patience=60.0)
    run = simulate(timed([(0, 10), (1, 99), (20, 5)]), waiting, Fixed())

    figures = run.figures(10)
    assert (figures.wait_p50, figures.wait_p99, figures.gave_up) == (9, 60, 1)
    assert figures.hours == pytest.approx(109 / 3600)

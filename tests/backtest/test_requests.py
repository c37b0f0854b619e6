"""A log of requests: read, thinned, halved, and known by its key."""

import gzip

import pytest

from autoscaler.backtest.requests import halves, make, read, thin
from autoscaler.backtest.service import service_named
from autoscaler.errors import InputError
from tests.backtest.build import bursty

LOG = "arrival_s,input_tokens,output_tokens\n3.5,10,20\n4.5,5000,2000\n"


def test_a_log_is_read_plain_or_compressed(tmp_path):
    """The first arrives at second 0; the key is of what it says, not of how it is packed."""
    (tmp_path / "a.csv").write_text(LOG)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(LOG.encode()))

    plain, packed = read(tmp_path / "a.csv"), read(tmp_path / "b.csv.gz")

    assert list(plain.arrival) == [0.0, 1.0]
    assert list(plain.tokens_in) == [10, 5000]
    assert list(plain.tokens_out) == [20, 2000]
    assert (plain.name, plain.span, len(plain)) == ("a.csv", 1.0, 2)
    assert plain.key == packed.key
    (tmp_path / "a.csv").write_text(LOG.replace("20", "21"))
    assert read(tmp_path / "a.csv").key != plain.key


def test_tokens_are_capped_at_the_context_and_the_longest_answer():
    """4096 in, 1024 out."""
    laptop = service_named("3b-laptop")
    work = make("log", [(0.0, 10, 20), (1.0, 5000, 2000)]).work(laptop)

    assert list(work) == pytest.approx([0.2 + 10 / 72 + 20 / 23.8, 0.2 + 4096 / 72 + 1024 / 23.8])


def test_thinning_keeps_a_share_by_the_seed():
    """The same seed the same requests, in order; another seed others; all of them is all."""
    log = bursty(1, hours=20.0)
    kept = thin(log, 0.3, seed=4)

    assert list(kept.arrival) == list(thin(log, 0.3, seed=4).arrival)
    assert list(kept.arrival) != list(thin(log, 0.3, seed=5).arrival)
    assert len(kept) == pytest.approx(0.3 * len(log), rel=0.1)
    assert set(kept.arrival) <= set(log.arrival)
    assert kept.span == log.span
    assert thin(log, 1.0, seed=4) is log
    with pytest.raises(InputError, match="--share = 0, must be above 0"):
        thin(log, 0.0, seed=1)


def test_halves_are_cut_in_the_middle_of_the_time():
    """The second begins at 0 again; together they are all."""
    log = make("log", [(0.0, 1, 1), (4.9, 2, 1), (5.0, 3, 1), (10.0, 4, 1)])
    first, second = halves(log)

    assert list(first.arrival) == [0.0, 4.9]
    assert list(second.arrival) == [0.0, 5.0]
    assert list(second.tokens_in) == [3, 4]
    assert (first.span, second.span) == (5.0, 5.0)
    assert len({log.key, first.key, second.key}) == 3


def test_a_run_begins_with_what_its_first_minutes_need():
    """30 requests of 10 s in 300 s are one busy slot: two replicas at four fifths; at least one."""
    log = make("log", [(10.0 * k, 720 - 15, 1) for k in range(30)], span=3000.0)

    assert log.warm(service_named("3b-laptop")) == 2
    assert make("log", [], span=10.0).warm(service_named("3b-laptop")) == 1
    assert make("log", [(0.0, 1, 1)]).warm(service_named("3b-laptop")) == 1

"""Traffic: the generator keeps its figures, the reader refuses what it cannot use."""

import gzip
from itertools import pairwise
from statistics import fmean, pstdev

import pytest

from autoscaler.errors import InputError
from autoscaler.sandbox.service import PROFILES
from autoscaler.sandbox.traffic import (
    GAP_VARIATION,
    HOME_BUSY_SLOTS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    TOKEN_SHARES,
    Request,
    Traffic,
    generate,
    read_trace,
    thin,
)

PROFILE = PROFILES["3b-laptop"]
HEADER = "arrival_s,input_tokens,output_tokens\n"
MANY_HOURS = generate(PROFILE, seed=1, duration_s=900.0 * 1000)


def test_the_same_seed_gives_the_same_requests_and_another_one_others():
    """A run can be repeated."""
    assert generate(PROFILE, seed=3) == generate(PROFILE, seed=3)
    assert generate(PROFILE, seed=3).requests != generate(PROFILE, seed=4).requests


@pytest.mark.parametrize(
    ("key", "table"), [("input_tokens", INPUT_TOKENS), ("output_tokens", OUTPUT_TOKENS)]
)
def test_token_counts_have_the_quantiles_of_the_log(key, table):
    """Drawn by inverse interpolation, so every figure of the table comes back."""
    drawn = sorted(getattr(one, key) for one in MANY_HOURS.requests)

    for share, value in zip(TOKEN_SHARES[1:-1], table[1:-1], strict=True):
        assert drawn[int(share * len(drawn))] == pytest.approx(value, rel=0.08)
    assert table[0] <= drawn[0] <= drawn[-1] <= table[-1]


def test_gaps_vary_as_in_the_log():
    """Within one phase, the standard deviation of the gaps over their mean is the log's."""
    plateau = MANY_HOURS.phases[2]
    times = [
        one.arrival_s
        for one in MANY_HOURS.requests
        if plateau.from_s <= one.arrival_s < plateau.to_s
    ]
    gaps = [later - earlier for earlier, later in pairwise(times)]

    assert pstdev(gaps) / fmean(gaps) == pytest.approx(GAP_VARIATION, abs=0.05)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_phase_has_its_load_on_every_profile(profile):
    """Loads are busy slots: a slower model gets fewer requests."""
    traffic = generate(profile, seed=5, duration_s=900.0 * 500)

    for phase in traffic.phases:
        inside = [one for one in traffic.requests if phase.from_s <= one.arrival_s < phase.to_s]
        work = sum(profile.service_s(one.input_tokens, one.output_tokens) for one in inside)
        assert work / (phase.to_s - phase.from_s) == pytest.approx(phase.load, rel=0.12), phase.name


def test_a_quarter_of_an_hour_has_four_phases_and_a_long_end():
    """The end leaves room for the default scale-down window of 5 minutes and for the steps."""
    traffic = generate(PROFILE, seed=1)

    assert [phase.name for phase in traffic.phases] == ["calm", "burst", "plateau", "end"]
    assert traffic.phases[-1].to_s == pytest.approx(900.0)
    assert traffic.phases[-1].to_s - traffic.phases[-1].from_s >= 480
    arrivals = [one.arrival_s for one in traffic.requests]
    assert arrivals == sorted(arrivals)


def test_thinning_leaves_the_wanted_load_on_average():
    """Each request is kept by its own coin; the source says how many were."""
    dense = Traffic(requests=MANY_HOURS.requests, duration_s=90_000.0, source="a log")
    assert dense.load(PROFILE) > 10

    kept = thin(dense, PROFILE, seed=1)

    assert kept.load(PROFILE) == pytest.approx(HOME_BUSY_SLOTS, rel=0.08)
    assert set(kept.requests) < set(dense.requests)
    assert kept.source.startswith("a log, thinned (seed 1) to ")
    assert thin(dense, PROFILE, seed=1) == kept
    assert thin(dense, PROFILE, seed=2) != kept


def test_traffic_that_is_thin_enough_stays_whole():
    """No coin is thrown where the load is below what was asked for."""
    traffic = generate(PROFILE, seed=1)

    assert thin(traffic, PROFILE, seed=1, busy_slots=10.0) is traffic


# --- request logs -----------------------------------------------------------------------------


def test_a_log_is_read_from_its_first_request_on(tmp_path):
    """The first request arrives at 0; the optional user becomes the chat."""
    path = tmp_path / "log.csv"
    path.write_text("arrival_s,input_tokens,output_tokens,user_id\n10.5,100,20,ann\n12.0,7,8,\n")

    assert read_trace(path) == Traffic(
        requests=(
            Request(arrival_s=0.0, input_tokens=100, output_tokens=20, chat_id="ann"),
            Request(arrival_s=1.5, input_tokens=7, output_tokens=8),
        ),
        duration_s=1.5,
        source="request log log.csv",
    )


def test_a_compressed_log_is_read_up_to_the_limit(tmp_path):
    """Rows after the limit are not even looked at."""
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}0,1,1\n59.9,1,1\n60,1,1\nnonsense\n".encode()))

    traffic = read_trace(path, limit_s=60.0)

    assert [one.arrival_s for one in traffic.requests] == [0.0, 59.9]
    assert traffic.duration_s == 60.0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "line 1: header = '', must have arrival_s, input_tokens, output_tokens"),
        ("arrival_s,tokens\n", "line 1: header = 'arrival_s,tokens', must have input_tokens, outp"),
        (HEADER, "no requests, must have at least one row below its header"),
        (f"{HEADER}0,1,1\nx,1,1\n", "line 3: arrival_s = 'x', must be a number of seconds"),
        (f"{HEADER}-1,1,1\n", "line 2: arrival_s = '-1', must be a number of seconds, 0 or more"),
        (f"{HEADER}nan,1,1\n", "line 2: arrival_s = 'nan', must be a number of seconds, 0 or more"),
        (f"{HEADER}5,1,1\n4,1,1\n", "line 3: arrival_s = '4', must not go back in time"),
        (f"{HEADER}0,0,1\n", "line 2: input_tokens = '0', must be a whole number, 1 or more"),
        (f"{HEADER}0,1,1.5\n", "line 2: output_tokens = '1.5', must be a whole number, 1 or more"),
        (f"{HEADER}0,1\n", "line 2: output_tokens = None, must be a whole number, 1 or more"),
    ],
)
def test_a_log_that_cannot_be_used_is_refused_with_its_place(tmp_path, content, words):
    """One line: file, line, key, value and what would be right."""
    path = tmp_path / "log.csv"
    path.write_text(content)

    with pytest.raises(InputError) as refusal:
        read_trace(path)

    assert str(refusal.value).startswith(f"trace {path}")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("absent.csv", None),
        ("plain.csv.gz", HEADER.encode()),
        ("cut.csv.gz", gzip.compress(HEADER.encode() * 99)[:-20]),
        ("latin.csv", HEADER.encode() + b"0,1,\xe9\n"),
        ("zero.csv", HEADER.encode() + b"0,\x00,1\n"),
    ],
    ids=["absent", "not-gzip", "cut-off", "not-utf-8", "binary"],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path, name, content):
    """Missing, not gzip, cut off, not UTF-8, binary: no traceback of another library."""
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=name) as refusal:
        read_trace(tmp_path / name)

    assert "\n" not in str(refusal.value)


def test_a_directory_is_refused(tmp_path):
    """The message names it."""
    with pytest.raises(InputError, match="Is a directory"):
        read_trace(tmp_path)

"""`autoscaler backtest`, as typed."""

import json

import pytest

from autoscaler import cli
from tests.backtest.build import bursty


@pytest.fixture
def trace(tmp_path):
    """Return a made-up log as a file."""
    log = bursty(1, hours=0.5)
    rows = zip(log.arrival, log.tokens_in, log.tokens_out, strict=True)
    lines = ["arrival_s,input_tokens,output_tokens", *(f"{a:.3f},{i},{o}" for a, i, o in rows)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def run(capsys, *arguments):
    """Return exit code, standard output and standard error."""
    code = cli.run(["backtest", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_one_row_for_the_shipped_policy(capsys, trace):
    """What it was, the table, the hashes; the same again byte for byte."""
    code, out, err = run(capsys, trace, "--set", "3b-laptop", "--seed", "0", "--share", "0.5")

    assert (code, err) == (0, "")
    assert "within 10 s" in out
    assert "ours, 2 to 6 replicas" in out
    assert run(capsys, trace, "--share", "0.5")[1] == out


def test_json_has_the_figures_and_both_hashes(capsys, trace):
    """For programs; each option is part of the inputs."""
    found = {}
    for options in [(), ("--seed", "1"), ("--wish", "5s"), ("--max-replicas", "4")]:
        code, out, _ = run(capsys, trace, "--share", "0.5", "--json", *options)
        found[options] = json.loads(out)
        assert code == 0

    assert len({each["inputs_hash"] for each in found.values()}) == 4
    assert found[()]["result_hash"] == found["--wish", "5s"]["result_hash"]
    assert found[()]["figures"]["requests"] > 0
    assert found["--max-replicas", "4"]["figures"]["most"] <= 4 + 2  # and those that drain


def test_a_fixed_number_needs_no_configuration(capsys, trace, tmp_path, monkeypatch):
    """Three replicas for the whole time, and their start."""
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, trace, "--fixed", "3", "--json")

    told = json.loads(out)
    assert code == 0
    assert told["policy"] == "fixed at 3"
    assert told["figures"]["actions"] == 0
    hours = told["figures"]["hours"]
    assert told["figures"]["replica_hours"] == pytest.approx(3 * (hours + 35 / 3600))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "70b"], "--set = 70b, must be one of"),
        (["--share", "2"], "--share = 2, must be above 0 and at most 1"),
        (["--share", "1e-9"], "--share = 1e-09 of log.csv leaves no request"),
        (["--fixed", "0"], "--fixed = 0, must be at least 1"),
        (["--wish", "soon"], "--wish = soon, must be a duration"),
        (["--max-replicas", "1"], "--max-replicas = 1: min_replicas = 2, must not be above"),
        (["--slots", "0"], "slots = 0, must be above 0"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(capsys, trace, arguments, words):
    """Exit code 2, and what would be right."""
    code, out, err = run(capsys, trace, *arguments)

    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_metric_that_no_run_can_answer_is_refused(capsys, trace, tmp_path):
    """Whoever scales by something else is told so, and not shown wrong figures."""
    config = tmp_path / "c.yaml"
    config.write_text(
        "targets: [{namespace: llm, deployment: ollama, metrics: "
        "[{name: gpu, query: DCGM_FI_DEV_GPU_UTIL, type: pod, target: 70}]}]\n"
    )

    code, _, err = run(capsys, trace, "--config", str(config))

    assert code == 2
    assert "metric gpu: a run cannot answer its query" in err

"""`autoscaler shadow-report`: files, times, targets, and who is asked for the replicas."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler import cli
from autoscaler.adapters.prometheus_range import RangeSeries
from autoscaler.errors import InputError
from autoscaler.shadow.theirs import MOST_POINTS, ask_prometheus
from tests.adapters.test_prometheus import Server, http
from tests.shadow.build import load, shadowed, written

CYCLES = load((3, 0.8, 1), (6, 4.0, 1), (3, 4.0, 5), (6, 0.8, 5))
RECORDS = shadowed(CYCLES)
BEGIN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
STEP = timedelta(seconds=10)


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a function that runs the command in this process: exit code, output, error lines."""
    for name in [name for name in os.environ if name.startswith("AUTOSCALER_")]:
        monkeypatch.delenv(name)

    def run(*arguments):
        code = cli.run(["shadow-report", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


def test_it_prints_and_writes_a_page(run, tmp_path):
    """Plain lines, since there is no terminal."""
    file, page = written(tmp_path / "records.jsonl", RECORDS), tmp_path / "page.html"
    code, out, err = run(file, "--html", page)
    assert (code, err) == (0, [])
    assert out.startswith("llm/ollama: 2026-11-23 10:00:00")
    assert out.endswith(f"page  {page}\n")
    assert page.read_text().startswith("<!doctype html>")


def test_without_a_file_the_configured_records_are_read(run, tmp_path, monkeypatch):
    """records.path is where the daemon keeps them."""
    file = written(tmp_path / "records.jsonl", RECORDS)
    monkeypatch.setenv("AUTOSCALER_RECORDS__PATH", str(file))
    code, out, _ = run("--config", "config/autoscaler.yaml", "--json")
    assert (code, json.loads(out)["cycles"]) == (0, len(RECORDS))


def test_without_any_records_it_says_what_is_missing(run):
    """Exit code 2, one line."""
    code, out, err = run("--config", "config/autoscaler.yaml")
    assert (code, out) == (2, "")
    told = "autoscaler: no FILE is given and records.path names none, must name the records"
    assert err == [f"{told}; next: autoscaler shadow-report FILE"]


def test_several_files_are_put_in_order(run, tmp_path):
    """A shell lists rotated files with the newest first."""
    newer = written(tmp_path / "records.jsonl", RECORDS[9:])
    older = written(tmp_path / "records.jsonl.1", RECORDS[:9])
    code, out, _ = run(newer, older, "--json")
    assert code == 0
    assert (json.loads(out)["cycles"], json.loads(out)["compared_seconds"]) == (18, 180)


def test_from_and_to_cut_the_time_out(run, tmp_path):
    """Times with a zone, of whatever zone."""
    file = written(tmp_path / "records.jsonl", RECORDS)
    times = ("--from", "2026-11-23T11:01:30+01:00", "--to", "2026-11-23T10:02:00Z")
    code, out, _ = run(file, *times, "--json")
    assert (code, json.loads(out)["compared_seconds"]) == (0, 30)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--from", "yesterday"),
            "--from = yesterday, must be a time with its zone such as 2026-11-23T10:00:00Z",
        ),
        (
            ("--to", "2026-11-23T10:00:00"),
            "--to = 2026-11-23T10:00:00, must be a time with its zone such as 2026-11-23T10:00:00Z",
        ),
        (("--target", "llm/x"), "--target = llm/x, must be one of llm/ollama"),
        (("--prometheus", "prom"), "--prometheus = prom, must be the URL of a Prometheus such as"),
        (
            ("--from", "2027-01-01T00:00:00Z"),
            "--from = 2027-01-01T00:00:00+00:00: no cycle in the records lies there, must be at",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_on_one_line(run, tmp_path, arguments, told):
    """Exit code 2, what, which value, and what would be right."""
    file = written(tmp_path / "records.jsonl", RECORDS)
    code, out, err = run(file, *arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith(f"autoscaler: {told}")
    assert "; next: type it again with" in err[0]


def test_a_file_that_is_none_of_records_is_refused(run, tmp_path):
    """With its path and line."""
    missing = tmp_path / "nothing.jsonl"
    assert run(missing)[0] == 2
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"some": "thing"}\n')
    code, _, err = run(wrong)
    assert code == 2
    assert f"{wrong}: line 1: " in err[0]


# --- Prometheus -----------------------------------------------------------------------------------


class History:
    """Answers with series of one number each, and notes what it was asked."""

    def __init__(self, *series):
        self.series, self.asked = series, []

    def ask(self, query, begin, end, step):
        """Return what there is."""
        self.asked.append((query, begin, end, step))
        return [
            RangeSeries(labels=labels, points=[(begin + i * step, n) for i, n in enumerate(values)])
            for labels, values in self.series
        ]


def test_prometheus_is_asked_for_the_replicas_of_the_target():
    """By namespace and name, over the time of the records."""
    history = History(({"deployment": "ollama"}, [2.0, 3.0]))
    done = ask_prometheus(history, "llm/ollama", BEGIN, BEGIN + STEP, STEP)
    query = 'kube_deployment_spec_replicas{namespace="llm",deployment="ollama"}'
    assert history.asked == [(query, BEGIN, BEGIN + STEP, STEP)]
    assert [done.at(BEGIN + n * STEP, 9) for n in range(-1, 5)] == [None, 2, 3, 3, 3, None]


def test_a_long_time_is_asked_for_in_parts():
    """Prometheus refuses more points than 11,000 in one answer; the parts do not overlap."""
    history = History(({}, [2.0]))
    ask_prometheus(history, "llm/ollama", BEGIN, BEGIN + 2 * MOST_POINTS * STEP, STEP)
    spans = [(begin, end) for _, begin, end, _ in history.asked]
    assert len(spans) == 3
    assert all((end - begin) / STEP < MOST_POINTS for begin, end in spans)
    assert [begin for begin, _ in spans[1:]] == [end + STEP for _, end in spans[:-1]]


def test_series_of_one_deployment_that_is_scraped_anew_are_one():
    """kube-state-metrics was started anew: another instance, and for a while both."""
    history = History(({"instance": "a"}, [2.0, 2.0]), ({"instance": "b"}, [2.0, 2.0, 4.0]))
    done = ask_prometheus(history, "llm/ollama", BEGIN, BEGIN + 2 * STEP, STEP)
    assert [done.at(BEGIN + n * STEP, 9) for n in range(3)] == [2, 2, 4]


def test_series_of_two_clusters_are_refused():
    """They would be mixed without a word."""
    history = History(({"cluster": "a"}, [2.0] * 5), ({"cluster": "b"}, [3.0] * 5))
    with pytest.raises(InputError, match='differ in cluster="a", cluster="b", must be'):
        ask_prometheus(history, "llm/ollama", BEGIN, BEGIN + 4 * STEP, STEP)


def test_no_series_at_all_is_refused_with_the_query():
    """Nobody scrapes kube-state-metrics there."""
    with pytest.raises(InputError, match="no answer to kube_deployment_spec_replicas"):
        ask_prometheus(History(), "llm/ollama", BEGIN, BEGIN + STEP, STEP)


def test_the_number_of_prometheus_counts_and_not_the_records(run, tmp_path):
    """With the token that the configuration names, which is never printed."""
    token = tmp_path / "token"
    token.write_text("very-secret")
    config = tmp_path / "autoscaler.yaml"
    section = f"prometheus: {{bearer_token_file: {token}}}\n"
    target = "targets: [{namespace: llm, deployment: ollama, min_replicas: 1, max_replicas: 2,"
    metric = " metrics: [{name: m, query: m, type: total, target: 1}]}]\n"
    config.write_text(section + target + metric)
    values = [[BEGIN.timestamp() + 10 * n, "5"] for n in range(18)]
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
    body = json.dumps({"status": "success", "data": data}).encode()
    file, asked = written(tmp_path / "records.jsonl", RECORDS), []

    def answer(connection, request):
        asked.append(request)
        connection.sendall(http("200 OK", body))

    with Server(answer) as server:
        options = ("--prometheus", server.url, "--config", config, "--json")
        code, out, err = run(file, *options)
    assert (code, err) == (0, [])
    assert json.loads(out)["source"] == "prometheus"
    assert json.loads(out)["theirs"]["lowest"] == 5
    assert b"Bearer very-secret" in asked[0]


def test_a_prometheus_that_does_not_answer_is_told(run, tmp_path):
    """Exit code 1, one line."""
    file = written(tmp_path / "records.jsonl", RECORDS)
    code, out, err = run(file, "--prometheus", "http://127.0.0.1:9")
    assert (code, out) == (1, "")
    told = "prometheus http://127.0.0.1:9: connection refused, must be a Prometheus that answers"
    assert len(err) == 1
    assert err[0].startswith(f"autoscaler: {told}; next: curl http://127.0.0.1:9/-/ready, or ")

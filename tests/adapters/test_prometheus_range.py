"""What a query was over time, from a real Prometheus and from servers that say something else."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from autoscaler.adapters.prometheus_range import PrometheusHistory
from autoscaler.errors import InputError, ObserveError
from tests.adapters.prometheus_server import backfill, prometheus
from tests.adapters.test_prometheus import Server, http, saying, waiting

BEGIN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def history(url, seconds=10.0, **options):
    """Return the adapter of a server."""
    return PrometheusHistory(url, timedelta(seconds=seconds), **options)


def matrix(*series):
    """Write a successful answer to a range query."""
    result = [{"metric": labels, "values": values} for labels, values in series]
    data = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    return http("200 OK", json.dumps(data).encode())


def test_a_real_server_gives_a_point_for_each_step_that_has_a_sample(tmp_path):
    """Each with its time and labels; before the first sample there is none."""
    # A recent time: the server keeps data for a month.
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=6)
    lines = [
        f'kube_deployment_spec_replicas{{deployment="ollama"}} {number} {begin.timestamp() + after}'
        for after, number in ((0, 2), (60, 2), (120, 4), (180, 3))
    ]
    backfill(tmp_path / "data", "# TYPE kube_deployment_spec_replicas gauge\n" + "\n".join(lines))
    with prometheus(tmp_path, {}) as server:
        (series,) = history(server.url).ask(
            "kube_deployment_spec_replicas", begin - MINUTE, begin + 3 * MINUTE, MINUTE
        )
    assert series.labels["deployment"] == "ollama"
    assert list(series.points) == [(begin + at * MINUTE, n) for at, n in enumerate((2, 2, 4, 3))]


def test_the_question_names_span_step_and_limit():
    """In seconds, as the API takes them."""
    asked = []

    def answer(connection, request):
        asked.append(request)
        connection.sendall(matrix(({}, [[1.0, "2"], [2.0, "NaN"]])))

    with Server(answer) as server:
        found = history(server.url).ask("up", BEGIN, BEGIN + MINUTE, timedelta(seconds=5))
    assert list(found[0].points) == [(datetime.fromtimestamp(1, UTC), 2.0)]
    path = urlsplit(asked[0].split()[1].decode())
    assert path.path == "/api/v1/query_range"
    begin = BEGIN.timestamp()
    expected = {"start": begin, "end": begin + 60, "step": 5.0, "timeout": 10.0}
    told = {key: values[0] for key, values in parse_qs(path.query).items()}
    assert told.pop("query") == "up"
    assert {key: float(value) for key, value in told.items()} == expected


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (saying(http("503 Service Unavailable", b"")), "HTTP 503"),
        (saying(http("200 OK", b"<html>")), "answer is not JSON"),
        (
            saying(http("200 OK", b'{"status":"success","data":{"resultType":"vector"}}')),
            "answer is not a range of values",
        ),
        (saying(matrix(({}, [["x", "2"]]))), "answer is not a range of numbers"),
        (waiting, "timeout after 0.3s"),
    ],
    ids=["refused", "html", "vector", "garbled", "silent"],
)
def test_what_is_no_answer_is_told_with_the_server(answer, told):
    """One line, and the cause."""
    with Server(answer) as server, pytest.raises(ObserveError) as error:
        history(server.url, 0.3).ask("up", BEGIN, BEGIN + MINUTE, MINUTE)
    rule = "must be a Prometheus that answers"
    assert str(error.value) == f"prometheus {server.url}: {told}, {rule}"
    assert error.value.next_step.startswith(f"curl {server.url}/-/ready, or ")


def test_a_token_goes_along_and_is_never_told(tmp_path):
    """Also where the server throws it back."""
    token = tmp_path / "token"
    token.write_text("very-secret\n")
    body = b'{"status":"error","errorType":"bad_data","error":"who is very-secret?"}'
    with Server(saying(http("400 Bad Request", body))) as server, pytest.raises(ObserveError) as e:
        history(server.url, bearer_token_file=token).ask("up", BEGIN, BEGIN + MINUTE, MINUTE)
    assert (
        str(e.value)
        == f"prometheus {server.url}: bad query: who is ***?, must be a Prometheus that answers"
    )
    assert "very-secret" not in e.value.next_step


def test_what_is_no_url_is_refused():
    """With the rule."""
    with pytest.raises(InputError, match="--prometheus = prom, must be the URL of a Prometheus"):
        history("prom")

"""What goes wrong between us and Prometheus, each on a real socket or a real server."""

import inspect
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import prometheus_api_client.exceptions
import pytest
import urllib3.exceptions

from autoscaler.adapters.prometheus import MEANINGS, PrometheusSource
from autoscaler.decision.model import Missing, Sample, Samples
from autoscaler.decision.words import MissingKind
from autoscaler.ports import MetricQuery

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
TIMEOUT = timedelta(seconds=0.5)
GRACE = 0.6
"""Seconds on top of the timeout that a busy machine may take."""
SECRET = "hunter2-hunter2"


class Server:
    """Answers each connection by a function of the socket and the request's head and body."""

    def __init__(self, answer: Callable[[socket.socket, bytes], None]) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = read_request(connection)
            self.requests.append(request)
            self._answer(connection, request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    """Read one request, its body included."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def http(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Write an HTTP answer; `length` may lie."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "Connection: close", "", ""]).encode() + body


def success(*series: tuple[dict[str, str], str], **more: object) -> bytes:
    """Write a successful answer."""
    result = [{"metric": labels, "value": [1.5, value]} for labels, value in series]
    payload = {"status": "success", "data": {"resultType": "vector", "result": result}, **more}
    return json.dumps(payload).encode()


def saying(data: bytes) -> Callable[[socket.socket, bytes], None]:
    """Answer with these bytes."""
    return lambda connection, _: connection.sendall(data)


def dribbling(head: bytes) -> Callable[[socket.socket, bytes], None]:
    """Send these bytes, then one at a time for ever: every single read succeeds in time."""

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"1")
            time.sleep(0.05)

    return answer


def waiting(connection: socket.socket, _: bytes) -> None:
    """Take the request and never answer."""
    connection.recv(1)


def ask(url: str, query: str = "1", **options: object) -> Samples | Missing:
    """Ask one query, and see that the timeout holds."""
    source = PrometheusSource(url, TIMEOUT, **options)  # type: ignore[arg-type]
    start = time.monotonic()
    answer = source.ask([MetricQuery(name="m", query=query)], NOW)["m"]
    assert time.monotonic() - start < TIMEOUT.total_seconds() + GRACE
    return answer


def failed(detail: str) -> Missing:
    """Return the Missing that a failed query is."""
    return Missing(missing=MissingKind.FAILED, detail=detail)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        pytest.param(saying(http("500 Oops", b"boom")), "HTTP 500", id="HTTP 500"),
        pytest.param(saying(http("401 No", b"{}")), "HTTP 401", id="HTTP 401"),
        pytest.param(
            saying(http("503 Busy", b'{"status":"error","errorType":"timeout","error":"slow"}')),
            "HTTP 503: slow",
            id="server's own timeout",
        ),
        pytest.param(
            saying(http("400 Bad", b'{"status":"error","errorType":"bad_data","error":"1:1: no"}')),
            "bad query: 1:1: no",
            id="bad query",
        ),
        pytest.param(
            saying(http("200 OK", b'{"status":"error","errorType":"internal","error":"a\\nb"}')),
            "answer says 'error': a b",
            id="an error with status 200",
        ),
        pytest.param(saying(http("200 OK", b"<html>")), "answer is not JSON", id="not JSON"),
        pytest.param(saying(http("200 OK", b"[" * 99999)), "answer is not JSON", id="deep JSON"),
        pytest.param(saying(http("200 OK", b"\xff\xfe")), "answer is not JSON", id="not text"),
        pytest.param(saying(http("200 OK", b"")), "answer is not JSON", id="no body"),
        pytest.param(saying(http("204 None", b"")), "HTTP 204", id="HTTP 204"),
        pytest.param(saying(http("200 OK", b"[]")), "answer says None: no cause given", id="list"),
        pytest.param(
            saying(http("200 OK", b'{"status":"success"}')),
            "answer is not an instant vector",
            id="no data",
        ),
        pytest.param(
            saying(http("200 OK", success().replace(b"vector", b"matrix"))),
            "answer is not an instant vector",
            id="matrix",
        ),
        pytest.param(
            saying(http("200 OK", success(({}, "many")))),
            "answer is not a vector of numbers",
            id="a word for a number",
        ),
        pytest.param(
            saying(http("200 OK", success().replace(b"[]", b"[7]"))),
            "answer is not a vector of numbers",
            id="a number for a series",
        ),
        pytest.param(
            saying(http("200 OK", success().replace(b"[]", b'[{"metric":{},"histogram":[]}]'))),
            "the query gives a native histogram, must give a number",
            id="native histogram",
        ),
        pytest.param(
            saying(http("200 OK", success(warnings=["store down"]))),
            "answer is partial: store down",
            id="partial answer",
        ),
        pytest.param(
            saying(http("200 OK", success()[:-9], length=len(success()))),
            "answer is cut short",
            id="truncated",
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\n\r\n" + success()[:-9]),
            "answer is not JSON",
            id="truncated without a length",
        ),
        pytest.param(
            saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\nabc"),
            "answer is cut short",
            id="truncated chunk",
        ),
        pytest.param(
            saying(http("200 OK", b"no gzip at all", "Content-Encoding: gzip")),
            "answer's compression is damaged",
            id="damaged compression",
        ),
        pytest.param(
            saying(http("302 Found", b"", "Location: http://127.0.0.1:1/")),
            "HTTP 302: redirects are not followed, url must be the final one",
            id="redirect",
        ),
        pytest.param(
            saying(http("200 OK", b" " * (9 * 2**20))), "answer is larger than 8 MiB", id="huge"
        ),
        pytest.param(saying(b"what?\r\n\r\n"), "connection failed", id="not HTTP"),
        pytest.param(saying(b""), "connection closed without an answer", id="closed at once"),
        pytest.param(waiting, "timeout after 0.5s", id="hung"),
        pytest.param(dribbling(b""), "timeout after 0.5s", id="dribbles before the head"),
        pytest.param(
            dribbling(b"HTTP/1.1 200 OK\r\nA: b"), "timeout after 0.5s", id="dribbles in the head"
        ),
        pytest.param(
            dribbling(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"),
            "timeout after 0.5s",
            id="dribbles in the body",
        ),
    ],
)
def test_a_broken_answer_is_failed_with_its_cause_in_time(
    answer: Callable[[socket.socket, bytes], None], detail: str
) -> None:
    """Whatever comes back, the metric is missing, the cause has one line, the timeout holds."""
    with Server(answer) as server:
        assert ask(server.url) == failed(detail)
        assert len(server.requests) == 1, "nothing is tried twice"


def test_nobody_listens() -> None:
    """A refused connection is Failed at once."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    assert ask(f"http://127.0.0.1:{port}") == failed("connection refused")


def test_a_full_backlog_is_a_timeout() -> None:
    """A server that accepts nobody cannot hold us."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(address)
        assert ask(f"http://127.0.0.1:{address[1]}") == failed("timeout after 0.5s")
        for each in crowd:
            each.close()


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("http://no-such-host.invalid:9090", "host name cannot be resolved"),
        ("prometheus:9090", "url is not usable"),
        ("http://", "url is not usable"),
        ("http://[1:9090", "url is not usable"),
    ],
)
def test_an_unusable_address_is_failed(url: str, detail: str) -> None:
    """A wrong URL does not end the daemon."""
    source = PrometheusSource(url, timedelta(seconds=10))
    assert source.ask([MetricQuery(name="m", query="1")], NOW)["m"] == failed(detail)


def test_a_slow_metric_does_not_take_the_others_with_it() -> None:
    """Metrics are asked side by side; the timeout is for all of them together."""

    def answer(connection: socket.socket, request: bytes) -> None:
        if b"slow" in request:
            waiting(connection, request)
        connection.sendall(http("200 OK", success(({}, "7"))))

    with Server(answer) as server:
        source = PrometheusSource(server.url, TIMEOUT)
        start = time.monotonic()
        queries = [MetricQuery(name=f"slow{n}", query=f"slow{n}") for n in range(3)]
        queries += [MetricQuery(name=f"quick{n}", query="7") for n in range(6)]
        answers = source.ask(queries, NOW)
        assert time.monotonic() - start < TIMEOUT.total_seconds() + GRACE
    seven = Samples(samples=(Sample(value=7.0, at=NOW),))
    assert answers == {
        **{f"slow{n}": failed("timeout after 0.5s") for n in range(3)},
        **{f"quick{n}": seven for n in range(6)},
    }


def test_more_hung_metrics_than_threads_still_end_in_time() -> None:
    """Queries that never had their turn are Failed like those that hang."""
    with Server(waiting) as server:
        source = PrometheusSource(server.url, TIMEOUT)
        start = time.monotonic()
        queries = [MetricQuery(name=str(n), query=str(n)) for n in range(9)]
        answers = source.ask(queries, NOW)
        assert time.monotonic() - start < TIMEOUT.total_seconds() + GRACE
    assert set(answers.values()) == {failed("timeout after 0.5s")}
    assert source.ask([], NOW) == {}


@pytest.mark.parametrize("behaviour", [waiting, dribbling(b"HTTP/1.1 200 OK\r\nA: b")])
def test_nothing_is_left_behind_by_a_hung_server(
    behaviour: Callable[[socket.socket, bytes], None],
) -> None:
    """The thread that waited ends with the timeout, also where bytes go on to come."""
    with Server(behaviour) as server:
        for _ in range(3):
            ask(server.url)
        for _ in range(40):
            left = [each for each in threading.enumerate() if each.name == "prometheus"]
            if not left:
                break
            time.sleep(0.05)
        assert not left


def test_the_age_is_taken_off_our_own_time() -> None:
    """The server's clock gives the age, ours the date: their difference does not matter."""

    def answer(connection: socket.socket, request: bytes) -> None:
        marker = request.partition(b"__age_")[2][:8].decode()
        ages = ({f"__age_{marker}__": "a0"}, "12.5"), ({f"__age_{marker}__": "a1"}, "2")
        connection.sendall(http("200 OK", success(({"x": "y"}, "3"), *ages)))

    with Server(answer) as server:
        samples = ask(server.url, "a + b")
        assert b"&time=" not in server.requests[0]
    at = NOW - timedelta(seconds=12.5)
    assert samples == Samples(samples=(Sample(labels={"x": "y"}, value=3.0, at=at),))


def test_an_age_without_bounds_is_kept_in_the_calendar() -> None:
    """Nonsense from a server's clock cannot make a date that does not exist, or a future one."""
    for age, at in (("1e300", NOW - timedelta(days=36_500)), ("-5", NOW)):

        def answer(connection: socket.socket, request: bytes, age: str = age) -> None:
            marker = request.partition(b"__age_")[2][:8].decode()
            rider = {f"__age_{marker}__": "a0"}, age
            connection.sendall(http("200 OK", success(({}, "3"), rider)))

        with Server(answer) as server:
            assert ask(server.url, "a") == Samples(samples=(Sample(value=3.0, at=at),))


@pytest.mark.parametrize("ages", [["NaN"], ["+Inf"], ["-Inf"], ["5", "NaN"], ["NaN", "5"]])
def test_an_age_that_is_no_number_is_the_highest(ages: list[str]) -> None:
    """Data of an unknown age is never fresh, whatever the ages of the rest."""

    def answer(connection: socket.socket, request: bytes) -> None:
        marker = request.partition(b"__age_")[2][:8].decode()
        riders = [({f"__age_{marker}__": f"a{n}"}, age) for n, age in enumerate(ages)]
        connection.sendall(http("200 OK", success(({}, "3"), *riders)))

    with Server(answer) as server:
        sample = Sample(value=3.0, at=NOW - timedelta(days=36_500))
        assert ask(server.url, "a") == Samples(samples=(sample,))


def test_a_source_is_shared_by_targets() -> None:
    """Each thread gets the answers to its own queries, and no request is left behind."""

    def answer(connection: socket.socket, request: bytes) -> None:
        number = request.partition(b"query=vector%28%0A")[2].partition(b"%0A")[0].decode()
        connection.sendall(http("200 OK", success(({}, number))))

    answers: dict[int, list[object]] = {}
    with Server(answer) as server:
        source = PrometheusSource(server.url, timedelta(seconds=5))

        def target(number: int) -> None:
            query = MetricQuery(name="m", query=str(number))
            answers[number] = [source.ask([query], NOW)["m"] for _ in range(5)]

        threads = [threading.Thread(target=target, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {n: [Samples(samples=(Sample(value=n, at=NOW),))] * 5 for n in range(6)}


def test_a_query_that_cannot_be_parsed_is_not_sent() -> None:
    """A typing error costs no request and says what it is."""
    with Server(saying(b"")) as server:
        assert ask(server.url, "sum(") == failed("bad query: unclosed left parenthesis")
        assert not server.requests


def test_short_queries_are_read_with_get_and_long_ones_posted() -> None:
    """GET is what a proxy grants to readers; a long query does not fit into a URL."""
    with Server(saying(http("200 OK", success()))) as server:
        ask(f"{server.url}/prefix/", "1")
        ask(f"{server.url}/prefix", f"1 # {'long' * 600}")
    short, long = server.requests
    assert short.startswith(b"GET /prefix/api/v1/query?query=")
    assert long.startswith(b"POST /prefix/api/v1/query HTTP")
    assert b"\r\n\r\nquery=vector" in long
    assert b"timeout=0.500" in short
    assert b"timeout=0.500" in long


def test_the_token_is_read_again_for_every_ask(tmp_path: Path) -> None:
    """A token that is renewed in its file is used from the next cycle on."""
    token = tmp_path / "token"
    with Server(saying(http("200 OK", success()))) as server:
        source = PrometheusSource(
            server.url, TIMEOUT, bearer_token_file=token, headers={"X-Scope-OrgID": "house"}
        )
        for text in ("first\n", "second"):
            token.write_text(text)
            source.ask([MetricQuery(name="m", query="1")], NOW)
    assert b"Authorization: Bearer first\r\n" in server.requests[0]
    assert b"Authorization: Bearer second\r\n" in server.requests[1]
    assert all(b"X-Scope-OrgID: house\r\n" in request for request in server.requests)


def test_a_token_that_cannot_be_read_is_failed(tmp_path: Path) -> None:
    """The file's path is said, and no request is sent without its token."""
    missing, binary, dirty = tmp_path / "missing", tmp_path / "binary", tmp_path / "dirty"
    binary.write_bytes(b"\xff\xfe")
    dirty.write_text(f"{SECRET}\nsecond line")
    with Server(saying(b"")) as server:
        assert ask(server.url, bearer_token_file=missing) == failed(
            f"bearer_token_file {missing}: No such file or directory"
        )
        assert ask(server.url, bearer_token_file=binary) == failed(
            f"bearer_token_file {binary}: must be text"
        )
        assert ask(server.url, bearer_token_file=dirty) == failed(
            "a header or the bearer token has characters that HTTP forbids"
        )
        assert not server.requests


def test_no_secret_is_ever_in_a_detail(tmp_path: Path) -> None:
    """Also where the server sends it back: token, header values, the URL's password."""
    token = tmp_path / "token"
    token.write_text(SECRET)

    def echo(connection: socket.socket, request: bytes) -> None:
        error = request.decode().replace("\r\n", " ") + "x" * 400
        body = json.dumps({"status": "error", "errorType": "bad_data", "error": error}).encode()
        connection.sendall(http("400 Bad", body))

    with Server(echo) as server:
        for url in (server.url, server.url.replace("//", "//user:url-password@")):
            source = PrometheusSource(
                url,
                TIMEOUT,
                bearer_token_file=None if "user" in url else token,
                headers={"X-Key": "key-of-the-house"},
            )
            answer = source.ask([MetricQuery(name="m", query="1")], NOW)["m"]
            assert isinstance(answer, Missing)
            assert "GET /api/v1/query" in answer.detail
            assert "***" in answer.detail
            assert len(answer.detail) == 300
            for secret in (SECRET, "key-of-the-house", "url-password", "dXNlcjp1cmwtcGFzc3dvcmQ="):
                assert secret not in answer.detail
                assert secret not in repr(source)
        assert b"Basic dXNlcjp1cmwtcGFzc3dvcmQ=" in server.requests[1]


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy and no .netrc is used that the configuration does not name."""
    host = "127.0.0.1"
    (tmp_path / ".netrc").write_text(f"machine {host} login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Server(saying(http("200 OK", success()))) as server:
        assert ask(server.url) == Samples(samples=())
        assert b"Authorization" not in server.requests[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for loopback, its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert, both = folder / "key.pem", folder / "cert.pem", folder / "both.pem"
    subject = ["-subj", "/CN=loopback", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, "-keyout", key, "-out", cert, *subject],
        check=True,
        capture_output=True,
    )
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


def test_tls_is_checked_against_the_given_authority(certificate: Path, tmp_path: Path) -> None:
    """Without `ca_file` a private certificate is refused; with it, it is used; a hang is cut."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def secure(behaviour: Callable[[socket.socket, bytes], None]) -> "TLSServer":
        return TLSServer(behaviour, context)

    with secure(saying(http("200 OK", success(({}, "1"))))) as server:
        assert ask(server.url) == failed("TLS certificate is not trusted")
        assert ask(server.url, ca_file=certificate) == Samples(samples=(Sample(value=1.0, at=NOW),))
        nowhere = ask(server.url, ca_file=tmp_path / "none.pem")
        assert isinstance(nowhere, Missing)
        assert "none.pem" in nowhere.detail
    with secure(dribbling(b"HTTP/1.1 200 OK\r\nA: b")) as server:
        assert ask(server.url, ca_file=certificate) == failed("timeout after 0.5s")


class TLSServer(Server):
    """The same over TLS."""

    def __init__(
        self, answer: Callable[[socket.socket, bytes], None], context: ssl.SSLContext
    ) -> None:
        self._context = context
        super().__init__(answer)
        self.url = self.url.replace("http:", "https:")

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            super()._serve(self._context.wrap_socket(connection, server_side=True))


def foreign_errors() -> list[type[BaseException]]:
    """List the exceptions of the two libraries."""
    return [
        kind
        for module in (urllib3.exceptions, prometheus_api_client.exceptions)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, BaseException)
        and not issubclass(kind, Warning)
        and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize("kind", foreign_errors(), ids=lambda kind: kind.__name__)
def test_every_exception_of_the_libraries_has_a_meaning(kind: type[BaseException]) -> None:
    """A new version that raises something new is noticed here, not at night."""
    assert kind in MEANINGS

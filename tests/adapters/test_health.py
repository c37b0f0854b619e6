"""The daemon's HTTP port, over real sockets."""

import json
import socket
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPConnection

import pytest

from autoscaler.adapters import health
from autoscaler.adapters import outlooks as adapters_outlooks
from autoscaler.adapters.cycle_view import view_of
from autoscaler.adapters.health import HealthServer, Heart, Page, StatusBoard, why_not
from autoscaler.decision.model import Schedule
from autoscaler.decision.words import Mode
from autoscaler.errors import AutoscalerError
from tests.adapters.views import STANDBY, pods, seen
from tests.cycles import POLICY, UNREADABLE, FakeClock, report_of


def broken():
    """Fail as a bug would."""
    raise KeyError("secret")


@pytest.fixture
def server():
    """Return a server with one page that works and one that does not."""
    pages = {"/healthz": lambda: Page(body=b"ok"), "/broken": broken}
    server = HealthServer("127.0.0.1", 0, pages)
    server.address = server.start()
    yield server
    server.stop()


def ask(server, method, path, body=None):
    """Return status, headers and body of one answer."""
    connection = HTTPConnection(server.address, timeout=10)
    connection.request(method, path, body=body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/healthz", 200, b"ok"),
        ("HEAD", "/healthz", 200, b""),
        ("GET", "/healthz?verbose=1", 200, b"ok"),
        ("GET", "/", 404, b"404 Not Found\n"),
        ("GET", "/healthz/../etc/passwd", 404, b"404 Not Found\n"),
        ("HEAD", "/nothing", 404, b""),
        ("POST", "/healthz", 405, b"405 Method Not Allowed\n"),
        ("DELETE", "/healthz", 405, b"405 Method Not Allowed\n"),
        ("BREW", "/healthz", 405, b"405 Method Not Allowed\n"),
        ("GET", "/broken", 500, b"500 Internal Server Error\n"),
    ],
)
def test_pages_are_read_and_nothing_else(server, method, path, status, body):
    """GET and HEAD of known pages; the rest is refused in one line that gives nothing away."""
    assert ask(server, method, path)[::2] == (status, body)


def test_a_refused_method_names_the_allowed_ones(server):
    """As HTTP wants it."""
    assert ask(server, "PUT", "/healthz", body=b"x" * 1000)[1]["Allow"] == "GET, HEAD"


def test_the_server_does_not_tell_its_version(server):
    """Nobody needs to know."""
    assert "Python" not in ask(server, "GET", "/healthz")[1]["Server"]


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /healthz HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/9.9\r\n\r\n", b"505"),
    ],
    ids=["long path", "many headers", "long header", "nonsense", "another HTTP"],
)
def test_a_request_that_is_none_is_refused(server, request_text, status):
    """Its size is bounded, and it ends the connection."""
    with raw(server) as client:
        client.sendall(request_text)
        answer = b""
        try:
            while piece := client.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass  # more was sent than anybody read
    assert status in answer.splitlines()[0]


def raw(server):
    """Return a bare connection."""
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_a_client_that_trickles_is_hung_up_on(server, monkeypatch):
    """However busy it looks, its time is bounded."""
    monkeypatch.setattr(health, "_SECONDS", 0.3)
    began = time.monotonic()
    with raw(server) as client, suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < began + 10:
            client.sendall(b"a")
            time.sleep(0.02)
    assert time.monotonic() < began + 5


def test_clients_beyond_the_limit_are_turned_away_and_the_others_served(server, monkeypatch):
    """Idle connections cost a bounded number of threads, and leave when their time is up."""
    monkeypatch.setattr(health, "_SECONDS", 1.0)
    idle = [raw(server) for _ in range(40)]
    until = time.monotonic() + 10
    status = None
    while status != 200 and time.monotonic() < until:
        try:
            status = ask(server, "GET", "/healthz")[0]
        except OSError:
            time.sleep(0.1)
    assert status == 200
    for client in idle:
        client.close()


def test_a_taken_port_is_refused(server):
    """One line, naming the keys and the values."""
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(
        AutoscalerError, match=rf"http.host = 127.0.0.1, http.port = {port}: cannot"
    ):
        HealthServer("127.0.0.1", port, {}).start()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_that_is_not_ours_is_refused(host):
    """Of either family."""
    with pytest.raises(AutoscalerError, match=f"http.host = {host}"):
        HealthServer(host, 0, {}).start()


# --- the heart ----------------------------------------------------------------------------------


def beating(limit=30):
    """Return a heart of two targets and its clock."""
    clock = FakeClock()
    heart = Heart(clock, ["llm/ollama", "llm/other"], timedelta(seconds=limit))
    return heart, clock


def test_a_heart_that_has_just_begun_is_alive():
    """The first cycle has its time, too."""
    heart, clock = beating()
    clock.seconds += 30
    assert heart.page().status == 200


def test_a_target_without_cycles_is_named():
    """One that hangs is enough, although the other goes on."""
    heart, clock = beating()
    clock.seconds += 31
    heart.report(report_of())
    page = heart.page()
    assert page.status == 503
    assert page.body == b"llm/other: no cycle ended for 31s (limit 30s)"


def test_a_cycle_that_fails_is_a_beat():
    """An outage is no reason to be restarted."""
    heart, clock = beating()
    heart = Heart(clock, ["llm/ollama"], timedelta(seconds=30))
    for _ in range(10):
        clock.seconds += 29
        heart.report(report_of(read_error=UNREADABLE))
    assert heart.page().status == 200


def test_a_target_that_is_forgotten_is_waited_for_no_longer():
    """A changed configuration takes targets away and brings new ones, which get their time."""
    heart, clock = beating()
    clock.seconds += 20
    heart.forget("llm/other")
    heart.expect("llm/third")
    clock.seconds += 20
    heart.report(report_of())
    heart.report(replace(report_of(), target="llm/other"))  # its last cycle, ended late
    assert heart.page().status == 200
    clock.seconds += 15
    assert heart.page().body == b"llm/third: no cycle ended for 35s (limit 30s)"


# --- status -------------------------------------------------------------------------------------


def test_status_tells_each_targets_last_cycle():
    """Decision, sentence, metrics, steps, bounds and time, as JSON."""
    board = StatusBoard("1.2.3", FakeClock())
    board.show(view_of(report_of(1.6)))
    report = report_of(4.0)
    board.show(view_of(report))
    page = board.page()
    assert page.content_type == "application/json"
    told = json.loads(page.body, parse_constant=pytest.fail)
    (target,) = told["targets"]
    assert told["version"] == "1.2.3"
    assert (target["target"], target["from"], target["to"]) == ("llm/ollama", 2, 5)
    assert target["time"] == "2026-11-23T10:00:05Z"
    assert target["bounds"] == {"min_replicas": 2, "max_replicas": 6}
    assert [step["reason"] for step in target["steps"]] == ["AboveTarget"]
    assert target["metrics"]["queue_depth"]["value"] == 4.0


def test_status_tells_of_a_target_that_cannot_be_read():
    """The error is there, the decision is not."""
    board = StatusBoard("1.2.3", FakeClock())
    board.show(view_of(report_of(read_error=UNREADABLE)))
    (target,) = json.loads(board.page().body)["targets"]
    assert target["error"] == str(UNREADABLE)
    assert "to" not in target


def test_status_before_the_first_cycle_is_empty():
    """Nothing is known, and nothing is made up."""
    told = json.loads(StatusBoard("1.2.3", FakeClock()).page().body)
    assert (told["targets"], told["leader"]) == ([], None)


def test_status_tells_what_else_is_known():
    """Requests in flight, what a person has paused, and the bounds that a schedule has set."""
    board = StatusBoard("1.2.3", FakeClock())
    day = Schedule(name="day", start="0 8 * * *", end="0 18 * * *", max_replicas=3)
    policy = replace(POLICY, schedules=(day,))
    board.show(seen(pods=pods(2, 1), paused=True, policy=policy))
    told = json.loads(board.page().body)
    (target,) = told["targets"]
    assert told["leader"] is True
    assert (target["in_flight"], target["paused"]) == (3, ["up", "down"])
    assert target["bounds"] == {"min_replicas": 2, "max_replicas": 3}
    assert target["schedule"] == "day"
    assert "idle" not in target


def test_status_of_a_daemon_that_stands_by_says_so():
    """The decision of the time when it led is gone."""
    board = StatusBoard("1.2.3", FakeClock())
    board.show(view_of(report_of(4.0)))
    board.show(view_of(STANDBY))
    told = json.loads(board.page().body)
    (target,) = told["targets"]
    assert told["leader"] is False
    assert target["reason"] == "NotLeader"
    assert not {"to", "bounds", "steps"} & target.keys()
    board.forget("llm/ollama")
    assert json.loads(board.page().body)["targets"] == []


def test_status_tells_what_comes_next():
    """And by which clock it goes, and how often it looks."""
    clock = FakeClock()
    board = StatusBoard("1.2.3", clock)
    board.show(seen(1.5, current=4))
    told = json.loads(board.page().body)
    assert "outlook" not in told["targets"][0]  # the time of the next cycle is not known yet
    board.expect_every(timedelta(seconds=5))
    told = json.loads(board.page().body)
    assert (told["now"], told["interval"]) == ("2026-11-23T10:00:00Z", 5)
    outlook = told["targets"][0]["outlook"]
    assert outlook["sentence"].startswith("shrinks to 2 at 10:05:00Z if queue_depth stays under")
    assert outlook["move"]["to"] == 2
    board.show(seen(1.5, current=4, changes={"mode": Mode.SHADOW}))
    shadow = json.loads(board.page().body)["targets"][0]["outlook"]["sentence"]
    assert shadow.startswith("a shadow, which writes nothing: shrinks to 2 at ")
    held = told["targets"][0]["metrics"]["queue_depth"]
    assert (held["type"], held["target"], held["value"]) == ("total", 0.8, 1.5)


def many(count, clock):
    """Return a board with so many targets."""
    board = StatusBoard("1.2.3", clock)
    board.expect_every(timedelta(seconds=5))
    view = seen(1.5, current=4)
    for number in range(count):
        board.show(replace(view, target=f"llm/{number:04}"))
    return board


def outlooks(board, query=""):
    """Name the targets of an answer that have an outlook."""
    told = json.loads(board.page(query).body)["targets"]
    return [each["target"] for each in told if "outlook" in each]


def test_status_of_many_targets_has_the_outlooks_of_a_few():
    """Of another one, where it is asked for by name."""
    board = many(100, FakeClock())
    assert outlooks(board) == [f"llm/{number:04}" for number in range(32)]
    assert outlooks(board, "target=llm/0077") == ["llm/0077"]
    assert outlooks(board, "target=llm%2F0077&x") == ["llm/0077"]
    assert outlooks(board, "target=llm/nobody") == []
    assert len(json.loads(board.page("target=").body)["targets"]) == 100


def test_an_outlook_is_worked_out_once_for_each_cycle(monkeypatch):
    """However often somebody asks."""
    worked_out = []
    real = adapters_outlooks.foresee
    monkeypatch.setattr(
        adapters_outlooks,
        "foresee",
        lambda record, step: worked_out.append(record) or real(record, step),
    )
    board = many(2, FakeClock())
    for _ in range(3):
        assert len(outlooks(board)) == 2
    assert len(worked_out) == 2
    board.show(replace(seen(1.6), target="llm/0001"))
    assert len(outlooks(board)) == 2
    assert len(worked_out) == 3
    board.forget("llm/0001")
    assert outlooks(board) == ["llm/0000"]


def test_outlooks_take_no_longer_than_half_a_second(monkeypatch):
    """What is left is worked out when somebody asks again."""
    clock = FakeClock()
    real = adapters_outlooks.foresee

    def slow(record, step):
        clock.seconds += 0.2
        return real(record, step)

    monkeypatch.setattr(adapters_outlooks, "foresee", slow)
    board = many(10, clock)
    assert [len(outlooks(board)) for _ in range(4)] == [3, 6, 9, 10]


def test_a_page_may_be_asked_for_something(server):
    """What stands behind the question mark is its own to read."""
    asked = HealthServer("127.0.0.1", 0, {}, {"/status": lambda query: Page(body=query.encode())})
    asked.address = asked.start()
    assert ask(asked, "GET", "/status?target=llm/ollama")[::2] == (200, b"target=llm/ollama")
    assert ask(asked, "GET", "/status")[::2] == (200, b"")
    asked.stop()


# --- a look beforehand --------------------------------------------------------------------------


def test_a_port_that_somebody_else_holds_is_known_before():
    """By the system's reason; a free one is no news."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert why_not("127.0.0.1", port) == "Address already in use"
    assert why_not("127.0.0.1", 0) == ""
    assert why_not("127.0.0.1", port) == ""


def test_a_daemon_that_runs_holds_its_port_by_right(server):
    """Whoever checks beside it finds nothing wrong."""
    host, _, port = server.address.rpartition(":")
    assert why_not(host, int(port)) == ""


def test_a_host_that_is_none_is_known_before():
    """The reason is on one line."""
    assert len(why_not("nowhere.invalid", 0).splitlines()) == 1

"""Connections that are kept, bounded in number and in time, on real sockets."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes import client as k

from autoscaler.adapters import channels
from autoscaler.adapters.channels import Channels
from autoscaler.adapters.cutter import Cutter
from autoscaler.adapters.kubernetes import KubernetesTarget
from autoscaler.adapters.kubernetes.client import connect
from autoscaler.adapters.prometheus import PrometheusSource
from autoscaler.adapters.turns import NoTurnError, Turns
from autoscaler.adapters.watchdog import Watchdog
from autoscaler.decision.model import Missing, Sample, Samples
from autoscaler.decision.words import MissingKind
from autoscaler.errors import TargetReadError, TargetWriteError, UnknownWriteError
from autoscaler.ports import MetricQuery
from tests.adapters.keepalive import Answer, KeepAlive, http, saying

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SEVEN = (
    b'{"status":"success","data":{"resultType":"vector","result":'
    b'[{"metric":{},"value":[1.5,"7"]}]}}'
)
SEEN = Samples(samples=(Sample(value=7.0, at=NOW),))
SCALE = b'{"spec": {"replicas": 3}}'
DEPLOYMENT = b'{"metadata": {"uid": "u"}, "spec": {"replicas": 2, "selector": {}}, "items": []}'


def source(server: KeepAlive, seconds: float = 2.0) -> PrometheusSource:
    """Ask this server."""
    return PrometheusSource(server.url, timedelta(seconds=seconds))


def ask(asked: PrometheusSource, *queries: str) -> dict[str, Samples | Missing]:
    """Ask these queries, each under its own text."""
    return dict(asked.ask([MetricQuery(name=q, query=q) for q in queries or ("7",)], NOW))


def failed(detail: str) -> Missing:
    """Return the Missing that a failed query is."""
    return Missing(missing=MissingKind.FAILED, detail=detail)


def target_of(server: KeepAlive, seconds: float = 2.0) -> KubernetesTarget:
    """Make a target of this API."""
    client = connect(k.Configuration(host=server.url))
    limit = timedelta(seconds=seconds)
    return KubernetesTarget(namespace="llm", name="ollama", client=client, timeout=limit)


# --- kept connections ---------------------------------------------------------------------------


def test_queries_go_over_one_connection() -> None:
    """Nothing is connected anew while the server keeps the connection."""
    with KeepAlive(saying(SEVEN)) as server:
        asked = source(server)
        for _ in range(5):
            assert ask(asked, "7", "8") == {"7": SEEN, "8": SEEN}
        assert len(server.connections) == 1
        assert len(server.requests) == 10


def test_a_quick_round_starts_no_thread_but_that_which_connects(monkeypatch) -> None:
    """The thread that asks does it itself."""
    started = []
    start = threading.Thread.start

    def count(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    with KeepAlive(saying(SEVEN)) as server:
        monkeypatch.setattr(threading.Thread, "start", count)
        asked = source(server)
        for _ in range(5):
            ask(asked, "7", "8")
        assert started.count("prometheus") == 1


def test_reads_of_the_api_go_over_one_connection_and_a_write_over_its_own() -> None:
    """A write's failure must tell whether it can have been written, so it shares nothing."""

    def answer(connection: socket.socket, _: int) -> bool:
        connection.sendall(http(SCALE if b"PATCH" in server.requests[-1] else DEPLOYMENT))
        return True

    with KeepAlive(answer) as server:
        target = target_of(server)
        target.read()
        target.read()
        assert len(server.connections) == 1
        target.scale(2, 3)
        target.scale(2, 3)
        assert len(server.connections) == 3


def test_a_connection_that_was_closed_while_idle_is_not_used_again() -> None:
    """Its end is seen beforehand, and nothing is sent twice."""
    with KeepAlive(saying(SEVEN)) as server:
        asked = source(server)
        assert ask(asked) == {"7": SEEN}
        server.close_all()
        time.sleep(0.05)
        assert ask(asked) == {"7": SEEN}
        assert (len(server.connections), len(server.requests)) == (2, 2)


def test_a_server_that_closes_after_each_answer_is_connected_to_each_time() -> None:
    """`Connection: close` is believed."""

    def answer(connection: socket.socket, _: int) -> bool:
        connection.sendall(http(SEVEN, "Connection: close"))
        return False

    with KeepAlive(answer) as server:
        asked = source(server)
        for _ in range(3):
            assert ask(asked) == {"7": SEEN}
        assert (len(server.connections), len(server.requests)) == (3, 3)


def test_a_connection_that_was_idle_for_long_is_closed(monkeypatch) -> None:
    """What stands between us and the server may have forgotten it without a word."""
    with KeepAlive(saying(SEVEN)) as server:
        asked = source(server)
        ask(asked)
        monkeypatch.setattr(channels, "_MOST_IDLE_SECONDS", 0.01)
        time.sleep(0.05)
        assert ask(asked) == {"7": SEEN}
        assert len(server.connections) == 2
        wait_until(lambda: server.connections[0].fileno() < 0)


def closing_on(second: bytes) -> Answer:
    """Answer the first request on each connection; on the second, say this and close."""

    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(http(SEVEN) if number == 1 else second)
        return number == 1

    return answer


def test_a_query_whose_kept_connection_is_just_being_closed_goes_over_a_fresh_one() -> None:
    """The server took the request and hung up without a byte: the metric is not missing."""
    with KeepAlive(closing_on(b"")) as server:
        asked = source(server)
        for _ in range(3):
            assert ask(asked) == {"7": SEEN}
        assert (len(server.connections), len(server.requests)) == (3, 5)


def test_nothing_is_repeated_once_a_part_of_the_answer_has_come() -> None:
    """A server that breaks off is not one that had closed before."""
    with KeepAlive(closing_on(http(SEVEN)[:-9])) as server:
        asked = source(server)
        assert ask(asked) == {"7": SEEN}
        assert ask(asked) == {"7": failed("answer is cut short")}
        assert (len(server.connections), len(server.requests)) == (1, 2)


def test_a_read_of_the_api_is_repeated_once_and_no_more() -> None:
    """Where the fresh connection is closed as well, that is how it is."""
    behaviours = [lambda c: c.sendall(http(DEPLOYMENT)) or True] * 2 + [lambda _: False] * 9

    def answer(connection: socket.socket, _: int) -> bool:
        return behaviours[len(server.requests) - 1](connection)

    with KeepAlive(answer) as server:
        target = target_of(server)
        target.read()
        with pytest.raises(TargetReadError, match="connection closed without an answer"):
            target.read()
        assert len(server.requests) == 4


def test_a_write_is_never_repeated() -> None:
    """Its connection is closed without an answer: nobody knows, and it is said so."""

    def answer(connection: socket.socket, _: int) -> bool:
        if b"PATCH" in server.requests[-1]:
            return False
        connection.sendall(http(DEPLOYMENT))
        return True

    with KeepAlive(answer) as server:
        target = target_of(server)
        target.read()
        with pytest.raises(UnknownWriteError, match="connection closed without an answer"):
            target.scale(2, 3)
        assert sum(b"PATCH" in request for request in server.requests) == 1


def test_a_connection_that_hung_is_not_kept() -> None:
    """What was cut is gone; the next call has a fresh one."""
    slow = threading.Event()

    def answer(connection: socket.socket, number: int) -> bool:
        if number == 2:
            slow.wait(5)
        connection.sendall(http(SEVEN))
        return True

    with KeepAlive(answer) as server:
        asked = source(server, seconds=0.3)
        assert ask(asked) == {"7": SEEN}
        assert ask(asked) == {"7": failed("timeout after 0.3s")}
        slow.set()
        assert ask(asked) == {"7": SEEN}
        assert len(server.requests) == 3


def test_after_a_hang_the_next_call_has_a_fresh_connection() -> None:
    """A server that vanished without a word costs one call, not one for each kept connection."""
    dead = threading.Event()

    def answer(connection: socket.socket, number: int) -> bool:
        time.sleep(0.05)  # so that two at a time need two connections
        if number > 1 and dead.is_set():
            connection.recv(1)
        connection.sendall(http(SEVEN))
        return True

    with KeepAlive(answer) as server, ThreadPoolExecutor(2) as pool:
        asked = source(server, seconds=0.5)
        list(pool.map(lambda _: ask(asked), range(2)))
        assert len(server.connections) == 2
        dead.set()
        assert ask(asked) == {"7": failed("timeout after 0.5s")}
        assert ask(asked) == {"7": SEEN}


# --- so many at a time --------------------------------------------------------------------------


def test_no_more_than_sixteen_requests_are_made_at_a_time() -> None:
    """However many targets ask; each has its answer in the end, over sixteen connections."""

    def answer(connection: socket.socket, _: int) -> bool:
        time.sleep(0.01)
        connection.sendall(http(SEVEN))
        return True

    with KeepAlive(answer) as server, ThreadPoolExecutor(64) as pool:
        asked = source(server, seconds=20)
        answers = list(pool.map(lambda _: ask(asked), range(200)))
        assert answers == [{"7": SEEN}] * 200
        assert server.busiest <= 16
        assert len(server.connections) <= 16


def hanging(connection: socket.socket, _: int) -> bool:
    """Take the request and never answer."""
    with suppress(OSError):
        connection.recv(1)
    return False


def test_a_query_that_gets_no_turn_is_failed_in_time() -> None:
    """Sixteen that hang hold up another for no longer than its timeout, and it is not sent."""
    with KeepAlive(hanging) as server, ThreadPoolExecutor(16) as pool:
        asked = source(server, seconds=1.0)
        hung = [pool.submit(ask, asked) for _ in range(16)]
        wait_until(lambda: len(server.requests) == 16)
        asked._timeout = timedelta(seconds=0.2)
        began = time.monotonic()
        assert ask(asked) == {"7": failed("no turn among the 16 requests at a time")}
        assert time.monotonic() - began < 0.6
        assert [each.result() for each in hung] == [{"7": failed("timeout after 1s")}] * 16
        assert len(server.requests) == 16


def test_a_write_that_gets_no_turn_was_not_written() -> None:
    """It is a failed write, not one of which nobody knows."""
    with KeepAlive(hanging) as server, ThreadPoolExecutor(16) as pool:
        target = target_of(server, seconds=0.8)
        reads = [pool.submit(target.read) for _ in range(16)]
        wait_until(lambda: len(server.requests) == 16)
        target._timeout = 0.2
        with pytest.raises(TargetWriteError) as error:
            target.scale(2, 3)
        assert type(error.value) is TargetWriteError
        assert str(error.value).endswith(
            f"nothing sent to {server.url}: no turn among the 16 requests at a time"
        )
        assert {type(read.exception()) for read in reads} == {TargetReadError}


def test_queries_that_always_hang_leave_the_places_to_the_others() -> None:
    """Many more than there are places: once each has hung, the rest is asked without delay."""

    def answer(connection: socket.socket, number: int) -> bool:
        if b"slow" in server.requests[-1]:
            return hanging(connection, number)
        connection.sendall(http(SEVEN))
        return True

    with KeepAlive(answer) as server, ThreadPoolExecutor(40) as pool:
        asked = source(server, seconds=0.4)
        slow = [f"slow{number}" for number in range(32)]
        while len(asked._session._channels._turns._suspects) < 32:  # half get no turn at first
            list(pool.map(lambda query: ask(asked, query), slow))
        asked._timeout = timedelta(seconds=3)
        hung = [pool.submit(ask, asked, query) for query in slow]
        wait_until(lambda: sum(each.done() for each in hung) == 28)
        assert server.busy == 4
        told = "no turn among the 4 requests at a time that hung before"
        refused = [each.result() for each in hung if each.done()]
        assert all(failed(told) in answers.values() for answers in refused)
        began = time.monotonic()
        for number in range(20):
            assert ask(asked, f"{number}") == {f"{number}": SEEN}
        assert time.monotonic() - began < 2
        server.close_all()


def test_a_query_is_not_suspected_for_having_waited() -> None:
    """It got its turn when its time was nearly over: that says nothing about it."""

    def answer(connection: socket.socket, _: int) -> bool:
        time.sleep(0.42)
        connection.sendall(http(SEVEN))
        return True

    with KeepAlive(answer) as server, ThreadPoolExecutor(17) as pool:
        asked = source(server, seconds=0.5)
        list(pool.map(lambda number: ask(asked, f"{number}"), range(17)))
        assert asked._session._channels._turns._suspects == set()


def test_a_query_that_hung_and_answers_again_is_like_any_other() -> None:
    """One answer in time, and it waits for its turn as the others do."""
    turns = Turns(1)
    turns.suspect("a")
    for _ in range(4):
        turns.take("a", 1.0)()
    give_back = turns.take("b", 1.0)
    with pytest.raises(NoTurnError, match="no turn among the 1 requests at a time"):
        turns.take("a", 1.0)
    turns.clear("a")
    with pytest.raises(NoTurnError, match="no turn among the 1 requests at a time"):
        turns.take("a", 0.3)
    give_back()
    turns.take("a", 0.0)()


def test_only_so_many_that_hung_are_remembered(monkeypatch) -> None:
    """Whatever is asked, the memory for it ends."""
    monkeypatch.setattr("autoscaler.adapters.turns._MOST_REMEMBERED", 3)
    turns = Turns(1)
    for key in "abcd":
        turns.suspect(key)
    assert turns._suspects == {"d"}


def test_a_name_lookup_that_hangs_keeps_its_place_and_not_its_caller(monkeypatch) -> None:
    """So many threads can hang and no more; once the resolver is back, so are the places."""
    resolver = threading.Event()
    look_up = socket.getaddrinfo

    def slow(*args: object, **options: object) -> object:
        resolver.wait(20)
        return look_up(*args, **options)  # type: ignore[arg-type]

    with KeepAlive(saying(SEVEN)) as server:
        asked = source(server, seconds=0.2)
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: ask(asked)["7"], range(16)))
        assert answers == [failed("timeout after 0.2s")] * 16
        assert threads("prometheus") == 16
        assert ask(asked) == {"7": failed("no turn among the 16 requests at a time")}
        assert threads("prometheus") == 16
        resolver.set()
        wait_until(lambda: not threads("prometheus"))
        assert ask(asked) == {"7": SEEN}


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads(name: str) -> int:
    """Count the threads of a name."""
    return sum(thread.name == name for thread in threading.enumerate())


def test_a_place_is_free_again_where_no_client_can_be_made() -> None:
    """Whatever goes wrong before a connection is opened."""

    def refuse(_: Cutter) -> socket.socket:
        raise ssl.SSLError

    pool = Channels(refuse, most=1)
    for _ in range(3):
        with pytest.raises(ssl.SSLError):
            pool.call("key", 0.1, lambda _, __: None, repeatable=True)


# --- the watchdog -------------------------------------------------------------------------------


def test_alarms_go_off_in_their_order_and_those_that_are_off_do_not() -> None:
    """An earlier alarm is not held up by a later one; one that fails ends nothing."""
    watchdog, rung, done = Watchdog(), [], threading.Event()
    now = time.monotonic()
    watchdog.alarm(now + 60, lambda: rung.append("never"))
    watchdog.alarm(now + 0.2, done.set)
    watchdog.alarm(now + 0.1, lambda: rung.append("second"))
    watchdog.alarm(now + 0.08, lambda: 1 / 0)
    watchdog.alarm(now + 0.05, lambda: rung.append("first"))
    with watchdog.alarm(now + 0.06, lambda: rung.append("off")):
        pass
    assert done.wait(5)
    assert rung == ["first", "second"]
    assert time.monotonic() - now < 2

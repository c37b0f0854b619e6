"""Requests in flight, from real sockets that answer well or badly, and from the real HAProxy."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Self

import pytest

from autoscaler.adapters.haproxy import MAX_ANSWER_BYTES, HaproxyGateways, read_backends
from tests.sandbox.gateways import rig

TIMEOUT = timedelta(seconds=0.5)
GRACE_S = 0.6
"""On top of the timeout, for a busy machine."""
HEAD = "# pxname,svname,qcur,scur,status,addr,\n"
PAGE = HEAD + (
    "llm,FRONTEND,,7,OPEN,,\n"
    "tasks,one,0,1,no check,unix,\n"
    "tasks,BACKEND,0,1,UP,,\n"
    "ollama,ollama1,0,1,UP,10.0.0.1:11434,\n"
    "ollama,ollama2,0,0,DOWN,10.0.0.2:11434,\n"
    "ollama,ollama3,0,2,UP 1/3,[2001:db8::3]:11434,\n"
    "ollama,ollama4,0,1,MAINT (resolution),,\n"
    "ollama,BACKEND,4,8,UP,,\n"
    "metadata,ollama1,0,5,UP,10.0.0.1:11434,\n"
    "metadata,BACKEND,0,5,UP,,\n"
)
COUNTS = {"10.0.0.1": 1, "10.0.0.2": 0, "2001:db8::3": 2}


class Pod:
    """One gateway pod: answers each connection by a function of its socket."""

    def __init__(self, answer: Callable[[socket.socket], None], host: str = "", port: int = 0):
        """Listen at once; without a host, on 127.0.0.1."""
        self._answer = answer
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host or "127.0.0.1", port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.requests.append(connection.recv(4096))
            self._answer(connection)

    def __enter__(self) -> Self:
        """Return itself, already listening."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)  # or the one who accepts keeps it open
        self._listener.close()


def answer(
    body: str, connection: socket.socket, status: str = "200 OK", header: str = "X-A: b"
) -> None:
    """Answer with a body whose length is told."""
    head = f"HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head + body).encode())


well = partial(answer, PAGE)


def dribble(connection: socket.socket, start: bytes = b"HTTP/1.1 200 OK\r\nX-A: ") -> None:
    """Send one byte now and then, so that no single read ever waits for long."""
    connection.sendall(start)
    for _ in range(100):
        connection.sendall(b"a")
        time.sleep(0.05)


def continue_for_ever(connection: socket.socket) -> None:
    """Tell again and again to go on."""
    for _ in range(100):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


def huge(connection: socket.socket) -> None:
    """Answer without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + PAGE.encode())
    for _ in range(2 * MAX_ANSWER_BYTES // 2**16):
        connection.sendall(b"x" * 2**16)


def sent(text: str) -> Callable[[socket.socket], None]:
    """Return what sends this and closes."""
    return lambda connection: connection.sendall(text.encode())


def ask(pod: Pod, backend: str = "ollama", host: str = "127.0.0.1"):
    """Ask one gateway pod, once."""
    gateways = HaproxyGateways(TIMEOUT, time.monotonic)
    return gateways.backend(f"http://{host}:{pod.port}/stats;csv", backend).in_flight()


@pytest.fixture
def resolves(monkeypatch):
    """Return a function that lets every name stand for these addresses."""
    real = socket.getaddrinfo

    def to(*addresses):
        def look_up(host, port, *rest, **options):
            hosts = [host] if host[-1].isdigit() else addresses
            return [found for each in hosts for found in real(each, port, *rest, **options)]

        monkeypatch.setattr("socket.getaddrinfo", look_up)

    return to


# --- what is read -------------------------------------------------------------------------------


def test_slots_with_an_address_are_counted():
    """By address and not by slot; a slot whose replica has left DNS belongs to no pod."""
    assert read_backends(PAGE)["ollama"] == COUNTS


def test_two_slots_of_one_replica_are_added_up():
    """A replica may stand in two slots for a moment."""
    page = HEAD + "b,s1,0,1,UP,10.0.0.1:1,\nb,s2,0,2,UP,10.0.0.1:1,\nb,BACKEND,0,3,UP,,\n"
    assert read_backends(page)["b"] == {"10.0.0.1": 3}


def test_the_page_of_the_url_is_asked_for():
    """With its parameters, under the name that was configured."""
    with Pod(well) as pod:
        assert ask(pod) == COUNTS
        (request,) = pod.requests
    assert request.startswith(b"GET /stats;csv HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{pod.port}\r\n".encode() in request


def test_a_gateway_may_listen_on_ipv6():
    """The address stands in brackets in the URL."""
    with Pod(well, host="::1") as pod:
        assert ask(pod, host="[::1]") == COUNTS


def test_no_proxy_of_the_environment_is_asked(monkeypatch):
    """The gateway is a neighbour."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Pod(well) as pod:
        assert ask(pod) == COUNTS


# --- what is not known --------------------------------------------------------------------------

WRONG = {
    "another page": partial(answer, "<html>"),
    "nothing in it": partial(answer, ""),
    "no column addr": partial(answer, PAGE.replace(",addr,", ",address,")),
    "no column scur": partial(answer, PAGE.replace("scur", "ocur")),
    "a count that is none": partial(answer, PAGE.replace("0,2,UP", "0,x,UP")),
    "an address that is none": partial(answer, PAGE.replace("10.0.0.2:", "10.0.0:")),
    "another backend": partial(answer, PAGE.replace("ollama,", "other,")),
    "cut before its end": partial(answer, PAGE.partition("ollama,BACKEND")[0]),
    "not text": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe"),
    "not HTTP": sent(PAGE),
    "closed": sent(""),
    "cut within a chunk": sent(
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{PAGE}"
    ),
    "an error": partial(answer, PAGE, status="503 Service Unavailable"),
    "a password wanted": partial(answer, PAGE, status="401 Unauthorized"),
    "elsewhere": partial(answer, PAGE, status="302 Found", header="Location: /stats;csv"),
    "endless": huge,
    "many headers": sent("HTTP/1.1 200 OK\r\n" + "A: b\r\n" * 1000 + f"\r\n{PAGE}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_the_whole_statistics_is_unknown(case):
    """Never zero, never an error, and nothing is asked twice."""
    with Pod(WRONG[case]) as pod:
        assert ask(pod) is None
        assert len(pod.requests) == 1


LATE = {
    "a head that dribbles": dribble,
    "a body that dribbles": partial(dribble, start=b"HTTP/1.1 200 OK\r\n\r\n# pxname"),
    "one more moment, always": continue_for_ever,
    "silence": lambda _: time.sleep(5),
}


@pytest.mark.parametrize("case", LATE)
def test_the_timeout_bounds_the_whole(case):
    """A server that never falls silent for long does not hold up the cycle, nor leaves a thread."""
    before = threading.active_count()
    with Pod(LATE[case]) as pod:
        began = time.monotonic()
        assert ask(pod) is None
        assert TIMEOUT.total_seconds() <= time.monotonic() - began < 0.5 + GRACE_S
        until(lambda: "haproxy" not in {thread.name for thread in threading.enumerate()})
    assert threading.active_count() <= before + 2


def test_nobody_listening_is_unknown_at_once():
    """A refused connection needs no waiting."""
    with Pod(well) as pod:
        pass
    began = time.monotonic()
    assert ask(pod) is None
    assert time.monotonic() - began < TIMEOUT.total_seconds()


def test_a_name_that_is_nobodys_is_unknown():
    """As in a cluster without our gateway."""
    source = HaproxyGateways(TIMEOUT, time.monotonic).backend("http://nobody.invalid:1/", "b")
    assert source.in_flight() is None


def test_a_lookup_that_hangs_is_given_up(monkeypatch):
    """It cannot be cut short, so only so many are begun until one has come to an end."""
    release = threading.Event()
    begun = []

    def hang(*_, **__):
        begun.append(1)
        release.wait(20)
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", hang)
    gateways = HaproxyGateways(timedelta(milliseconds=1), iter(range(1000)).__next__)
    source = gateways.backend("http://gateway:1/", "b")
    assert [source.in_flight() for _ in range(50)] == [None] * 50
    assert len(begun) == 8
    release.set()
    until(lambda: source.in_flight() is None and len(begun) > 8)


# --- several gateway pods -----------------------------------------------------------------------


def test_several_gateway_pods_are_added_up(resolves):
    """A replica's requests are those that each of them sends there."""
    other = HEAD + "ollama,ollama9,0,3,UP,10.0.0.1:1,\nollama,BACKEND,0,3,UP,,\n"
    with Pod(well) as one, Pod(partial(answer, other), host="127.0.0.2", port=one.port):
        resolves("127.0.0.1", "127.0.0.2", "127.0.0.2")
        assert ask(one, host="gateway") == {**COUNTS, "10.0.0.1": 4}
        assert ask(one, backend="metadata", host="gateway") is None


@pytest.mark.parametrize("case", ["dead", "late", "wrong"])
def test_one_pod_that_does_not_tell_makes_all_unknown(resolves, case):
    """What it sends to a replica may be what matters."""
    resolves("127.0.0.1", "127.0.0.2")
    with Pod(well) as one, ExitStack() as ending:
        if case != "dead":
            other = dribble if case == "late" else partial(answer, "<html>")
            ending.enter_context(Pod(other, host="127.0.0.2", port=one.port))
        assert ask(one, host="gateway") is None


@pytest.mark.parametrize("alive", [["127.0.0.1"], ["::1"], ["127.0.0.1", "::1"]])
def test_one_family_of_addresses_is_enough(resolves, alive):
    """A pod has an address in each and must not be counted twice."""
    resolves("::1", "127.0.0.1")
    with ExitStack() as ending:
        port = 0
        for host in alive:
            port = ending.enter_context(Pod(well, host=host, port=port)).port
        source = HaproxyGateways(TIMEOUT, time.monotonic).backend(f"http://g:{port}/", "ollama")
        assert source.in_flight() == COUNTS


def test_too_many_addresses_are_no_gateway(resolves):
    """A name that stands for a whole network is a mistake, and costs no thread for each."""
    resolves(*(f"127.0.1.{number}" for number in range(33)))
    with Pod(well) as pod:
        assert ask(pod, host="gateway") is None


# --- many targets -------------------------------------------------------------------------------


def test_targets_that_ask_at_the_same_moment_share_one_answer():
    """Whichever thread they run in, and whatever their backend is called."""
    with Pod(lambda connection: (time.sleep(0.1), well(connection))) as pod:
        gateways = HaproxyGateways(TIMEOUT, time.monotonic)
        answers = []

        def run(backend):
            url = f"http://127.0.0.1:{pod.port}/stats;csv"
            answers.append(gateways.backend(url, backend).in_flight())

        threads = [threading.Thread(target=run, args=("ollama",)) for _ in range(20)]
        threads += [threading.Thread(target=run, args=("tasks",))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pod.requests) == 1
    assert sorted(answers, key=len) == [{}, *[COUNTS] * 20]


def test_an_answer_is_used_for_a_quarter_of_a_second():
    """Then the next one asks anew, and sees what is true by then."""
    clock = iter([0.0, 0.2, 0.26, 0.4])
    with Pod(well) as pod:
        source = HaproxyGateways(TIMEOUT, clock.__next__).backend(
            f"http://127.0.0.1:{pod.port}/", "ollama"
        )
        asked = []
        for _ in range(4):
            assert source.in_flight() == COUNTS
            asked.append(len(pod.requests))
    assert asked == [1, 1, 2, 2]


def test_each_gateway_is_asked_for_itself():
    """Targets may be behind different ones."""
    other = PAGE.replace("10.0.0.", "10.0.9.")
    with Pod(well) as one, Pod(partial(answer, other)) as two:
        gateways = HaproxyGateways(TIMEOUT, time.monotonic)
        addresses = {
            next(iter(gateways.backend(f"http://127.0.0.1:{pod.port}/", "ollama").in_flight()))
            for pod in (one, two)
        }
    assert addresses == {"10.0.0.1", "10.0.9.1"}


# --- the real HAProxy ---------------------------------------------------------------------------


async def test_the_real_gateway_tells_of_its_streams(tmp_path):
    """Two streams on three replicas: two are busy, one is idle; a lost replica is unknown."""
    async with rig(tmp_path, replicas=3) as stack:
        gateways = HaproxyGateways(TIMEOUT, time.monotonic)
        source = gateways.backend(stack.gateway.statistics_url, "ollama")
        asked = [asyncio.create_task(stack.chat()) for _ in range(2)]
        await stack.slots(lambda slots: slots.running == 2)
        counts = await asyncio.to_thread(source.in_flight)
        assert set(counts) == set(stack.addresses)
        assert sorted(counts.values()) == [0, 1, 1]
        await asyncio.gather(*asked)
        gone = stack.addresses.pop()
        await stack.slots(lambda slots: slots.up == 2)
        await asyncio.sleep(0.3)
        left = await asyncio.to_thread(source.in_flight)
        assert left == dict.fromkeys(stack.addresses, 0)
        assert gone not in left


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    for _ in range(200):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")

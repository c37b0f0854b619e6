"""The hook that lets a replica finish its answers, run as a kubelet runs it."""

import re
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.stack.builds import ROOT
from tests.stack.pods import GATEWAY, GATEWAY6, POD, POD6, PORT, Pod, Request, running_pod

HOOK = ROOT / "deploy" / "ollama" / "drain.sh"
SOON_S = 3.0
"""How long after the last answer a replica may still be there."""

needs_ipv6 = pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists(), reason="this kernel has no IPv6"
)


@pytest.fixture
def pod():
    """Make a pod for one test."""
    with running_pod() as made:
        yield made


class Drain:
    """The hook, running; `DRAIN_SLEEP` is short and both times may be set."""

    def __init__(self, pod: Pod, sleep: str = "0.3", cap: str = "60"):
        self.pod = pod
        self.began = time.monotonic()
        self.process = pod.run("sh", HOOK, DRAIN_SLEEP=sleep, DRAIN_CAP=cap)

    def waits(self, seconds: float) -> bool:
        """Tell whether it is still waiting after so long."""
        time.sleep(seconds)
        return self.process.poll() is None

    def end(self, within_s: float) -> float:
        """Wait for its end, which must come in time; answers how long it ran in all."""
        output, _ = self.process.communicate(timeout=within_s)
        assert (self.process.returncode, output) == (0, "")
        return time.monotonic() - self.began

    def said(self) -> str:
        """Read what it wrote into the container's log."""
        return self.pod.process.stdout.readline()


def test_a_pod_without_requests_leaves_right_after_the_sleep(pod):
    """Nobody is connected: it waits for the sleep, because requests may come, and no longer."""
    pod.listen("0.0.0.0")
    drain = Drain(pod, sleep="1")
    assert drain.end(within_s=1 + SOON_S) >= 1.0
    assert drain.said().startswith("drain: all requests served, after ")


@pytest.mark.parametrize(
    ("listens", "source", "to"),
    [
        pytest.param("0.0.0.0", GATEWAY, POD, id="ipv4"),
        pytest.param("::", GATEWAY, POD, id="ipv4-on-both", marks=needs_ipv6),
        pytest.param("::", GATEWAY6, POD6, id="ipv6", marks=needs_ipv6),
    ],
)
def test_running_requests_are_waited_for_and_not_longer(pod, listens, source, to):
    """Two answers run: it waits for the last of them and ends soon after."""
    listener = pod.listen(listens)
    first, last = (pod.connect(listener, source, to) for _ in range(2))
    drain = Drain(pod)
    assert drain.waits(1.5)
    first.end()
    assert drain.waits(1.5)
    last.end()
    drain.end(within_s=SOON_S)
    assert drain.said().startswith("drain: all requests served")


def test_a_request_that_comes_during_the_sleep_is_waited_for(pod):
    """The gateway has not noticed yet that the pod leaves and sends one more request."""
    listener = pod.listen("0.0.0.0")
    drain = Drain(pod, sleep="1")
    assert drain.waits(0.5)
    late = pod.connect(listener, GATEWAY, POD)
    assert drain.waits(2.0)
    late.end()
    drain.end(within_s=SOON_S)


def test_a_moment_between_two_requests_is_not_the_end(pod):
    """One request follows another after 0.3 s, several times: each is waited for.

    Between its two looks are 0.5 s, so the verdict counts only where the moment was shorter.
    """
    listener = pod.listen("0.0.0.0")
    request = pod.connect(listener, GATEWAY, POD)
    drain = Drain(pod)
    for _ in range(5):
        assert drain.waits(0.6)
        left = time.monotonic()
        request.end()
        there = drain.waits(0.3)
        request = pod.connect(listener, GATEWAY, POD)
        if (moment := time.monotonic() - left) > 0.45:
            pytest.skip(f"this machine was held up: the next request came after {moment:.2f} s")
        assert there
    request.end()
    drain.end(within_s=SOON_S)


def test_a_request_that_does_not_end_is_given_up_at_the_cap(pod):
    """It runs for DRAIN_CAP seconds in all, says what is left, and does not fail."""
    kept = pod.connect(pod.listen("0.0.0.0"), GATEWAY, POD)
    drain = Drain(pod, sleep="1", cap="3")
    assert drain.end(within_s=3 + SOON_S) >= 2.0
    assert drain.said().startswith("drain: still 1 running after ")
    kept.end()


@pytest.mark.parametrize(
    ("listens", "source", "to"),
    [
        pytest.param("0.0.0.0", "127.0.0.1", "127.0.0.1", id="ipv4"),
        pytest.param("0.0.0.0", "127.8.0.9", "127.0.0.1", id="ipv4-other"),
        pytest.param("::", "127.0.0.1", "127.0.0.1", id="ipv4-on-both", marks=needs_ipv6),
        pytest.param("::", "::1", "::1", id="ipv6", marks=needs_ipv6),
    ],
)
def test_the_pods_own_connections_do_not_count(pod, listens, source, to):
    """A probe that runs in the container is no request."""
    pod.connect(pod.listen(listens), source, to)
    Drain(pod).end(within_s=SOON_S)


def test_connections_to_other_ports_do_not_count(pod):
    """Whoever is connected to another port has no answer running."""
    pod.listen("0.0.0.0")
    pod.connect(pod.listen("0.0.0.0", PORT + 1), GATEWAY, POD)
    Drain(pod).end(within_s=SOON_S)


@pytest.mark.parametrize(
    ("state", "end"),
    [
        pytest.param("06", Request.end, id="served"),
        pytest.param("08", lambda request: request.client.close(), id="client-left"),
    ],
)
def test_connections_that_have_ended_do_not_count(pod, state, end):
    """The kernel remembers a served request for a minute, and one whose client has left."""
    end(pod.connect(pod.listen("0.0.0.0"), GATEWAY, POD))
    ended, table = re.compile(f":{PORT:04X} 0200090A:.... {state} "), ""
    patience = time.monotonic() + SOON_S
    while not ended.search(table):  # a busy kernel takes a moment
        assert time.monotonic() < patience, table
        table, _ = pod.run("cat", "/proc/net/tcp").communicate()
    Drain(pod).end(within_s=SOON_S)


def test_health_checks_do_not_hold_it_up(pod):
    """Connections of a moment come all the time: it ends nonetheless."""
    listener = pod.listen("0.0.0.0")
    over = threading.Event()

    def check():
        while not over.wait(0.2):
            pod.connect(listener, GATEWAY, POD).end()

    checks = threading.Thread(target=check)
    checks.start()
    try:
        Drain(pod).end(within_s=0.3 + SOON_S)
    finally:
        over.set()
        checks.join()


def test_a_log_that_cannot_be_written_to_is_no_failure():
    """Without the container's log the hook says it where it can, and ends well."""
    log, other = socket.socketpair()  # a socket cannot be opened by its name in /proc
    with log, other, running_pod(log=log.fileno()) as pod:
        hook = pod.run("sh", HOOK, DRAIN_SLEEP="0")
        output, _ = hook.communicate(timeout=SOON_S)
        assert hook.returncode == 0
        assert output.startswith("drain: all requests served")

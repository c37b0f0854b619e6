"""The annotation with the last decision: against the emulated API, and one that misbehaves."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from kubernetes import client as k

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes import LastDecisions, ObjectRef, fenced, last_decision
from autoscaler.adapters.kubernetes.annotations import LAST_DECISION
from autoscaler.adapters.kubernetes.client import load_client
from tests.sandbox.kube_cluster import ClusterThread

NS = "llm"
ABOUT = ObjectRef(api_version="apps/v1", kind="Deployment", namespace=NS, name="ollama")
SOON = timedelta(seconds=10)


@pytest.fixture
def kube(tmp_path) -> Iterator[ClusterThread]:
    """Run a cluster with the Deployment."""
    thread = ClusterThread(tmp_path)
    thread.deploy()
    thread.cluster.api.audit.clear()
    yield thread
    thread.close()


@pytest.fixture
def client(kube) -> k.ApiClient:
    """Connect as the daemon does."""
    return load_client(str(kube.cluster.kubeconfig_path))


@pytest.fixture
def complaints() -> list[str]:
    """Keep what is complained of."""
    return []


@pytest.fixture
def last(client, complaints) -> Iterator[LastDecisions]:
    """Write to the emulated API."""
    last = LastDecisions(client, SystemClock(), complaints.append)
    yield last
    last.close(SOON)


def written(kube) -> list[str]:
    """Return what was written to the annotation, in order."""
    return [entry.body["metadata"]["annotations"][LAST_DECISION] for entry in kube.cluster.audit]


def until(holds) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_of_several_decisions_the_newest_is_written(kube, last):
    """The first at once, and then no more than one in ten seconds; what is left at the end."""
    last.tell(ABOUT, "first")
    until(lambda: written(kube) == ["first"])
    for number in range(50):
        last.tell(ABOUT, f"{number}")
    time.sleep(0.2)
    assert written(kube) == ["first"]
    last.close(SOON)
    assert written(kube) == ["first", "49"]


def test_a_sentence_waits_until_it_may_be_written(kube, last, monkeypatch):
    """Without anything new to wake it."""
    monkeypatch.setattr(last_decision, "_EVERY_SECONDS", 0.3)
    last.tell(ABOUT, "first")
    last.tell(ABOUT, "second")
    until(lambda: written(kube)[-1:] == ["second"])


def test_what_is_written_is_one_line_that_the_api_takes(kube, last):
    """As in an event."""
    last.tell(ABOUT, 'a\nb\r\n\x1b[31mc\x00"}{' + "é" * 2000)
    last.close(SOON)
    (told,) = written(kube)
    assert told.startswith('a b ?[31mc?"}{éé')
    assert len(told.encode()) <= 1024


def test_nobody_waits_for_an_api_that_hangs(kube, client, last, monkeypatch):
    """And nothing piles up meanwhile."""
    go, send = threading.Event(), client.rest_client.request

    def hanging(*args, **options):
        go.wait(20)
        return send(*args, **options)

    monkeypatch.setattr(client.rest_client, "request", hanging)
    began = time.monotonic()
    for number in range(5000):
        about = ObjectRef(api_version="apps/v1", kind="Deployment", namespace=NS, name=f"{number}")
        last.tell(about, "x")
    assert len(last._waiting) <= 2000
    assert time.monotonic() - began < 5
    last._waiting.clear()
    go.set()


def test_a_failure_is_complained_of_once(kube, last, complaints, monkeypatch):
    """Until one was written again."""
    monkeypatch.setattr(last_decision, "_EVERY_SECONDS", 0.01)
    kube.cluster.deny("patch", "deployments")
    for number in range(3):
        last.tell(ABOUT, f"{number}")
        until(lambda: not last._waiting)
    until(lambda: complaints)
    (complaint,) = complaints
    assert complaint.startswith("annotations of Deployments are not written: HTTP 403: ")
    kube.cluster.allow("patch", "deployments")
    last.tell(ABOUT, "again")
    until(lambda: written(kube)[-1] == "again" and not last._broken)


def test_a_complaint_that_fails_stops_nothing(kube, client):
    """A full log is no reason to be silent."""

    def fails(text):
        raise OSError(text)

    last = LastDecisions(client, SystemClock(), fails)
    kube.cluster.deny("patch", "deployments")
    last.tell(ABOUT, "1")
    until(lambda: last._broken)
    kube.cluster.allow("patch", "deployments")
    last.tell(ABOUT, "2")
    last.close(SOON)
    assert written(kube)[-1] == "2"


def test_who_does_not_lead_writes_nothing_and_says_nothing(kube, client, complaints):
    """Not even where the leadership goes between the question and the request."""
    answers = [True, False, False]
    leads = lambda: answers.pop(0) if answers else False  # noqa: E731
    last = LastDecisions(fenced(client, leads), SystemClock(), complaints.append, leads)
    last.tell(ABOUT, "asked first, lost then")
    last.close(SOON)
    assert answers == []
    last = LastDecisions(fenced(client, leads), SystemClock(), complaints.append, leads)
    last.tell(ABOUT, "never led")
    last.close(SOON)
    assert (written(kube), complaints) == ([], [])


def test_closing_without_any_decision_is_quick(last):
    """There is not even a thread."""
    last.close(SOON)
    assert last._thread is None

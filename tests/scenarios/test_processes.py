"""Failures that need a real process and real connections: the daemon between two small servers.

What starts, stops, is killed at each step of a cycle or cannot log is in tests/test_daemon.py.
"""

import signal
import time
from threading import Event

import pytest

from autoscaler.decision.decide import decide
from autoscaler.records import read_files
from tests.stubs import AFTER, CONFIGURATION, DaemonProcess, World

PATCH = "PATCH"
IN_BAND, MUCH, LITTLE = 1.6, 4.0, 0.1


class FaultyWorld(World):
    """A world whose servers can fail in more ways."""

    def __init__(self, folder):
        super().__init__(folder)
        self.hung = Event()
        """While it is not set, Prometheus answers nobody."""
        self.hung.set()
        self.refused = None
        """The status with which writes are refused."""
        self.answers = None
        """What the API says of everything, in place of the truth: status and body."""

    def stop(self):
        """Close both servers."""
        self.hung.set()
        super().stop()

    def _prometheus(self, method, path, body):
        self.hung.wait(30)
        return super()._prometheus(method, path, body)

    def _kubernetes(self, method, path, body):
        return self.answers or super()._kubernetes(method, path, body)

    def _scale(self, patch):
        if self.refused:
            return self.refused, refusal(self.refused, "scale is not allowed")
        return super()._scale(patch)


def refusal(code, message):
    """Return what an API server says with such a status."""
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


@pytest.fixture
def world(tmp_path):
    """A Deployment of two replicas under a load that asks for just that."""
    world = FaultyWorld(tmp_path)
    yield world
    world.stop()


@pytest.fixture
def start(world):
    """Return a function that starts a daemon; none outlives its test."""
    started = []

    def start(more="", **environ):
        daemon = DaemonProcess(world, configuration=CONFIGURATION + more, **environ)
        started.append(daemon)
        return daemon

    yield start
    for daemon in started:
        daemon.close()


def reasons(daemon):
    """Return all reasons so far."""
    return {event.get("reason") for event in daemon.events("cycle")}


def wait_reason(daemon, reason):
    """Return the first cycle from now on that has this reason."""
    seen = len(daemon.events("cycle"))
    return daemon.wait_event("cycle", lambda event: event.get("reason") == reason, after=seen)


def test_a_prometheus_that_hangs_costs_its_timeout_and_no_replica(world, start):
    """Every cycle ends in time and holds, the pages answer, and the first answer is acted upon."""
    world.load = MUCH
    world.hung.clear()
    daemon = start(AUTOSCALER_PROMETHEUS__TIMEOUT="300ms")
    daemon.wait_cycles(3)
    cycles = daemon.events("cycle")
    assert {(event["reason"], event["outcome"]) for event in cycles} == {("MetricFailed", "held")}
    assert all(event["duration"] < 3 for event in cycles)
    assert daemon.get("/healthz") == "ok"
    assert world.writes == []
    world.hung.set()
    daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert world.writes == [(2, 5)]
    assert daemon.stop() == 0


@pytest.mark.parametrize("lost", ["torn down", "hung"])
def test_a_write_whose_answer_is_lost_is_ours_and_is_not_made_twice(world, start, lost):
    """The API has carried it out: no conflict with ourselves, no second write."""
    world.load = MUCH
    world.gate.close(PATCH, AFTER)
    daemon = start(AUTOSCALER_KUBERNETES__TIMEOUT="1s")
    world.gate.wait_reached()
    if lost == "torn down":
        world.gate.tear_down()
    failed = daemon.wait_event("cycle", lambda event: event["outcome"] == "failed")
    assert (failed["from"], failed["to"]) == (2, 5)
    daemon.wait_event("cycle", lambda event: event.get("from") == 5)
    daemon.wait_cycles(3)
    assert world.writes == [(2, 5)]
    assert "Conflict" not in reasons(daemon)
    world.gate.open()
    assert daemon.stop() == 0


def test_somebody_elses_number_stands_for_conflict_hold(world, start):
    """A person scales while the load asks for something else; later it counts again."""
    daemon = start("    conflict_hold: 1s\n")
    daemon.wait_cycles(2)
    world.replicas, world.load = 4, MUCH
    first = wait_reason(daemon, "Conflict")
    assert (first["from"], first["to"], first["outcome"]) == (4, 4, "held")
    began = time.monotonic()
    daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert time.monotonic() - began > 0.5
    assert world.writes == [(4, 5)]
    assert daemon.stop() == 0


def test_a_right_that_was_taken_away_stops_nothing_but_the_writes(world, start):
    """Each cycle says what was refused; once it is granted again, the write is made."""
    world.load, world.refused = MUCH, 403
    daemon = start()
    failed = daemon.wait_event("cycle", lambda event: event["outcome"] == "failed")
    assert "scale is not allowed" in failed["error"]
    daemon.wait_cycles(3)
    assert daemon.get("/healthz") == "ok"
    assert world.writes == []
    world.refused = None
    daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert world.writes == [(2, 5)]
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    "answer",
    [
        (404, refusal(404, 'deployments.apps "ollama" not found')),
        (401, refusal(401, "Unauthorized")),
        (429, refusal(429, "too many requests")),
        (200, {"kind": "Deployment", "metadata": {}}),
        (200, ["no object at all"]),
    ],
    ids=["deleted", "token expired", "overloaded", "half an answer", "nonsense"],
)
def test_an_api_that_answers_strangely_is_outlived(world, start, answer):
    """Nothing is written meanwhile, and what is true again is acted upon."""
    daemon = start()
    daemon.wait_cycles(2)
    world.answers, world.load = answer, MUCH
    daemon.wait_event("cycle", lambda event: event["outcome"] == "failed")
    daemon.wait_cycles(3)
    assert daemon.get("/healthz") == "ok"
    assert world.writes == []
    world.answers = None
    daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert world.writes == [(2, 5)]
    assert daemon.stop() == 0


def test_replicas_switched_off_by_hand_stay_off_until_they_are_switched_on(world, start):
    """Zero is nobody's fault and no conflict; from one on, the minimum holds again."""
    world.load = MUCH
    world.replicas = 0
    daemon = start()
    daemon.wait_cycles(3)
    assert reasons(daemon) == {"ScalingDisabled"}
    assert world.writes == []
    world.replicas = 1
    daemon.wait_event("cycle", lambda event: event.get("from") == 5)
    assert world.writes == [(1, 2), (2, 5)]
    assert daemon.stop() == 0


def test_a_frozen_process_goes_on_as_if_it_had_slept(world, start):
    """No cycle is made up for, no load of a moment shrinks anything, and the process lives on."""
    world.replicas, world.load = 4, 3.2
    daemon = start("    scale_down: {stabilization_window: 5m}\n")
    daemon.wait_cycles(3)
    daemon.process.send_signal(signal.SIGSTOP)
    world.load = LITTLE
    time.sleep(2)
    before = len(daemon.events("cycle"))
    daemon.process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    assert len(daemon.events("cycle")) - before <= 8
    daemon.wait_cycles(3)
    assert world.writes == []
    assert daemon.events("cycle")[-1]["reason"] == "Stabilized"
    assert daemon.get("/healthz") == "ok"
    assert daemon.stop() == 0


def test_the_records_of_a_bad_night_decide_again(world, start, tmp_path):
    """Outages, a conflict and a write that fails: each line is whole, and gives the same answer."""
    path = tmp_path / "records.jsonl"
    daemon = start("    conflict_hold: 500ms\n", AUTOSCALER_RECORDS__PATH=str(path))
    daemon.wait_cycles(2)
    world.prometheus_status = 500
    wait_reason(daemon, "MetricFailed")
    world.prometheus_status, world.load, world.refused = 200, MUCH, 500
    daemon.wait_event("cycle", lambda event: event["outcome"] == "failed")
    world.replicas = 4
    wait_reason(daemon, "Conflict")
    world.refused = None
    daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
    assert daemon.stop() == 0
    records = [entry.record for entry in read_files(path) if entry.record]
    assert {"held", "failed", "scaled"} <= {record.outcome.value for record in records}
    assert {"MetricFailed", "Conflict"} <= {record.decision.reason.value for record in records}
    for record in records:
        verdict = decide(record.policy, record.state, record.observation)
        assert (verdict.decision, verdict.steps) == (record.decision, record.steps)

"""What comes from outside cannot write our lines, paths or patches; what is secret stays inside.

The daemon runs as a process against servers that say whatever they like.
"""

import json
import re
import subprocess
import sys
from contextlib import ExitStack, closing
from datetime import datetime

import pytest
import yaml

from tests.stubs import DaemonProcess, World, environment

EVIL = (
    'x\n2026-11-23T10:00:00Z [info] llm/ollama: 2 -> 0\r\x1b[2J\x1b]0;t\x07\u2028\u202e"}{\x00../..'
)
SECRETS = {
    "token": "prometheus-token-1f2e3d4c5b6a",
    "header": "header-key-1f2e3d4c5b6a",
    "cluster": "cluster-token-1f2e3d4c5b6a",
}
CONFIGURATION = """
interval: 100ms
gateway: {stats_url: ""}
http: {host: 127.0.0.1, port: 0}
log: {format: FORM}
leadership: {enabled: false}
targets:
  - namespace: llm
    deployment: ollama
    metrics:
      - {name: queue_depth, query: vector(1), type: total, target: 0.8}
      - {name: cpu, query: vector(1), type: pod, target: 0.7}
"""


class HostileWorld(World):
    """Says what a test wants it to, and echoes requests where it is asked to."""

    def __init__(self, folder):
        self.labels = {}
        self.sayings = {}
        """By the last part of a path: status and body of the answer."""
        self.bodies = []
        super().__init__(folder)

    def _prometheus(self, method, path, body):
        if said := self.sayings.get("prometheus"):
            return said
        status, answer = super()._prometheus(method, path, body)
        for sample in answer["data"]["result"]:
            sample["metric"] = self.labels
        return status, answer

    def _kubernetes(self, method, path, body):
        last = path.rpartition("/")[2]
        self.bodies.append((method, path, body.decode()))
        if said := self.sayings.get(last):
            status, answer = said
            return (status, answer) if status else (200, answer(super()._kubernetes))
        return super()._kubernetes(method, path, body)

    def say(self, last, status, body):
        """Answer whatever ends in this so from now on."""
        self.sayings = {last: (status, body)}

    def change(self, last, edit):
        """Answer what ends in this as usual, but for an edit."""

        def edited(usual):
            _, answer = usual("GET", f"/{last}", b"")
            edit(answer)
            return answer

        self.sayings = {last: (0, edited)}


@pytest.fixture
def world(tmp_path):
    """Run the servers."""
    world = HostileWorld(tmp_path)
    yield world
    world.stop()


def annotate(deployment):
    """Put what comes from outside wherever a Deployment has room for it."""
    fields = {"f:spec": {"f:replicas": {}}}
    entry = {"manager": EVIL, "time": "2026-11-23T10:00:00Z", "fieldsV1": fields}
    deployment["metadata"] |= {
        "annotations": {"ollama-autoscaler/paused": EVIL, EVIL: EVIL},
        "labels": {EVIL: EVIL},
        "managedFields": [entry],
        "uid": EVIL,
    }


def rename(pods):
    """Give a pod a name that none can have."""
    pods["items"][0]["metadata"]["name"] = EVIL


def remark(pods):
    """Mark a pod with a cost that is none."""
    notes = {"ollama-autoscaler/victim": EVIL, EVIL: EVIL}
    pods["items"][0]["metadata"]["annotations"] = notes
    pods["items"][0]["status"]["podIP"] = EVIL


def failure(code):
    """Write a refusal with hostile words."""
    return code, {"kind": "Status", "message": EVIL, "reason": EVIL}


def hostile(world):
    """Yield after each thing that is said; what comes next is told of by two more cycles."""
    world.labels = {"pod": EVIL, EVIL: EVIL}
    yield "labels"
    world.labels = {"pod": "ollama-5d4f8c7b9d-abcd0", "x": EVIL}
    yield "a pod that is there"
    error = {"status": "error", "errorType": EVIL, "error": EVIL}
    world.say("prometheus", 400, error)
    yield "an error of Prometheus"
    world.say("prometheus", 200, {"status": EVIL})
    yield "a status of Prometheus"
    world.change("ollama", annotate)
    yield "annotations of the Deployment"
    world.change("pods", rename)
    yield "a name of a pod"
    world.change("pods", remark)
    yield "annotations of a pod"
    for last in ("ollama", "pods", "scale", "events"):
        world.say(last, *failure(403))
        world.load = 9.0
        yield f"a refusal of {last}"
    world.say("scale", 200, {"spec": {"replicas": EVIL}})
    yield "a wrong answer to the write"


def wait_cycles(daemon, world, count=3):
    """Wait until so many more cycles have begun."""
    del daemon
    world.wait_requests("deployments/ollama", count)


def run(world, form):
    """Run the daemon through all of it; return its lines and its pages."""
    pages = []
    with ExitStack() as ending:
        configuration = CONFIGURATION.replace("FORM", form)
        daemon = ending.enter_context(
            closing(
                DaemonProcess(world, configuration=configuration, AUTOSCALER_LOG__LEVEL="debug")
            )
        )
        wait_cycles(daemon, world)
        for _ in hostile(world):
            wait_cycles(daemon, world)
        assert daemon.stop() == 0
        assert daemon.errors == []
        return daemon.lines, pages


def test_nothing_from_outside_makes_a_line_of_text(world):
    """Each line begins with its time and level and has nothing that a terminal would obey."""
    lines, _ = run(world, "text")
    assert len(lines) > 20
    for line in lines:
        line = line.removesuffix("\n")
        assert re.match(r"20\d\d-\d\d-\d\dT[\d:.]+Z \[(info|warning|error|debug) *\] \S", line), (
            line
        )
        assert line.isprintable(), line


def test_nothing_from_outside_makes_a_line_of_json(world):
    """Each line is one object, whose decision is what was decided."""
    lines, _ = run(world, "json")
    for line in lines:
        told = json.loads(line)
        assert line.removesuffix("\n").isprintable()
        assert set(told) >= {"time", "level", "event"}
        assert datetime.fromisoformat(told["time"]).tzinfo
        if "to" in told:
            assert told["to"] >= 2

"""What comes from outside cannot write our lines, paths or patches; what is secret stays inside.

The daemon runs as a process against servers that say whatever they like.
"""

import json
import re
from contextlib import closing
from datetime import datetime

import pytest
import yaml

from autoscaler import cli
from tests.stubs import DaemonProcess, World, environment

EVIL = (
    'x\n2026-11-23T10:00:00Z [info] llm/ollama: 2 -> 0\r\x1b[2J\x1b]0;t\x07\u2028\u202e"}{\x00../..'
)
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
        self.sent = []
        """The headers of all requests."""
        super().__init__(folder)

    def _prometheus(self, method, path, body):
        self.sent.append(self.heard.headers)
        if said := self.sayings.get("prometheus"):
            return said
        status, answer = super()._prometheus(method, path, body)
        for sample in answer["data"]["result"]:
            sample["metric"] = self.labels
        return status, answer

    def _kubernetes(self, method, path, body):
        self.sent.append(self.heard.headers)
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


def run(world, form):
    """Run the daemon through all of it; return its lines and the text of its pages."""
    configuration = CONFIGURATION.replace("FORM", form)
    with closing(
        DaemonProcess(world, configuration=configuration, AUTOSCALER_LOG__LEVEL="debug")
    ) as daemon:
        world.wait_requests("deployments/ollama", 3)
        pages = []
        for _ in hostile(world):
            world.wait_requests("deployments/ollama", 3)
            pages += [daemon.get(path) for path in PAGES] if form == "json" else []
        assert daemon.stop() == 0
        assert daemon.errors == []
        return daemon.lines, pages


PAGES = ("/metrics", "/status", "/records", "/healthz", "/readyz")
LINE = re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+Z \[(info|warning|error|debug) *\] \S.*\n")


def test_nothing_from_outside_makes_a_line_of_text(world):
    """Each line begins with its time and level and has nothing that a terminal would obey."""
    lines, _ = run(world, "text")
    assert len(lines) > 20
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert [line for line in lines if not line.removesuffix("\n").isprintable()] == []


def test_nothing_from_outside_gets_any_further(world):
    """Not into JSON lines, pages, events, paths or patches: what was decided is what is told."""
    lines, pages = run(world, "json")
    for line in lines:
        told = json.loads(line)
        assert line.removesuffix("\n").isprintable()
        assert datetime.fromisoformat(told["time"]).tzinfo
        assert told.get("to", 2) >= 2
    for page in pages:
        assert page.replace("\n", "").isprintable()
        assert not any(line.startswith("2026-11-23T") for line in page.splitlines())
    assert [request for request in world.requests if not REQUEST.fullmatch(request)] == []
    writes = [(path, body) for method, path, body in world.bodies if method != "GET"]
    assert {path for path, _ in writes} == WRITTEN
    for path, body in writes:
        strings = list(texts_of(json.loads(body)))
        assert all(text.isprintable() for text in strings)
        if path.endswith("/scale"):
            assert [step["op"] for step in json.loads(body)] == ["test", "replace"]


NAMESPACED = "/api/v1/namespaces/llm/"
WRITTEN = {
    f"{NAMESPACED}events",
    f"{NAMESPACED}pods/ollama-5d4f8c7b9d-abcd0",
    "/apis/apps/v1/namespaces/llm/deployments/ollama",
    "/apis/apps/v1/namespaces/llm/deployments/ollama/scale",
}
REQUEST = re.compile(r"(GET|POST|PATCH) /[\w./?&=%+-]*")


def texts_of(value):
    """Yield every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *texts_of(item))
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)


@pytest.fixture
def check(world, monkeypatch, capsys):
    """Return a function that runs `autoscaler check` and returns all that it says."""
    config = world.folder / "autoscaler.yaml"
    config.write_text(CONFIGURATION.replace("FORM", "json"))

    def check(**environ):
        with monkeypatch.context() as patched:
            for name, value in environment(world, **environ).items():
                patched.setenv(name, value)
            assert cli.run(["check", "--config", str(config)]) == 1
        return "".join(capsys.readouterr())

    return check


def test_nothing_from_outside_makes_a_line_of_check(world, check):
    """The table has lines of its own, and nothing else has any."""
    for _ in hostile(world):
        said = check()
        assert said.replace("\n", "").isprintable()
        assert {line.split()[0] for line in said.splitlines()} <= {"ok", "warning", "error"}


# --- what is secret -----------------------------------------------------------------------------

TOKEN, HEADER, CLUSTER = (f"{what}-1f2e3d4c5b6a7988" for what in ("token", "header", "cluster"))


class Repeated(dict):
    """A body in which the words are those of the request that it answers."""

    def __init__(self, world, **fields):
        super().__init__(fields)
        self.world = world

    def items(self):
        """Fill them in, at the time of the answer."""
        headers = self.world.heard.headers
        return [(key, headers if value is ... else value) for key, value in super().items()]


def echoes(world):
    """Yield while some requests are refused in words that repeat all of the request's headers."""
    yield "nothing"
    world.load = 9.0
    for code in (400, 401, 500):
        body = Repeated(world, status="error", errorType="bad_data", error=...)
        world.say("prometheus", code, body)
        yield f"Prometheus {code}"
        for last in ("ollama", "pods", "scale", "events"):
            world.say(last, code, Repeated(world, kind="Status", message=...))
            yield f"{last} {code}"


@pytest.fixture
def secrets(world):
    """Give the daemon all the secrets that it can have; return the environment that names them."""
    token = world.folder / "token"
    token.write_text(TOKEN)
    kubeconfig = yaml.safe_load(world.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": CLUSTER}
    world.kubeconfig.write_text(yaml.safe_dump(kubeconfig))
    return {
        "AUTOSCALER_PROMETHEUS__BEARER_TOKEN_FILE": str(token),
        "AUTOSCALER_PROMETHEUS__HEADERS": json.dumps({"X-Key": HEADER}),
        "AUTOSCALER_RECORDS__PATH": str(world.folder / "records.jsonl"),
        "AUTOSCALER_LOG__LEVEL": "debug",
    }


def test_what_is_secret_stays_inside(world, secrets):
    """In no line, page, record or event, whatever fails and whatever the servers repeat."""
    told = []
    configuration = CONFIGURATION.replace("FORM", "json")
    with closing(DaemonProcess(world, configuration=configuration, **secrets)) as daemon:
        for _ in echoes(world):
            world.wait_requests("deployments/ollama", 3)
            told += [daemon.get(path) for path in PAGES]
        assert daemon.stop() == 0
    told += [*daemon.lines, *daemon.errors, *(body for _, _, body in world.bodies)]
    told.append((world.folder / "records.jsonl").read_text())
    for secret in (TOKEN, HEADER, CLUSTER):
        assert any(secret in headers for headers in world.sent)
    assert any("***" in text for text in told)
    for secret in (TOKEN, HEADER, CLUSTER):
        assert [text for text in told if secret in text] == []


def test_what_is_secret_is_in_no_table_of_check(world, secrets, check):
    """Nor where it fails."""
    for _ in echoes(world):
        said = check(**secrets)
        assert not any(secret in said for secret in (TOKEN, HEADER, CLUSTER))

"""A Prometheus and a Kubernetes API, small enough to stop at any request; and the daemon's process.

Each request passes a gate, once before it is carried out and once before it is answered. A test can
have one of them closed, wait until somebody stands there, and do what it likes in the meantime.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Lock, Thread, local
from urllib.request import urlopen

import yaml

BEFORE, AFTER = "before it is carried out", "before it is answered"
PATIENCE = 30.0


class Gate:
    """One place that can be closed."""

    def __init__(self):
        self._changed = Condition()
        self._closed = None
        self._reached = False
        self._torn_down = set()

    def close(self, request, moment, *, nth=1):
        """Stop the nth request with these words in it, from now on, at this moment."""
        with self._changed:
            self._closed, self._left, self._reached = (request, moment), nth, False

    def wait_reached(self):
        """Return once somebody stands at the gate."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._reached, PATIENCE), "nobody came"

    def open(self):
        """Let everybody through."""
        with self._changed:
            self._closed = None
            self._changed.notify_all()

    def tear_down(self):
        """Turn away whoever stands at the gate: what they came for is never carried out."""
        with self._changed:
            self._torn_down.add(id(self._closed))
            self._closed = None
            self._changed.notify_all()

    def passes(self, request, moment):
        """Wait where the gate is closed; tell whether to go on."""
        with self._changed:
            closed = self._closed
            if closed is None or closed[1] != moment or closed[0] not in request:
                return True
            self._left -= 1
            if self._left:
                return True
            self._reached = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed is not closed, 2 * PATIENCE)
            return id(closed) not in self._torn_down


class World:
    """One Deployment, one metric, and the two servers that tell of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.gate = Gate()
        self.replicas = 2
        self.load = 1.6
        self.prometheus_status = 200
        self.kubernetes_status = 200
        self.writes = []
        """Replicas before and after each write that was carried out."""
        self.requests = []
        self.heard = local()
        """`headers`: those of the request that this thread answers."""
        self._lock = Lock()
        self._servers = [_serve(self, self._prometheus), _serve(self, self._kubernetes)]
        self.prometheus_url, self.kubernetes_url = (
            f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers
        )
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(self.kubernetes_url)))

    def stop(self):
        """Close both servers."""
        self.gate.open()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def count(self, words):
        """Return how many requests with these words have come."""
        return sum(words in request for request in self.requests)

    def wait_requests(self, words, more=1):
        """Return once so many more requests with these words have come."""
        goal = self.count(words) + more
        until = time.monotonic() + PATIENCE
        while self.count(words) < goal:
            assert time.monotonic() < until, f"no {words}"
            time.sleep(0.01)

    def _prometheus(self, method, path, body):
        sample = {"metric": {}, "value": [time.time(), str(self.load)]}
        answer = {"status": "success", "data": {"resultType": "vector", "result": [sample]}}
        return self.prometheus_status, answer

    def _kubernetes(self, method, path, body):
        if self.kubernetes_status != 200:
            return self.kubernetes_status, _status(self.kubernetes_status)
        answers = {
            "selfsubjectaccessreviews": self._allow,
            "events": lambda body: (201, json.loads(body)),
            "horizontalpodautoscalers": lambda _: (200, {"items": []}),
            "pods": lambda _: (200, {"items": [_pod(n) for n in range(self.replicas)]}),
            "scale": lambda body: self._scale(json.loads(body)),
            "ollama": lambda _: (200, _deployment(self.replicas)),
        }
        answer = answers.get(path.rpartition("/")[2])
        return answer(body) if answer else (404, _status(404))

    def _allow(self, body):
        return 201, json.loads(body) | {"status": {"allowed": True}}

    def _scale(self, patch):
        wanted = {step["op"]: step["value"] for step in patch}
        desired = wanted.get("replace", wanted.get("add"))
        with self._lock:
            if (wanted["test"] or 0) != self.replicas:
                return 422, _status(422, "the server rejected our request: test failed")
            self.writes.append((self.replicas, desired))
            self.replicas = desired
        spec = {"replicas": desired}
        return 200, {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {}, "spec": spec}


def _serve(world, answer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = f"{self.command} {self.path}"
            world.requests.append(request)
            world.heard.headers = str(self.headers)
            if not world.gate.passes(request, BEFORE):
                self.close_connection = True
                return
            status, content = answer(self.command, self.path.partition("?")[0], body)
            if not world.gate.passes(request, AFTER):
                self.close_connection = True
                return
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = _handle  # noqa: N815

        def log_message(self, *args):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request, client_address):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def _status(code, message="as told"):
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


def _deployment(replicas):
    labels = {"app": "ollama"}
    container = {
        "name": "ollama",
        "resources": {"limits": {"cpu": "2"}},
        "lifecycle": {"preStop": {"exec": {"command": ["drain"]}}},
        "readinessProbe": {"httpGet": {"path": "/api/version", "port": 11434}},
    }
    pod = {"containers": [container], "terminationGracePeriodSeconds": 330}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ollama", "namespace": "llm", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
        "status": {"replicas": replicas, "readyReplicas": replicas},
    }


def _pod(number):
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "ollama-5d4f8c7b9d",
        "uid": "1",
        "controller": True,
    }
    return {
        "metadata": {
            "name": f"ollama-5d4f8c7b9d-abcd{number}",
            "namespace": "llm",
            "labels": {"app": "ollama", "pod-template-hash": "5d4f8c7b9d"},
            "ownerReferences": [owner],
            "creationTimestamp": "2026-11-23T09:00:00Z",
        },
        "spec": {"containers": [{"name": "ollama"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _kubeconfig(url):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stub",
        "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
        "clusters": [{"name": "stub", "cluster": {"server": url}}],
        "users": [{"name": "stub", "user": {}}],
    }


CONFIGURATION = """
interval: 100ms
gateway: {stats_url: ""}
http: {host: 127.0.0.1, port: 0}
log: {format: json}
leadership: {enabled: false}
targets:
  - namespace: llm
    deployment: ollama
    metrics:
      - {name: queue_depth, query: vector(1), type: total, target: 0.8}
"""


def environment(world, **more):
    """Return the daemon's whole environment: nothing of ours leaks in."""
    return {
        "PATH": os.environ["PATH"],
        "AUTOSCALER_PROMETHEUS__URL": world.prometheus_url,
        "AUTOSCALER_KUBERNETES__KUBECONFIG": str(world.kubeconfig),
        **more,
    }


class DaemonProcess:
    """`python -m autoscaler run` as an operator starts it."""

    def __init__(
        self, world, *arguments, configuration=CONFIGURATION, config=None, without=(), **environ
    ):
        if config is None:
            config = world.folder / "autoscaler.yaml"
            config.write_text(configuration)
        command = [sys.executable, "-m", "autoscaler", "run", "--config", str(config), *arguments]
        given = environment(world, **environ)
        self.process = subprocess.Popen(
            command,
            env={key: value for key, value in given.items() if key not in without},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self.errors = []
        self._came = Condition()
        self._readers = [
            Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True),
            Thread(target=self._read, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self._came:
                lines.append(line)
                self._came.notify_all()
        with self._came:
            self._came.notify_all()

    def events(self, name=None):
        """Return the log lines so far, all or those of one event."""
        events = [json.loads(line) for line in list(self.lines)]
        return [event for event in events if name in (None, event["event"])]

    def wait_event(self, name, fits=lambda event: True, after=0):
        """Return the first line of this event, after so many of them, that fits."""

        def found():
            return next((e for e in self.events(name)[after:] if fits(e)), None)

        with self._came:
            self._came.wait_for(lambda: found() or not self._alive(), PATIENCE)
        assert found(), f"no {name} in {self.lines} {self.errors}"
        return found()

    def wait_cycles(self, count):
        """Return once so many more cycles have ended."""
        already = len(self.events("cycle"))
        self.wait_event("cycle", after=already + count - 1)

    def get(self, path):
        """Fetch a page of the daemon's port; return its text."""
        address = self.wait_event("started")["http"]
        with urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
            return answer.read().decode()

    def stop(self, *signals):
        """Send the signals, one after the other, and return the exit code."""
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
            time.sleep(0.05)
        return self.end()

    def kill(self):
        """Kill it as the kernel does when memory runs out."""
        self.process.kill()
        return self.end()

    def end(self):
        """Wait for its end and return the exit code."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def _alive(self):
        return self.process.poll() is None

    def close(self):
        """Leave nothing behind."""
        if self._alive():
            self.process.kill()
        self.end()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()

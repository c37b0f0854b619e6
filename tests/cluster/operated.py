"""The daemon alone, set up as its operator would, and Deployments for it to scale.

The overlay autoscaler-only is copied and changed at its numbered places. Each Deployment has one
metric, a constant that the stack's Prometheus is asked for, so that what moves, moves by what the
operator does.
"""

import json
import shutil
import threading
import time
from datetime import datetime
from pathlib import Path

from tests.cluster.stack import ROOT, eventually

DAEMON = "operator-daemon"
TARGETS = "operator-targets"
SEAT = "operator.test/seat"
"""Something that a node has a number of, as of GPUs."""
CONFLICT_HOLD = 15
PENDING_LIMIT = 15
LEADERSHIP = 15
IMAGE = "ollama-autoscaler:dev"
"""The one image that is on every cluster that these tests run on."""
PODS = "app.kubernetes.io/name=autoscaler"


def target(name, query, **changed) -> dict:
    """Write a target of the policy: one replica for each of the query's value, at once."""
    return {
        "namespace": TARGETS,
        "deployment": name,
        "min_replicas": 1,
        "max_replicas": 5,
        "metrics": [{"name": "wanted", "query": query, "type": "total", "target": 1}],
        "scale_down": {"stabilization_window": "0s", "cooldown": "0s", "policies": []},
        "conflict_hold": f"{CONFLICT_HOLD}s",
        "pending_limit": f"{PENDING_LIMIT}s",
    } | changed


POLICY = {
    "interval": "1s",
    "leadership": {"duration": f"{LEADERSHIP}s"},
    # The first is where an event tells of a configuration that is refused.
    "targets": [
        target("reloaded", "vector(2)", max_replicas=1),
        target("by-hand", "vector(2)"),
        target("beside-an-hpa", "vector(2)"),
        target("applied", "vector(2)", conflict_hold="8s"),
        target("applied-by-server", "vector(2)", conflict_hold="8s"),
        target("without-room", "vector(3)"),
        target("without-image", "vector(3)"),
        target("rolled-out", "vector(3)"),
        target("without-memory", "vector(2)"),
        target("paused", "vector(2)", conflict_hold="3s"),
        target("remembered", "vector(2)", conflict_hold="30s"),
        # Every five seconds there is something to write.
        target("pulse", "vector(1 + (time() % 10 >= bool 5))"),
    ],
}


def deployment(
    name, *, replicas=None, image=IMAGE, command=("sleep", "infinity"), **changed
) -> dict:
    """Write a Deployment of pods that do nothing."""
    container = {
        "name": "idle",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
    } | changed.pop("container", {})
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": TARGETS},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                },
            },
        }
        | changed,
    }


# --- the overlay, as it is adapted


def adapted(folder: Path, policy: dict) -> Path:
    """Copy the overlay and change its numbered places; returns the folder to apply."""
    for name in ("deploy", "config"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    overlay = folder / "deploy" / "overlays" / "autoscaler-only"
    _change(
        overlay / "daemon" / "kustomization.yaml",
        {
            "namespace: ollama-autoscaler": f"namespace: {DAEMON}",  # 1
            "newName: registry.example.com/ollama-autoscaler": "newName: ollama-autoscaler",  # 2
            "# configMapGenerator:": "configMapGenerator:",  # 3
            "#   - name: autoscaler-config": "  - name: autoscaler-config",
            "#     behavior: replace": "    behavior: replace",
            "#     files:": "    files:",
            "#       - autoscaler.yaml": "      - autoscaler.yaml",
            ", --dry-run]": "]",  # 4
            "http://prometheus-operated.monitoring:9090": "http://prometheus.llm:9090",  # 5
            # Two, as in overlays/cluster.
            "patches:\n": "replicas:\n  - {name: autoscaler, count: 2}\npatches:\n",
        },
    )
    (overlay / "daemon" / "autoscaler.yaml").write_text(json.dumps(policy, indent=2))
    _change(overlay / "daemon" / "namespace.yaml", {"name: ollama-autoscaler": f"name: {DAEMON}"})
    _change(
        overlay / "daemon" / "networkpolicy.yaml",
        {"metadata.name: monitoring": "metadata.name: llm"},  # 7
        times=2,
    )
    rights = overlay / "rights" / "kustomization.yaml"
    _change(
        rights,
        {
            "namespace: llm": f"namespace: {TARGETS}",
            "value: ollama-autoscaler": f"value: {DAEMON}",
            "  # - target: {kind: Role": "  - target: {kind: Role",
            "  #   patch: |": "    patch: |",
        },
    )
    names = ", ".join(one["deployment"] for one in policy["targets"])
    _change(rights, {"  #     - {op": "      - {op", "[your-deployment]": f"[{names}]"}, times=3)
    return overlay


def _change(file: Path, changes: dict[str, str], times=1) -> None:
    text = file.read_text()
    for shipped, ours in changes.items():
        assert text.count(shipped) == times, (
            f"{shipped!r} stands {text.count(shipped)} times in {file}"
        )
        text = text.replace(shipped, ours)
    file.write_text(text)


# Where policies are enforced, the stack's Prometheus lets its own autoscaler in and no other.
LET_IN = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "operator-to-prometheus", "namespace": "llm"},
    "spec": {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
        "ingress": [
            {
                "from": [
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": DAEMON}}}
                ]
            }
        ],
    },
}


# --- what it does


class Operated:
    """The daemon and its targets, touched by kubectl, and what the daemon's log tells of them."""

    def __init__(self, cluster, folder: Path) -> None:
        """Set nothing up yet."""
        self.cluster = cluster
        self.folder = folder
        self.policy = json.loads(json.dumps(POLICY))
        self.began = time.time()
        self.policy_is_good = threading.Lock()
        """Held while the daemons' file is one that is refused."""
        self.woken = ("", 0.0)
        """The daemon that was halted and goes on, and when."""
        self._told = threading.Condition()
        self._lines: list[dict] = []
        self._followed: dict[str, threading.Thread] = {}
        self._over = threading.Event()
        self._following = []

    # --- set up, remove

    def start(self, *deployments, by_server=()) -> None:
        """Apply the Deployments, some of them server-side, and the daemon, all at once."""
        self.remove()
        self.kubectl("create", "namespace", TARGETS)
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(LET_IN))
        things = {"apiVersion": "v1", "kind": "List", "items": list(deployments)}
        self.apply(things)
        for thing in by_server:
            self.apply(thing, "--server-side")
        self.cluster.kubectl("apply", "-k", adapted(self.folder, self.policy))
        self.wait_daemons()

    def wait_daemons(self, count=2) -> list[dict]:
        """Wait until so many daemons are ready; returns their pods."""

        def ready():
            pods = self.daemons()
            conditions = [
                one["status"]
                for pod in pods
                for one in pod["status"].get("conditions", [])
                if one["type"] == "Ready"
            ]
            return pods if conditions == ["True"] * count else None

        pods = eventually(f"{count} daemons are ready", ready, timeout_s=120)
        for pod in pods:
            self._follow(pod["metadata"]["name"])
        return pods

    def daemons(self) -> list[dict]:
        """Return the daemon's pods, those that end not among them."""
        pods = self.cluster.get("-n", DAEMON, "pods", "-l", PODS)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def remove(self, *, wait=True) -> None:
        """Remove everything of it, and wait for the end of that."""
        gone = ["--ignore-not-found", f"--wait={str(wait).lower()}", "--timeout=90s"]
        self.cluster.kubectl("delete", "namespace", DAEMON, TARGETS, *gone, timeout=100)
        self.cluster.kubectl(
            "-n", "llm", "delete", "networkpolicy", LET_IN["metadata"]["name"], *gone
        )

    def close(self) -> None:
        """Read the log no longer."""
        self._over.set()
        for process in self._following:
            process.kill()
        for thread in self._followed.values():
            thread.join(10)

    # --- touching

    def kubectl(self, *args, **options) -> str:
        """Run kubectl in the namespace of the targets."""
        return self.cluster.kubectl("-n", TARGETS, *args, **options)

    def get(self, *args) -> dict:
        """Return an object of the targets' namespace."""
        return self.cluster.get("-n", TARGETS, *args)

    def replicas(self, name) -> int:
        """Return how many replicas are wanted."""
        return self.get("deployment", name)["spec"]["replicas"]

    def apply(self, thing, *options, check=True) -> str:
        """Apply a manifest."""
        return self.kubectl("apply", "-f", "-", *options, stdin=json.dumps(thing), check=check)

    def events(self, name) -> dict[str, str]:
        """Return what the events at a Deployment say, by their reason; the last of each."""
        about = f"involvedObject.kind=Deployment,involvedObject.name={name}"
        listed = self.get("events", f"--field-selector={about}")["items"]
        ours = [one for one in listed if one.get("reportingComponent") == "ollama-autoscaler"]
        return {one["reason"]: one["message"] for one in ours}

    def event(self, name, reason) -> str:
        """Wait for an event at a Deployment, and return what it says."""
        return eventually(
            f"an event {reason} at {name}", lambda: self.events(name)[reason], timeout_s=20
        )

    def check(self) -> tuple[int, str]:
        """Run `autoscaler check` beside a daemon; returns its exit code and what it prints."""
        script = "autoscaler check 2>&1; echo exit $?"
        with self.policy_is_good:
            text = self.cluster.kubectl(
                "-n", DAEMON, "exec", "deploy/autoscaler", "--", "sh", "-c", script
            )
        said, _, code = text.rpartition("exit ")
        return int(code), said

    # --- what the log tells

    def lines(self, name=None, since=0.0, **fields) -> list[dict]:
        """Return the lines of the log about a target, later than a time, that have these fields."""
        with self._told:
            lines = list(self._lines)
        return [
            line
            for line in lines
            if line["at"] > since
            and (name is None or line.get("target") == f"{TARGETS}/{name}")
            and all(line.get(key) == value for key, value in fields.items())
        ]

    def line(self, name, since=0.0, *, timeout_s=60, **fields) -> dict:
        """Wait for a line of the log, and return it."""
        end = time.time() + timeout_s
        while True:
            if found := self.lines(name, since, **fields):
                return found[0]
            with self._told:
                if not self._told.wait(max(0, end - time.time())) and time.time() >= end:
                    break
        last = [line.get("sentence", line) for line in self.lines(name)[-4:]]
        raise AssertionError(f"the log has no {fields} of {name} within {timeout_s} s; {last}")

    def settled(self, name, replicas, since=0.0, timeout_s=90) -> dict:
        """Wait until the daemon is content with so many replicas, all ready; returns the line."""
        fields = {"from": replicas, "to": replicas, "ready": replicas}
        return self.line(name, since, timeout_s=timeout_s, **fields)

    def moves(self, name, since=0.0) -> list[tuple[int, int]]:
        """Return the daemon's own writes to a target."""
        return [(line["from"], line["to"]) for line in self.lines(name, since, outcome="scaled")]

    def _follow(self, pod) -> None:
        if pod not in self._followed:
            self._followed[pod] = threading.Thread(target=self._read, args=(pod,), daemon=True)
            self._followed[pod].start()

    def _read(self, pod) -> None:
        """Read a pod's log, also after its container has been started anew."""
        seen: set[str] = set()
        since = "1970-01-01T00:00:00Z"
        while not self._over.is_set():
            args = ["-n", DAEMON, "logs", "-f", pod, f"--since-time={since}"]
            with self.cluster.follow(*args) as process:
                self._following.append(process)
                for text in process.stdout:
                    if text in seen or not text.startswith("{"):
                        continue
                    seen.add(text)
                    since = json.loads(text)["time"][:19] + "Z"
                    self._keep(pod, json.loads(text))
            time.sleep(0.5)
            if not self._is_there(pod):
                return

    def _keep(self, pod, line) -> None:
        # What a cycle tells at its end was so at its start.
        at = seconds_of(line["time"]) - line.get("duration", 0)
        with self._told:
            self._lines.append(line | {"pod": pod, "at": at})
            self._told.notify_all()

    def _is_there(self, pod) -> bool:
        args = ["get", "pod", pod, "-o", "name", "--ignore-not-found"]
        return bool(self.cluster.kubectl("-n", DAEMON, *args, check=False))


def seconds_of(text: str) -> float:
    """Return the seconds since 1970 of a time that is written out."""
    return datetime.fromisoformat(text).timestamp()

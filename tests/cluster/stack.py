"""The stack on a cluster, seen and touched as its owner would: by kubectl."""

import json
import shutil
import time
import urllib.parse
from datetime import datetime
from pathlib import Path

import yaml

from tests.cluster.kube.machine import MachineError
from tests.cluster.traffic import NAMESPACE

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "tests" / "cluster" / "overlay"
SHIPPED = ROOT / "deploy" / "overlays" / "minikube"
CONFIG = ROOT / "config" / "autoscaler.yaml"
SCRAPES = ROOT / "deploy" / "prometheus" / "prometheus.yml"
VOLUMES = {
    "ollama-models": "20Gi",
    "open-webui-data": "20Gi",
    "prometheus-data": "20Gi",
    "grafana-data": "20Gi",
}
OLLAMA = "app.kubernetes.io/name=ollama"

# Minutes become seconds, so that a test can wait for them; what is decided stays as it is.
QUICK = {
    "interval: 5s": "interval: 1s",
    "      stabilization_window: 5m": "      stabilization_window: 2s",
    "      cooldown: 1m": "      cooldown: 1s",
    "      policies:\n        - {type: percent, value: 50, period: 1m}": "      policies: []",
    "    hold_limit: 15m": "    hold_limit: 5m",
    "    pending_limit: 5m": "    pending_limit: 20s",
    "    conflict_hold: 10m": "    conflict_hold: 20s",
    "    stuck_after: 5m": "    stuck_after: 30s",
    "    restart_stuck: false": "    restart_stuck: true",
}
# A new replica's CPU use is known once it has been seen twice.
QUICK_SCRAPES = {
    "  scrape_interval: 15s": "  scrape_interval: 5s",
    "  scrape_timeout: 10s": "  scrape_timeout: 5s",
}


def quick(file: Path, times: dict[str, str]) -> str:
    """Return a shipped file with shorter times."""
    text = file.read_text()
    for shipped, ours in times.items():
        assert text.count(shipped) == 1, f"{shipped!r} stands {text.count(shipped)} times in {file}"
        text = text.replace(shipped, ours)
    return text


def quick_overlay(folder: Path, base: Path = OVERLAY) -> Path:
    """Write an overlay on another one: short times, and the right to replace a stuck replica."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "autoscaler.yaml").write_text(quick(CONFIG, QUICK))
    (folder / "prometheus.yml").write_text(quick(SCRAPES, QUICK_SCRAPES))
    up = Path(*[".."] * (len(folder.resolve().parts) - 1))
    (folder / "kustomization.yaml").write_text(
        json.dumps(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "namespace": NAMESPACE,
                "resources": [str(up / base.relative_to("/"))],
                "components": [
                    str(up / (ROOT / "deploy/components/restart-stuck").relative_to("/"))
                ],
                "configMapGenerator": [
                    {
                        "name": "autoscaler-config",
                        "behavior": "replace",
                        "files": ["autoscaler.yaml"],
                    },
                    {
                        "name": "prometheus-config",
                        "behavior": "merge",
                        "files": ["prometheus.yml"],
                    },
                ],
            }
        )
    )
    return folder


def make_volumes(machine, models: Path) -> None:
    """Make what a provisioner would: folders of the node, the models already in theirs.

    The models' folder is what storage for many nodes is elsewhere: a second node has it, too.
    """
    for name, size in VOLUMES.items():
        folder = machine.state / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        if name == "ollama-models":
            shutil.copytree(models, folder, dirs_exist_ok=True)
        folder.chmod(0o777)
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": NAMESPACE, "name": name},
                "local": {"path": str(folder)},
                "nodeAffinity": {
                    "required": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {
                                        "key": "kubernetes.io/hostname",
                                        "operator": "In",
                                        "values": ["node1"] + ["node2"] * (name == "ollama-models"),
                                    }
                                ]
                            }
                        ]
                    }
                },
            },
        }
        machine.kubectl("apply", "-f", "-", stdin=json.dumps(volume))


class Stack:
    """What `kubectl apply -k` has brought up in the namespace."""

    def __init__(self, cluster) -> None:
        """Look at the stack on a cluster."""
        self.cluster = cluster

    def kubectl(self, *args, **options) -> str:
        """Run kubectl in the stack's namespace."""
        return self.cluster.kubectl("-n", NAMESPACE, *args, **options)

    def get(self, *args) -> dict:
        """Return an object, or a list of them."""
        return self.cluster.get("-n", NAMESPACE, *args)

    def apply(self, folder: Path) -> None:
        """Apply an overlay as its user does."""
        self.cluster.kubectl("apply", "-k", folder, timeout=120)

    def wait_ready(self, timeout_s=300) -> float:
        """Wait until all Deployments are as they should be; returns the seconds it took."""
        began = time.time()
        names = [d["metadata"]["name"] for d in self.get("deployments")["items"]]
        for name in names:
            left = max(1, int(timeout_s - (time.time() - began)))
            self.kubectl(
                "rollout", "status", f"deployment/{name}", f"--timeout={left}s", timeout=left + 5
            )
        return time.time() - began

    def pods(self, selector=OLLAMA) -> list[dict]:
        """Return the pods of a selector, those that are being deleted among them."""
        text = urllib.parse.urlencode({"labelSelector": selector})
        return json.loads(self.cluster.raw(f"/api/v1/namespaces/{NAMESPACE}/pods?{text}"))["items"]

    def replicas(self) -> tuple[int, int]:
        """Return how many replicas are wanted and how many are ready."""
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/ollama"
        deployment = json.loads(self.cluster.raw(path))
        return deployment["spec"]["replicas"], deployment["status"].get("readyReplicas", 0)

    def wait_replicas(self, wanted, *, ready=True, timeout_s=120) -> float:
        """Wait until so many are wanted, ready, and there; returns the seconds it took."""
        began = time.time()
        while time.time() - began < timeout_s:
            seen = self.replicas()
            there = len(self.pods()) if ready else wanted
            if seen[0] == wanted and (not ready or seen[1] == wanted) and there == wanted:
                return time.time() - began
            time.sleep(0.3)
        raise AssertionError(
            f"replicas (wanted, ready) are {self.replicas()}, not {wanted}: {self.log()[-3:]}"
        )

    def service(self, service, path) -> str:
        """Ask a Service over HTTP, through the API server."""
        return self.cluster.raw(f"/api/v1/namespaces/{NAMESPACE}/services/{service}/proxy{path}")

    def query(self, expression) -> list[dict]:
        """Ask the stack's Prometheus."""
        text = urllib.parse.urlencode({"query": expression})
        answer = json.loads(self.service("prometheus:http", f"/api/v1/query?{text}"))
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def status(self) -> dict:
        """Return what the daemon tells of itself."""
        return json.loads(self.service("autoscaler-metrics:http", "/status"))

    def log(self, *, since=None) -> list[dict]:
        """Return the daemon's log, of its earlier pods no more than Kubernetes keeps."""
        args = [f"--since-time={since}"] if since else ["--tail=2000"]
        text = self.kubectl("logs", "deployment/autoscaler", *args)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def config(self) -> dict:
        """Return the configuration that the daemon was given."""
        pod = self.get("deployment", "autoscaler")["spec"]["template"]["spec"]
        name = next(v["configMap"]["name"] for v in pod["volumes"] if v["name"] == "config")
        return yaml.safe_load(self.get("configmap", name)["data"]["autoscaler.yaml"])

    def events(self) -> list[dict]:
        """Return the events about the Deployment."""
        return self.get(
            "events", "--field-selector=involvedObject.kind=Deployment,involvedObject.name=ollama"
        )["items"]


def stamp(line) -> float:
    """Return the time of a line of the daemon's log, in seconds since 1970."""
    return datetime.fromisoformat(line["time"]).timestamp()


def eventually(what, check, *, timeout_s=60.0, every_s=0.5):
    """Return the first true answer of a check; what it is about is told when the time is up."""
    end, problem = time.time() + timeout_s, None
    while time.time() < end:
        try:
            if answer := check():
                return answer
            problem = None
        except (MachineError, KeyError, IndexError, ValueError, AssertionError) as error:
            problem = error
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s") from problem

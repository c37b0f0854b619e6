"""The streams through the gateway, and what became of them."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "llm"
SCRIPT = Path(__file__).with_name("streams.py")
MODELS = Path(__file__).parents[2] / "deploy" / "ollama" / "models.txt"
MODEL = next(
    line.strip() for line in MODELS.read_text().splitlines() if line.strip() and line[0] not in "#-"
)
WORDS_OF_AN_ANSWER = 120  # some four seconds on the replicas of the test overlay

# Where a cluster enforces NetworkPolicies, the pods that ask are let through to the gateway.
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "streams"},
    "spec": {
        "podSelector": {"matchExpressions": [{"key": "streams", "operator": "Exists"}]},
        "policyTypes": ["Egress"],
        "egress": [{}],
    },
}
LET_IN = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "streams-to-gateway"},
    "spec": {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}},
        "ingress": [
            {
                "from": [
                    {
                        "podSelector": {
                            "matchExpressions": [{"key": "streams", "operator": "Exists"}]
                        }
                    }
                ]
            }
        ],
    },
}


@dataclass(frozen=True)
class Told:
    """What one request came to."""

    at: float
    first: float | None
    end: float
    status: int
    words: int
    whole: bool
    error: str

    @property
    def cut(self) -> bool:
        """Begun and not ended."""
        return self.status == 200 and not self.whole

    @property
    def refused(self) -> bool:
        """Not begun at all: a status of 5xx, or no answer."""
        return self.status != 200


def pod_spec(command, *, policy, resources) -> dict:
    """Return the spec of a pod of the autoscaler's image, which has Python, under the rules."""
    return {
        "restartPolicy": policy,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "python",
                "image": "ollama-autoscaler:dev",
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "resources": resources,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _asking(clients, words, requests) -> list[str]:
    arguments = ["http://gateway:8080", MODEL, clients, words, *([requests] if requests else [])]
    return ["python3", "-u", "/streams/streams.py", *map(str, arguments)]


class Traffic:
    """Pods that ask the gateway."""

    def __init__(self, cluster) -> None:
        """Put the script and the policies into the namespace of the stack."""
        self._cluster = cluster
        self._number = 0
        script = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "streams"},
            "data": {"streams.py": SCRIPT.read_text()},
        }
        for thing in (script, POLICY, LET_IN):
            cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=json.dumps(thing))

    def start(self, clients, *, words=WORDS_OF_AN_ANSWER, requests=None, name=None) -> str:
        """Let so many people ask, for ever or so often each; returns the pod's name at once."""
        self._number += 1
        name = name or f"streams-{self._number}-{int(time.time())}"
        command = _asking(clients, words, requests)
        self.run(name, command, policy="OnFailure" if requests is None else "Never")
        return name

    def run(self, name, command, *, policy="Never", resources=None) -> None:
        """Start a pod of the autoscaler's image, which has Python, under the namespace's rules."""
        small = {"requests": {"cpu": "10m", "memory": "32Mi"}}
        spec = pod_spec(command, policy=policy, resources=resources or small)
        spec["volumes"] = [{"name": "script", "configMap": {"name": "streams"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "script", "mountPath": "/streams"}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"streams": "yes"}},
            "spec": spec,
        }
        self._cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=json.dumps(pod))

    def burst(self, pod, clients, words) -> list[Told]:
        """Let so many people ask once each, in a pod that is there; returns what they tell."""
        command = _asking(clients, words, 1)
        text = self._cluster.kubectl("-n", NAMESPACE, "exec", pod, "--", *command, timeout=180)
        return [Told(**json.loads(line)) for line in text.splitlines()]

    def told(self, pod, *, since=0.0) -> list[Told]:
        """Return what a pod has told so far, of requests that ended after a time."""
        return [one for one in (Told(**line) for line in self.lines(pod)) if one.end >= since]

    def lines(self, pod) -> list[dict]:
        """Return the lines of JSON that a pod has printed."""
        text = self._cluster.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def wait(self, pod, timeout_s=180) -> list[Told]:
        """Wait for a pod to have asked as often as it was to, and return what it tells."""
        end = time.time() + timeout_s
        while time.time() < end:
            answer = self._cluster.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")
            phase = json.loads(answer)["status"]["phase"]
            if phase in ("Succeeded", "Failed"):
                return self.told(pod)
            time.sleep(0.5)
        raise AssertionError(
            f"{pod} has not ended after {timeout_s} s: {len(self.told(pod))} answers"
        )

    def stop(self, pod) -> None:
        """Send them home in the midst of what they ask."""
        self._cluster.kubectl("-n", NAMESPACE, "delete", "pod", pod, "--now", "--ignore-not-found")

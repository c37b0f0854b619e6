"""What a case asks of an API and of the little world around it, whichever API it is."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import urllib3

from autoscaler.adapters.kubernetes import KubernetesTarget, load_client

NAME = "ollama"
JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_SECONDS = 20.0
_GROUPS = {
    "deployments": "apis/apps/v1",
    "replicasets": "apis/apps/v1",
    "pods": "api/v1",
    "events": "api/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "horizontalpodautoscalers": "apis/autoscaling/v2",
    "scaledobjects": "apis/keda.sh/v1alpha1",
}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    code: int
    kind: str
    """The media type."""
    body: Any
    """The decoded JSON; the text where it is none."""

    @property
    def reason(self) -> str:
        """The one word of a refusal."""
        return self.body["reason"]

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Which fields a refusal is about, and what is wrong with each."""
        listed = (self.body.get("details") or {}).get("causes") or []
        return [(cause["field"], cause["reason"]) for cause in listed]


class World(ABC):
    """One namespace with the Deployment `ollama`, the daemon's rights, and somebody to run pods."""

    namespace: str
    kubeconfig: Path
    """The daemon's."""
    server: str
    headers: Mapping[str, str] = {}
    """Those of somebody who may do everything."""
    pool: urllib3.PoolManager

    # --- what each API has its own way for --------------------------------------------------

    @abstractmethod
    def deploy(self, replicas: int = 2, *, ready: bool = True, places: int | None = None) -> None:
        """Make the Deployment, as `kubectl apply` does, and wait until it is as asked for.

        `ready`: its pods become so; `places`: for so many of them there is room.
        """

    @abstractmethod
    def hold(self) -> None:
        """Let pods that are being deleted stay as they are, until the end."""

    @abstractmethod
    def set_ready(self, pod: str, *, ready: bool) -> None:
        """Let the probe of a pod say so from now on, and wait until it shows."""

    @abstractmethod
    def take_right(self, verb: str, resource: str, group: str = "") -> None:
        """Take one right from the daemon; `resource` may be `deployments/scale`."""

    @abstractmethod
    def give_right(self, verb: str, resource: str, group: str = "") -> None:
        """Give the daemon one more."""

    @abstractmethod
    def writes(self) -> list[tuple[str, str, int]]:
        """List what the daemon wrote: verb, `deployments/scale` or the like, code."""

    @abstractmethod
    def make_pod(self, pod: Any) -> None:
        """Make a pod that is of no Deployment."""

    @abstractmethod
    def scaled_objects(self) -> AbstractContextManager[None]:
        """Serve KEDA's kind of object for a while."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    # --- the same for both ------------------------------------------------------------------

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str | None = None,
        agent: str = "contract",
    ) -> Answer:
        """Send one request past every client library, as somebody who may do everything.

        A path that begins with a resource is one of the namespace. A body of bytes goes as it is.
        """
        if not path.startswith("/"):
            group = _GROUPS[path.replace("?", "/").split("/")[0]]
            path = f"/{group}/namespaces/{self.namespace}/{path}"
        kind = kind or (STRATEGIC if method == "PATCH" else "application/json")
        answer = self.pool.request(
            method,
            self.server + path,
            body=body if isinstance(body, bytes | None) else json.dumps(body),
            headers={"User-Agent": f"{agent}/1", "Content-Type": kind, **self.headers},
            retries=False,
            timeout=15,
        )
        text = answer.data.decode()
        media = answer.headers.get("Content-Type", "").split(";")[0]
        return Answer(answer.status, media, json.loads(text) if media.endswith("json") else text)

    def get(self, path: str) -> Any:
        """Read one object, or a list's items."""
        answer = self.raw("GET", path)
        assert answer.code == 200, answer
        return answer.body.get("items", answer.body)

    def patch(self, path: str, body: Any, kind: str = MERGE, agent: str = "contract") -> Any:
        """Patch something that can be patched so."""
        answer = self.raw("PATCH", path, body, kind, agent)
        assert answer.code in (200, 201), answer
        return answer.body

    def deployment(self) -> Any:
        """Read the Deployment."""
        return self.get(f"deployments/{NAME}")

    def replicas(self) -> int:
        """Read the replicas asked for."""
        return self.deployment()["spec"]["replicas"]

    def pods(self) -> dict[str, Any]:
        """Return the pods by name, the oldest first, also those that are being deleted."""
        found = self.get(f"pods?labelSelector=app%3D{NAME}")
        found.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        return {pod["metadata"]["name"]: pod for pod in found}

    def staying(self) -> set[str]:
        """Name the pods that nobody deletes."""
        return {
            name for name, pod in self.pods().items() if "deletionTimestamp" not in pod["metadata"]
        }

    def annotate(self, path: str, annotations: Mapping[str, str | None]) -> Answer:
        """Set annotations as somebody with kubectl does."""
        body = {"metadata": {"annotations": annotations}}
        return self.raw("PATCH", f"{path}?fieldManager=kubectl-annotate", body, MERGE)

    def until(self, holds: Callable[[], Any], what: str = "") -> Any:
        """Wait until something holds, and return it."""
        end = time.monotonic() + _SECONDS
        while not (found := holds()):
            assert time.monotonic() < end, what or "it never came"
            time.sleep(0.02)
        return found

    def client(self, timeout: timedelta = timedelta(seconds=10)) -> dict[str, Any]:
        """Return what an adapter of the daemon is made with."""
        client = load_client(str(self.kubeconfig))
        return {"namespace": self.namespace, "client": client, "timeout": timeout}

    def target(self, name: str = NAME) -> KubernetesTarget:
        """Return the daemon's view of the Deployment; it has not read yet."""
        return KubernetesTarget(name=name, **self.client())


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod's condition says so."""
    held = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return held.get("Ready") == "True"

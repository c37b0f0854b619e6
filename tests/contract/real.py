"""A real control plane, a namespace of it for each case, and a kubelet that only says so."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any

import urllib3
import yaml

from autoscaler.sandbox.kube.template import deployment
from tests.cluster.kube.control import ControlPlane
from tests.contract.world import MERGE, NAME, STRATEGIC, World, is_ready
from tests.sandbox.kube_cluster import QUICK

_DEPLOY = Path(__file__).parents[2] / "deploy/autoscaler"
_ROLES = ("rights/role.yaml", "role.yaml")
_ACCOUNT = "autoscaler"
_NODE = "node"
_RBAC = "apis/rbac.authorization.k8s.io/v1"
_DEFINITIONS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SCALED_OBJECTS = {
    "metadata": {"name": "scaledobjects.keda.sh"},
    "spec": {
        "group": "keda.sh",
        "scope": "Namespaced",
        "names": {"plural": "scaledobjects", "kind": "ScaledObject"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


class Admin:
    """Somebody who may do everything."""

    def __init__(self, control: ControlPlane) -> None:
        """Connect to a control plane that is up."""
        self.server = control.url
        self.headers = {"Authorization": f"Bearer {control.token}"}
        self.pool = urllib3.PoolManager(ca_cert_data=control.ca, maxsize=4)

    def ask(self, method: str, path: str, body: Any = None, kind: str = STRATEGIC) -> Any:
        """Ask for something that is granted; return the decoded answer."""
        media = kind if method == "PATCH" else "application/json"
        answer = self.pool.request(
            method,
            f"{self.server}/{path}",
            body=None if body is None else json.dumps(body),
            headers={**self.headers, "Content-Type": media},
            retries=False,
            timeout=15,
        )
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise LookupError(f"{method} {path}: {answer.status} {answer.data.decode()[:300]}")
        return answer.json()


class Kubelet:
    """Binds pods to a node, and says of them what a kubelet would; nothing runs."""

    def __init__(self, admin: Admin) -> None:
        """Begin at once, with every pod that there is and that comes."""
        self._admin = admin
        self._pods: dict[tuple[str, str], Any] = {}
        self._holding: set[str] = set()
        self._places: dict[str, int] = {}
        self._unready: set[str] = set()
        """Namespaces and names of pods that do not become ready."""
        self._addresses = count(10)
        self._lock = threading.RLock()
        admin.ask("POST", "api/v1/nodes", {"metadata": {"name": _NODE}})
        self._thread = threading.Thread(target=self._work, name="kubelet", daemon=True)
        self._thread.start()

    def expect(self, namespace: str, *, ready: bool, places: int | None) -> None:
        """Say what is to become of the pods of a namespace."""
        with self._lock:
            if not ready:
                self._unready.add(namespace)
            if places is not None:
                self._places[namespace] = places

    def hold(self, namespace: str) -> None:
        """Let pods that are being deleted stay."""
        with self._lock:
            self._holding.add(namespace)

    def set_ready(self, namespace: str, name: str, *, ready: bool) -> None:
        """Change what one pod's probe says."""
        with self._lock:
            self._unready.discard(namespace)
            (self._unready.discard if ready else self._unready.add)(name)
            self._act(self._pods[namespace, name])

    def forget(self, namespace: str) -> None:
        """Do nothing more for a namespace."""
        with self._lock:
            self._holding.add(namespace)
            self._places[namespace] = 0

    def join(self) -> None:
        """Wait for its end, which comes with that of the API."""
        self._thread.join(5)

    def _work(self) -> None:
        listed = self._admin.ask("GET", "api/v1/pods")
        version = listed["metadata"]["resourceVersion"]
        watch = self._admin.pool.request(
            "GET",
            f"{self._admin.server}/api/v1/pods?watch=1&resourceVersion={version}",
            headers=self._admin.headers,
            preload_content=False,
            timeout=urllib3.Timeout(connect=15, read=None),
        )
        with suppress(urllib3.exceptions.HTTPError, OSError):  # the API is gone
            for event in _lines(watch):
                self._see(event)

    def _see(self, event: Any) -> None:
        pod = event["object"]
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        with self._lock:
            if event["type"] == "DELETED":
                self._pods.pop(key, None)
                return
            self._pods[key] = pod
            with suppress(LookupError):  # it is gone, or has changed and is told of once more
                self._act(pod)

    def _act(self, pod: Any) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        path = f"api/v1/namespaces/{namespace}/pods/{name}"
        if "deletionTimestamp" in pod["metadata"]:
            if namespace not in self._holding:
                self._admin.ask("DELETE", f"{path}?gracePeriodSeconds=0")
        elif "nodeName" not in pod["spec"]:
            self._place(path, namespace, name)
        else:
            self._tell(path, pod)

    def _place(self, path: str, namespace: str, name: str) -> None:
        used = sum(key[0] == namespace and "nodeName" in p["spec"] for key, p in self._pods.items())
        if used < self._places.get(namespace, 1000):
            target = {"kind": "Node", "name": _NODE}
            body = {"metadata": {"name": name}, "target": target}
            self._admin.ask("POST", f"{path}/binding", body)
            self._pods[namespace, name]["spec"]["nodeName"] = _NODE
            return
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        held = self._pods[namespace, name]["status"].get("conditions", ())
        if condition["status"] not in [c["status"] for c in held if c["type"] == "PodScheduled"]:
            self._patch(path, {"conditions": [condition]})

    def _tell(self, path: str, pod: Any) -> None:
        names = pod["metadata"]["namespace"], pod["metadata"]["name"]
        ready = self._unready.isdisjoint(names)
        status = pod["status"]
        if status.get("phase") == "Running" and is_ready(pod) is ready:
            return
        address = status.get("podIP") or f"127.9.0.{next(self._addresses) % 250}"
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        container = pod["spec"]["containers"][0]
        running = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            "state": {"running": {"startedAt": at}},
        }
        conditions = [
            {"type": kind, "status": str(ready), "lastTransitionTime": at}
            for kind in ("ContainersReady", "Ready")
        ]
        told = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        self._patch(path, {**told, "conditions": conditions, "containerStatuses": [running]})

    def _patch(self, path: str, status: Any) -> None:
        self._admin.ask("PATCH", f"{path}/status", {"status": status})


class Real(World):
    """A namespace of a real API, with the daemon's account and the Roles as they are shipped."""

    def __init__(self, control: ControlPlane, kubelet: Kubelet, directory: Path) -> None:
        """Make it; call `deploy`."""
        self.namespace = f"case-{secrets.token_hex(4)}"
        self._control = control
        self._kubelet = kubelet
        self._admin = Admin(control)
        self.server, self.pool = self._admin.server, self._admin.pool
        self.headers = self._admin.headers
        self._roles: list[Any] = []
        self._make()
        token = self._ask("POST", f"serviceaccounts/{_ACCOUNT}/token", {"spec": {}})
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(control.kubeconfig(token["status"]["token"])))

    def _make(self) -> None:
        self._admin.ask("POST", "api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self._ask("POST", "serviceaccounts", {"metadata": {"name": _ACCOUNT}})
        for file in _ROLES:
            role = yaml.safe_load((_DEPLOY / file).read_text())
            self._roles.append(self._ask("POST", "roles", role, _RBAC))
            name = role["metadata"]["name"]
            binding = {
                "metadata": {"name": name},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": name,
                },
                "subjects": [
                    {"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": self.namespace}
                ],
            }
            self._ask("POST", "rolebindings", binding, _RBAC)

    def _ask(self, method: str, path: str, body: Any = None, group: str = "api/v1") -> Any:
        where = f"{group}/namespaces/{self.namespace}/{path}"
        return self._admin.ask(method, where, body, MERGE)

    def deploy(self, replicas=2, *, ready=True, places=None) -> None:
        self._kubelet.expect(self.namespace, ready=ready, places=places)
        new = deployment(self.namespace, NAME, replicas, QUICK)
        made = self.raw("POST", "deployments?fieldManager=kubectl-client-side-apply", new)
        assert made.code == HTTPStatus.CREATED, made
        running = replicas if places is None else min(replicas, places)
        self.until(lambda: len(self.pods()) == replicas and self._running() == running)
        if ready:
            self.until(lambda: self.deployment()["status"].get("readyReplicas", 0) == running)
        if ready and places is None:
            self.until(self._is_rolled_out)

    def _is_rolled_out(self) -> bool:
        """Tell whether the controller has written all that it has to write."""
        conditions = self.deployment()["status"]["conditions"]
        return "NewReplicaSetAvailable" in [each["reason"] for each in conditions]

    def _running(self) -> int:
        return sum(pod["status"]["phase"] == "Running" for pod in self.pods().values())

    def hold(self) -> None:
        self._kubelet.hold(self.namespace)

    def set_ready(self, pod, *, ready) -> None:
        self._kubelet.set_ready(self.namespace, pod, ready=ready)
        self.until(lambda: is_ready(self.pods()[pod]) is ready)

    def take_right(self, verb, resource, group="") -> None:
        for role in self._roles:
            for rule in role["rules"]:
                if resource in rule["resources"] and verb in rule["verbs"]:
                    rule["verbs"] = [each for each in rule["verbs"] if each != verb]
            role["rules"] = [rule for rule in role["rules"] if rule["verbs"]]
            self._keep(role)
        self._until_allowed(verb, resource, group, allowed=False)

    def give_right(self, verb, resource, group="") -> None:
        role = self._roles[0]
        role["rules"].append({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
        self._keep(role)
        self._until_allowed(verb, resource, group, allowed=True)

    def _keep(self, role: Any) -> None:
        rules = {"rules": role["rules"]}
        self._ask("PATCH", f"roles/{role['metadata']['name']}", rules, _RBAC)

    def _until_allowed(self, verb: str, resource: str, group: str, *, allowed: bool) -> None:
        """Wait until the authorizer has heard of it."""
        plural, _, subresource = resource.partition("/")
        asked = {
            "namespace": self.namespace,
            "verb": verb,
            "group": group,
            "resource": plural,
            "subresource": subresource,
            "name": {"deployments": NAME, "leases": _ACCOUNT}.get(plural, ""),
        }
        user = f"system:serviceaccount:{self.namespace}:{_ACCOUNT}"
        body = {"spec": {"user": user, "resourceAttributes": asked}}
        where = "apis/authorization.k8s.io/v1/subjectaccessreviews"
        self.until(
            lambda: self._admin.ask("POST", where, body)["status"]["allowed"] is allowed,
            f"{verb} {resource}: {allowed}",
        )

    def writes(self) -> list[tuple[str, str, int]]:
        user = f"system:serviceaccount:{self.namespace}:{_ACCOUNT}"
        told = [entry for entry in self._control.audit() if entry["user"]["username"] == user]
        return [
            (entry["verb"], _resource(entry["objectRef"]), entry["responseStatus"]["code"])
            for entry in told
            if entry["verb"] not in ("get", "list")
        ]

    def make_pod(self, pod) -> None:
        self._ask("POST", "pods", pod)

    @contextmanager
    def scaled_objects(self) -> Iterator[None]:
        name = self._admin.ask("POST", _DEFINITIONS, _SCALED_OBJECTS)["metadata"]["name"]
        try:
            self.until(lambda: self.raw("GET", "scaledobjects").code == HTTPStatus.OK)
            yield
        finally:
            self._admin.ask("DELETE", f"{_DEFINITIONS}/{name}")
            self.until(lambda: self.raw("GET", "scaledobjects").kind == "text/plain")

    def close(self) -> None:
        self._kubelet.forget(self.namespace)
        self.pool.clear()


def _resource(about: Any) -> str:
    return "/".join(filter(None, (about["resource"], about.get("subresource"))))


def _lines(stream: Any) -> Iterator[Any]:
    rest = b""
    for chunk in stream.stream(2**16):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from map(json.loads, whole)

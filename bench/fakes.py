"""What the daemon talks to, in a process of its own that answers at once: the daemon is measured.

One port serves a Kubernetes API, a Prometheus, a gateway's statistics and an exporter for a real
Prometheus. Every Deployment that is asked for exists and has PODS ready pods until its scale is
patched. Objects are as large as a real API server's, managed fields included, since reading them is
a part of a cycle's price.

`python bench/fakes.py PODS` prints the port, then a line for each patch: monotonic time, name,
replicas. `GET /load/NAME/REQUESTS` sets what the exporter tells of a backend; after
`GET /hang/NAME` no query about it is answered any more.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from urllib.parse import unquote_plus

_RIDER = re.compile(r'"(__age_[0-9a-f]+__)", "([ap]\d+)"')
_PATH = re.compile(r"/namespaces/([^/]+)/(deployments|pods)(?:/([^/?]+))?(/scale)?")
_LABEL = re.compile(r"labelSelector=app%3D([^&]+)")
_HASH = "5d4f8c7b9d"
_CREATED = "2026-11-23T09:00:00Z"


# --- Kubernetes ---------------------------------------------------------------------------------


def managed(manager: str, operation: str, fields: object, subresource: str = "") -> object:
    """Write one entry of an object's managed fields."""
    entry = {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "time": _CREATED,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return entry | ({"subresource": subresource} if subresource else {})


def owned(*names: str) -> object:
    """Write fields that somebody manages, in the API's notation."""
    return {f"f:{name}": {} for name in names} | {".": {}}


_CONTAINER_FIELDS = {
    'k:{"name":"ollama"}': owned(
        "env", "image", "imagePullPolicy", "livenessProbe", "name", "ports", "readinessProbe"
    )
    | owned("resources", "securityContext", "startupProbe", "terminationMessagePath", "lifecycle")
}
_PROBE = {
    "httpGet": {"path": "/api/version", "port": "http", "scheme": "HTTP"},
    "timeoutSeconds": 2,
    "periodSeconds": 5,
    "successThreshold": 1,
    "failureThreshold": 3,
}
_CONTAINER = {
    "name": "ollama",
    "image": "ollama/ollama:0.34.3",
    "ports": [{"name": "http", "containerPort": 11434, "protocol": "TCP"}],
    "env": [
        {"name": "OLLAMA_NUM_PARALLEL", "value": "1"},
        {"name": "OLLAMA_KEEP_ALIVE", "value": "-1"},
        {"name": "OLLAMA_MODELS", "value": "/models"},
        {"name": "HOME", "value": "/scratch"},
    ],
    "resources": {
        "limits": {"cpu": "2", "memory": "6Gi"},
        "requests": {"cpu": "2", "memory": "6Gi"},
    },
    "volumeMounts": [
        {"name": "models", "readOnly": True, "mountPath": "/models"},
        {"name": "scratch", "mountPath": "/scratch"},
    ],
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "/drain/drain.sh"]}}},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent",
    "securityContext": {
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
    },
}
_POD_SPEC = {
    "volumes": [
        {"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        {"name": "scratch", "emptyDir": {}},
    ],
    "containers": [_CONTAINER],
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 330,
    "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "ollama",
    "automountServiceAccountToken": False,
    "securityContext": {"runAsUser": 10001, "runAsNonRoot": True, "fsGroup": 10001},
    "schedulerName": "default-scheduler",
    "enableServiceLinks": False,
    "preemptionPolicy": "PreemptLowerPriority",
}


def condition(kind: str) -> object:
    """Write one condition of a pod that holds."""
    return {
        "type": kind,
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": _CREATED,
        "observedGeneration": 1,
    }


@cache
def deployment(namespace: str, name: str, replicas: int) -> bytes:
    """Write a Deployment as the API gives it."""
    labels = {"app": name}
    body = {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": "6f1c7c1e-6ed5-4f7e-9d3f-2b9f0a3c1d55",
            "resourceVersion": "184467",
            "generation": 4,
            "creationTimestamp": _CREATED,
            "labels": labels | {"app.kubernetes.io/part-of": "ollama-chat"},
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "managedFields": [
                managed("ollama-autoscaler", "Update", {"f:spec": owned("replicas")}, "scale"),
                managed(
                    "kubectl",
                    "Apply",
                    {
                        "f:metadata": {"f:labels": owned("app", "app.kubernetes.io/part-of")},
                        "f:spec": owned("selector", "strategy", "progressDeadlineSeconds")
                        | {"f:template": {"f:spec": {"f:containers": _CONTAINER_FIELDS}}},
                    },
                ),
                managed(
                    "kube-controller-manager",
                    "Update",
                    {"f:status": owned("availableReplicas", "conditions", "readyReplicas")},
                    "status",
                ),
            ],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": _POD_SPEC},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        },
        "status": {
            "observedGeneration": 4,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "conditions": [condition("Available"), condition("Progressing")],
        },
    }
    return json.dumps(body, separators=(",", ":")).encode()


@cache
def pods(namespace: str, name: str, replicas: int) -> bytes:
    """Write the list of a Deployment's pods as the API gives it."""
    items = [pod(namespace, name, number) for number in range(replicas)]
    body = {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "190000"},
        "items": items,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def pod(namespace: str, name: str, number: int) -> object:
    """Write one pod that runs and is ready."""
    container = {
        "name": "ollama",
        "state": {"running": {"startedAt": _CREATED}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": "docker.io/ollama/ollama:0.34.3",
        "imageID": "docker.io/ollama/ollama@sha256:" + "5" * 64,
        "containerID": "containerd://" + "7" * 64,
        "started": True,
    }
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    return {
        "metadata": {
            "name": pod_name(name, number),
            "generateName": f"{name}-{_HASH}-",
            "namespace": namespace,
            "uid": f"0d0a{number:04d}-0000-4000-8000-000000000000",
            "resourceVersion": "184000",
            "generation": 1,
            "creationTimestamp": _CREATED,
            "labels": {"app": name, "pod-template-hash": _HASH},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{name}-{_HASH}",
                    "uid": "b3a7",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [
                managed(
                    "kube-controller-manager",
                    "Update",
                    {
                        "f:metadata": owned("generateName", "labels", "ownerReferences"),
                        "f:spec": owned("dnsPolicy", "restartPolicy", "volumes")
                        | {"f:containers": _CONTAINER_FIELDS},
                    },
                ),
                managed(
                    "kubelet",
                    "Update",
                    {"f:status": owned("conditions", "containerStatuses", "hostIP", "podIP")},
                    "status",
                ),
            ],
        },
        "spec": _POD_SPEC | {"nodeName": "node-1"},
        "status": {
            "observedGeneration": 1,
            "phase": "Running",
            "conditions": [condition(kind) for kind in (*kinds, "PodScheduled")],
            "hostIP": "10.0.0.1",
            "podIP": f"10.1.0.{number + 2}",
            "podIPs": [{"ip": f"10.1.0.{number + 2}"}],
            "startTime": _CREATED,
            "containerStatuses": [container],
            "qosClass": "Guaranteed",
        },
    }


def pod_name(name: str, number: int) -> str:
    """Return the name of a Deployment's pod."""
    return f"{name}-{_HASH}-abc{number:02d}"


# --- Prometheus ---------------------------------------------------------------------------------


@cache
def vector(query: str, replicas: int) -> bytes:
    """Answer a query of the shipped configuration with its riders: load for `replicas` replicas."""
    series: list[tuple[dict[str, str], str]] = []
    found = re.search(r'pod=~"([a-z0-9-]+?)-\[', query)
    names = [pod_name(found[1] if found else "ollama", number) for number in range(replicas)]
    if "by (pod)" in query.partition("\nor ")[0]:
        series += [({"pod": name}, "0.6") for name in names]
    else:
        series.append(({}, f"{0.75 * replicas}"))
    for marker, rider in _RIDER.findall(query):
        if rider.startswith("p"):
            series += [({"pod": name, marker: rider}, "1.5") for name in names]
        else:
            series.append(({marker: rider}, "1.5"))
    result = [{"metric": labels, "value": [1.5, value]} for labels, value in series]
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode()


@cache
def query_of(encoded: str) -> str:
    """Find the query in what was sent as parameters."""
    found = re.search(r"(?:^|&)query=([^&]*)", encoded)
    return unquote_plus(found[1]) if found else ""


@cache
def about(query: str) -> str:
    """Find the Deployment that a query is about."""
    found = re.search(r'(?:proxy|namespace)="([^"]*)"', query)
    return found[1] if found else ""


def exported(loads: dict[str, float], replicas: int) -> Iterator[str]:
    """Write what HAProxy, cAdvisor and kube-state-metrics tell, for the backends that have a load.

    Each pod has used 1.2 of its 2 cores all the time, and a rule has recorded that.
    """
    for name, load in loads.items():
        yield f'haproxy_backend_current_sessions{{proxy="{name}"}} {load}'
        for number in range(replicas):
            labels = f'namespace="{name}",pod="{pod_name(name, number)}"'
            cgroup = f'{labels},container="",image=""'
            yield f"container_cpu_usage_seconds_total{{{cgroup}}} {1.2 * time.monotonic():.3f}"
            limit = f'{labels},container="ollama",resource="cpu"'
            yield f"kube_pod_container_resource_limits{{{limit}}} 2"
            yield f"pod:cpu_to_limit:ratio{{{labels}}} 0.6"


# --- the gateway's statistics -------------------------------------------------------------------


@cache
def statistics(replicas: int) -> bytes:
    """Write HAProxy's CSV with one backend, as wide as HAProxy writes it."""
    columns = ["pxname", "svname", "qcur", "qmax", "scur", *(f"c{n}" for n in range(68)), "addr"]
    columns += [f"d{n}" for n in range(64)]
    rows = [
        ["ollama", f"s{n}", "0", "0", "1", *["0"] * 68, f"10.1.0.{n + 2}:11434", *["0"] * 64]
        for n in range(replicas)
    ]
    rows.append(["ollama", "BACKEND", "0", "0", f"{replicas}", *["0"] * 68, "", *["0"] * 64])
    return ("# " + "\n".join(",".join(row) + "," for row in [columns, *rows]) + "\n").encode()


# --- all of them --------------------------------------------------------------------------------


class World:
    """What changes: the loads that are exported, and the replicas that were written."""

    def __init__(self, replicas: int) -> None:
        self.standard = replicas
        self.replicas: dict[str, int] = {}
        self.loads: dict[str, float] = {}
        self.hanging: set[str] = set()
        self.lease = {"metadata": {"name": "autoscaler", "resourceVersion": "1"}, "spec": {}}

    def answer(self, method: str, target: str, body: str) -> bytes | None:
        """Answer a request with the content of a 200; None: never."""
        path, _, parameters = target.partition("?")
        if path.endswith("/api/v1/query"):
            query = query_of(body or parameters)
            return None if about(query) in self.hanging else vector(query, self.standard)
        if path == "/metrics":
            return ("\n".join(exported(self.loads, self.standard)) + "\n").encode()
        if path == "/stats;csv":
            return statistics(self.standard)
        if path.startswith(("/load/", "/hang/")):
            return self._set(*path.split("/")[1:])
        return self._kubernetes(method, target, body)

    def _set(self, what: str, name: str, load: str = "") -> bytes:
        if what == "hang":
            self.hanging.add(name)
        else:
            self.loads[name] = float(load)
        return b"{}"

    def _kubernetes(self, method: str, target: str, body: str) -> bytes:
        found = _PATH.search(target)
        if found is None:
            return self._lease(method, body) if "/leases" in target else b"{}"
        namespace, kind, name, scale = found.groups()
        if scale and method == "PATCH":
            return self._scale(name, json.loads(body)[-1]["value"])
        if kind == "pods":
            label = _LABEL.search(target)
            name = label[1] if label else "ollama"
        replicas = self.replicas.get(name, self.standard)
        return (deployment if kind == "deployments" else pods)(namespace, name, replicas)

    def _lease(self, method: str, body: str) -> bytes:
        if method != "GET":
            version = int(self.lease["metadata"]["resourceVersion"]) + 1
            self.lease = json.loads(body)
            self.lease["metadata"]["resourceVersion"] = str(version)
        return json.dumps(self.lease).encode()

    def _scale(self, name: str, replicas: int) -> bytes:
        self.replicas[name] = replicas
        print(time.monotonic(), name, replicas, flush=True)
        spec = {"replicas": replicas}
        return json.dumps({"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": spec}).encode()


class Connection(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._heard += data
        while True:
            head, end, rest = self._heard.partition(b"\r\n\r\n")
            if not end:
                return
            lower = head.lower()
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            self._heard = rest[length:]
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            content = self._world.answer(method, target, rest[:length].decode())
            if content is not None:
                self._send(content)

    def _send(self, content: bytes) -> None:
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            "Audit-Id: 7a0f9f0e-2d4f-4a7e-9a51-4f0a6a3f0b5e\r\n"
            "Cache-Control: no-cache, private\r\n"
            "Date: Mon, 23 Nov 2026 10:00:00 GMT\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._transport.write(head.encode() + content)  # type: ignore[attr-defined]


async def serve(world: World) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(world), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(World(int(sys.argv[1]))))

"""What objects say of one another: names, keys, ports, mounts, files and addresses.

Each check takes the objects of one build and returns what it finds, a line each; none is good.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from tests.stack.builds import ROOT, Object, name_of, of, templates

MADE_BY_KUBERNETES = {"ConfigMap/kube-root-ca.crt"}


class Reference(NamedTuple):
    """One object's mention of another."""

    by: str
    namespace: str
    to: str
    key: str | None = None
    """What must be in the other's data."""


def dangling(objects: Sequence[Object]) -> list[str]:
    """Find references to objects, or to keys in them, that are not there."""
    present = {
        (obj["metadata"].get("namespace", ""), name_of(obj)): set(obj.get("data") or ())
        for obj in objects
    }
    return [
        f"{one.by}: no {one.to}" + (f" with {one.key}" if one.key else "")
        for one in _references(objects)
        if one.to not in MADE_BY_KUBERNETES and (one.to, one.key) not in users_secrets()
        if one.key not in {None, *present.get((one.namespace, one.to), ())}
        or (one.namespace, one.to) not in present
    ]


def unused(objects: Sequence[Object]) -> list[str]:
    """Find what nothing uses: left over, or meant for a pod that refers to another name."""
    wanted = {(one.namespace, one.to) for one in _references(objects)}
    return [
        name_of(obj)
        for obj in of(
            objects, *sorted({*_REFERENCES.values(), "ServiceAccount", "Role", "ClusterRole"})
        )
        if (obj["metadata"].get("namespace", ""), name_of(obj)) not in wanted
    ]


@cache
def users_secrets() -> frozenset[tuple[str, str]]:
    """Return what a person is told to make, by a command in the files of deploy/: name and key."""
    command = re.compile(r"create secret generic (\S+) --from-literal=([\w-]+)=")
    texts = (path.read_text() for path in (ROOT / "deploy").rglob("*.yaml"))
    return frozenset(
        (f"Secret/{name}", key) for text in texts for name, key in command.findall(text)
    )


_REFERENCES = {
    "configMap": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "configMapRef": "ConfigMap",
    "secret": "Secret",
    "secretKeyRef": "Secret",
    "secretRef": "Secret",
    "persistentVolumeClaim": "PersistentVolumeClaim",
}


def _references(objects: Sequence[Object]) -> Iterator[Reference]:
    for pods in templates(objects):
        account = pods.spec.get("serviceAccountName", "default")
        yield Reference(pods.name, pods.namespace, f"ServiceAccount/{account}")
        for to, key in _mentions(pods.spec):
            yield Reference(pods.name, pods.namespace, to, key)
    for obj in objects:
        where = obj["metadata"].get("namespace", "")
        for subject in obj.get("subjects") or ():
            to = f"{subject['kind']}/{subject['name']}"
            yield Reference(name_of(obj), subject.get("namespace", ""), to)
        if role := obj.get("roleRef"):
            at = where if role["kind"] == "Role" else ""
            yield Reference(name_of(obj), at, f"{role['kind']}/{role['name']}")
        if volume := (obj.get("spec") or {}).get("volumeName"):
            yield Reference(name_of(obj), "", f"PersistentVolume/{volume}")


def _mentions(part: Any) -> Iterator[tuple[str, str | None]]:
    """Return the objects and keys that a pod, or any part of one, needs to start."""
    if isinstance(part, list):
        for each in part:
            yield from _mentions(each)
    if isinstance(part, dict):
        for field, value in part.items():
            if field in _REFERENCES:
                name = value.get("name") or value.get("secretName") or value["claimName"]
                for item in [value] if "key" in value else value.get("items") or [{}]:
                    yield f"{_REFERENCES[field]}/{name}", item.get("key")
            else:
                yield from _mentions(value)


def wrong_backends(objects: Sequence[Object]) -> list[str]:
    """Find routes and monitors that lead to no Service, or to a port that it does not have."""
    services = of(objects, "Service")
    return [
        f"{name_of(obj)}: no port {port} of {labels or name}"
        for obj in objects
        for name, labels, port in _backends(obj)
        if not any(
            port in {held["port"], held["name"]}
            for service in services
            if name in {None, service["metadata"]["name"]}
            if labels.items() <= service["metadata"]["labels"].items()
            for held in service["spec"]["ports"]
        )
    ]


def _backends(obj: Object) -> Iterator[tuple[str | None, Mapping[str, str], str | int]]:
    """Return the name or the labels of each Service that an object leads to, and the port."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "Ingress":
        for path in (path for rule in spec["rules"] for path in rule["http"]["paths"]):
            service = path["backend"]["service"]
            yield service["name"], {}, service["port"].get("name") or service["port"]["number"]
    if obj["kind"] == "HTTPRoute":
        for backend in (backend for rule in spec["rules"] for backend in rule["backendRefs"]):
            yield backend["name"], {}, backend["port"]
    if obj["kind"] == "ServiceMonitor":
        for endpoint in spec["endpoints"]:
            yield None, spec["selector"]["matchLabels"], endpoint["port"]


def crossed_volumes(objects: Sequence[Object]) -> list[str]:
    """Find mounts without their volume, and volumes that nobody mounts."""
    return [
        f"{pods.name}: {name} is {'a volume' if name in volumes else 'mounted'} only"
        for pods in templates(objects)
        for volumes in [{volume["name"] for volume in pods.spec.get("volumes", ())}]
        for mounts in [{m["name"] for one in pods.containers for m in one.get("volumeMounts", ())}]
        for name in sorted(volumes ^ mounts)
    ]


def missing_files(objects: Sequence[Object]) -> list[str]:
    """Find paths in commands and variables that lead into a ConfigMap which lacks the file."""
    data = {obj["metadata"]["name"]: set(obj["data"]) for obj in of(objects, "ConfigMap")}
    return [
        f"{pods.name}: no {file} in {source['name']}"
        for pods in templates(objects)
        for container in pods.containers
        for mount in container.get("volumeMounts", ())
        for volume in pods.spec.get("volumes", ())
        if volume["name"] == mount["name"]
        if (source := volume.get("configMap"))
        for file in re.findall(rf"{re.escape(mount['mountPath'])}/([\w./-]+)", _said(container))
        if file
        not in ({item["path"] for item in source.get("items", ())} or data.get(source["name"], ()))
    ]


def _said(container: Object) -> str:
    """Return the words of a container's commands and variables."""
    hooks = [*container.get("lifecycle", {}).values()]
    hooks += [
        container.get(probe, {}) for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    ]
    words = [word for hook in hooks for word in hook.get("exec", {}).get("command", ())]
    words += [entry.get("value", "") for entry in container.get("env", ())]
    return "\n".join([*words, *container.get("command", ()), *container.get("args", ())])


_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://(?P<host>[a-z][a-z0-9-]*)"
    r"|(?P<service>[a-z][a-z0-9-]*)\.(?P<namespace>[a-z][a-z0-9-]*)\.svc(?:\.cluster\.local)?)"
    r"(?::(?P<port>\d+))?(?![\w.:$-])"
)
_PORTS = {"http": 80, "https": 443}
"""Of an address that names none; a Service's full name may stand without any."""


def unknown_addresses(objects: Sequence[Object]) -> list[str]:
    """Find addresses in configuration that are no Service's, or not one of its ports."""
    namespaces = {pods.namespace for pods in templates(objects)}
    ports = {
        (service["metadata"]["name"], namespace): {
            port["port"] for port in service["spec"]["ports"]
        }
        for service in of(objects, "Service")
        for namespace in [service["metadata"].get("namespace", "")]
    }
    return [
        f"{where}: {found[0]}"
        for where, text in _configuration(objects)
        for found in _ADDRESS.finditer(text)
        if found["host"] != "localhost"
        if not any(
            int(found["port"] or _PORTS.get(found["scheme"]) or min(held)) in held
            for namespace in ([found["namespace"]] if found["namespace"] else namespaces)
            for held in [ports.get((found["host"] or found["service"], namespace))]
            if held
        )
    ]


def _configuration(objects: Sequence[Object]) -> Iterator[tuple[str, str]]:
    """Return the text of all configuration, without comments and what the environment replaces."""
    containers = [(pods, one) for pods in templates(objects) for one in pods.containers]
    for pods, container in containers:
        yield f"{pods.name}, {container['name']}", _said(container)
    variables = {entry["name"] for _, container in containers for entry in container.get("env", ())}
    for obj in of(objects, "ConfigMap"):
        for key, text in obj["data"].items():
            if key == "autoscaler.yaml" and "AUTOSCALER_PROMETHEUS__URL" in variables:
                continue
            lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
            yield f"{name_of(obj)}, {key}", "\n".join(lines)

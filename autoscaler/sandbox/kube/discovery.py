"""What the API says of itself, so that kubectl and dynamic clients find their way."""

from collections.abc import Iterable
from typing import Any

from autoscaler.sandbox.kube.store import Resource

_SHORT = {"deployments": "deploy", "pods": "po", "replicasets": "rs", "events": "ev"}
_VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.0+sandbox",
    **dict.fromkeys(
        ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"), "sandbox"
    ),
}


def document(path: str, resources: Iterable[Resource]) -> dict[str, Any] | None:
    """Return the discovery document at a path; None where there is none."""
    held = tuple(resources)
    groups = sorted({(one.group, one.version) for one in held if one.group})
    if path == "/version":
        return dict(_VERSION)
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        listed = [_group(group, version) for group, version in groups]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
    for group, version in (("", "v1"), *groups):
        prefix = f"/apis/{group}" if group else "/api"
        if path == f"{prefix}/{version}":
            return _resources(group, version, held)
        if group and path == prefix:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, version)}
    return None


def _group(group: str, version: str) -> dict[str, Any]:
    versioned = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [versioned], "preferredVersion": versioned}


def _resources(group: str, version: str, held: tuple[Resource, ...]) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    for one in held:
        if one.group != group:
            continue
        described = {"namespaced": True, "singularName": one.kind.lower()}
        short = {"shortNames": [_SHORT[one.plural]]} if one.plural in _SHORT else {}
        listed.append(
            {"name": one.plural, "kind": one.kind, "verbs": sorted(one.verbs), **described, **short}
        )
        if "scale" in one.subresources:
            scale = {"kind": "Scale", "group": "autoscaling", "version": "v1"}
            verbs = ["get", "patch", "update"]
            listed.append({"name": f"{one.plural}/scale", "verbs": verbs, **scale, **described})
    name = f"{group}/{version}" if group else version
    body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name}
    return {**body, "resources": listed}

"""The `scale` subresource of a Deployment."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeGuard

from autoscaler.sandbox.kube.status import Cause, Subject, invalid, undecodable
from autoscaler.sandbox.kube.store import Object, find


def scale_of(deployment: Mapping[str, Any]) -> Object:
    """Make the Scale object. As on a real server, a count of 0 is left out of `spec`."""
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    metadata = {key: deployment["metadata"][key] for key in kept}
    replicas = deployment["spec"]["replicas"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": find(deployment, "status", "replicas") or 0,
            "selector": selector_text(deployment["spec"]["selector"]),
        },
    }


def selector_text(selector: Mapping[str, Any]) -> str:
    """Write a label selector of equalities as a list takes it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector["matchLabels"].items()))


def require_replicas(replicas: object, subject: Subject, *, patched: bool = True) -> int:
    """Check a replica count, which a patch may have made. Raises ApiError (400, 422)."""
    if not is_int32(replicas):
        raise undecodable(f"spec.replicas = {replicas!r} is no int32", patched=patched)
    if replicas < 0:
        message = "must be greater than or equal to 0"
        raise invalid(subject, [Cause(path="spec.replicas", message=message, value=replicas)])
    return replicas


def is_int32(value: object) -> TypeGuard[int]:
    """Tell whether a value fits a field of this type."""
    return type(value) is int and -(2**31) <= value < 2**31


def with_scale(deployment: Mapping[str, Any], scale: Mapping[str, Any], *, patched: bool) -> Object:
    """Make the Deployment that a written Scale asks for. Raises ApiError (400, 422)."""
    subject = Subject(
        plural="scales", group="autoscaling", kind="Scale", name=deployment["metadata"]["name"]
    )
    changed = deepcopy(dict(deployment))
    replicas = find(scale, "spec", "replicas")
    count = 0 if replicas is None else replicas
    changed["spec"]["replicas"] = require_replicas(count, subject, patched=patched)
    version = find(scale, "metadata", "resourceVersion")
    if version:
        changed["metadata"]["resourceVersion"] = version
    return changed

"""The `scale` subresource of a Deployment."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from autoscaler.sandbox.kube.status import Cause, Subject, bad_request, invalid
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


def require_replicas(replicas: object, subject: Subject) -> int:
    """Check a replica count. Raises ApiError (400, 422)."""
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request(f"cannot decode spec.replicas = {replicas!r} into an int32")
    if replicas < 0:
        message = "must be greater than or equal to 0"
        raise invalid(subject, [Cause(path="spec.replicas", message=message, value=replicas)])
    return replicas


def with_scale(deployment: Mapping[str, Any], scale: Mapping[str, Any]) -> Object:
    """Make the Deployment that a written Scale asks for. Raises ApiError (400, 422)."""
    subject = Subject(
        plural="scales", group="autoscaling", kind="Scale", name=deployment["metadata"]["name"]
    )
    changed = deepcopy(dict(deployment))
    replicas = find(scale, "spec", "replicas")
    changed["spec"]["replicas"] = require_replicas(0 if replicas is None else replicas, subject)
    version = find(scale, "metadata", "resourceVersion")
    if version:
        changed["metadata"]["resourceVersion"] = version
    return changed

"""The objects that the controllers write: Deployment, ReplicaSet, Pod."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from autoscaler.sandbox.kube.store import Object, find, timestamp

NODE = "sandbox"
NO_IMAGE = "sandbox/none"
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes generated names of: no vowels, so no words."""
_HASH_LENGTH = 10
_SUFFIX_LENGTH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTemplate:
    """What every pod of a Deployment is like."""

    container: str = "ollama"
    cpu_limit: str | None = "2"
    """As Kubernetes writes quantities: `2`, `500m`."""
    grace: timedelta = timedelta(seconds=330)
    """From deletion to SIGKILL."""
    drain_delay: timedelta = timedelta(seconds=5)
    """What the preStop hook waits before it looks for requests: the gateway's DNS is late."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    image: str = "sandbox/replica"
    """`NO_IMAGE` is nowhere to be had."""


def deployment(namespace: str, name: str, replicas: int, template: PodTemplate) -> Object:
    """Write a Deployment."""
    labels = {"app": name}
    hook = {"exec": {"command": ["drain", f"{template.drain_delay.total_seconds():g}"]}}
    limits = {"limits": {"cpu": template.cpu_limit}} if template.cpu_limit else {}
    container = {
        "name": template.container,
        "image": template.image,
        "resources": limits,
        "lifecycle": {"preStop": hook},
    }
    pod = {
        "metadata": {"labels": labels, "annotations": dict(template.annotations)},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": int(template.grace.total_seconds()),
        },
    }
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod},
        "status": {},
    }


def replica_set(owner: Mapping[str, Any]) -> Object:
    """Write the ReplicaSet of a Deployment."""
    template = deepcopy(owner["spec"]["template"])
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    label = {
        "pod-template-hash": "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:_HASH_LENGTH])
    }
    template["metadata"]["labels"] |= label
    name = owner["metadata"]["name"]
    return {
        "metadata": {
            "namespace": owner["metadata"]["namespace"],
            "name": f"{name}-{label['pod-template-hash']}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [_owned_by(owner)],
        },
        "spec": {
            "replicas": owner["spec"]["replicas"],
            "selector": {"matchLabels": owner["spec"]["selector"]["matchLabels"] | label},
            "template": template,
        },
        "status": {"replicas": 0},
    }


def pod(owner: Mapping[str, Any], random: Random) -> Object:
    """Write a new pod of a ReplicaSet."""
    template = owner["spec"]["template"]
    suffix = "".join(random.choices(_SAFE, k=_SUFFIX_LENGTH))
    return {
        "metadata": {
            **deepcopy(template["metadata"]),
            "namespace": owner["metadata"]["namespace"],
            "name": f"{owner['metadata']['name']}-{suffix}",
            "ownerReferences": [_owned_by(owner)],
        },
        "spec": deepcopy(template["spec"]),
        "status": {"phase": "Pending"},
    }


def _owned_by(owner: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Find one condition of a status; empty where there is none."""
    listed = find(obj, "status", "conditions") or []
    return next((entry for entry in listed if entry["type"] == kind), {})


def set_condition(obj: Object, kind: str, *, holds: bool, reason: str = "") -> None:
    """Set one condition; its time moves only when it changes."""
    status = str(holds)
    old = condition(obj, kind)
    if old.get("status") == status and old.get("reason", "") == reason:
        return
    moved = old["lastTransitionTime"] if old.get("status") == status else timestamp()
    entry = {"type": kind, "status": status, "lastTransitionTime": moved}
    if reason:
        entry["reason"] = reason
    others = [held for held in obj["status"].get("conditions", []) if held["type"] != kind]
    obj["status"]["conditions"] = [*others, entry]


def is_ready(obj: Mapping[str, Any]) -> bool:
    """Tell whether a pod's Ready condition holds."""
    return condition(obj, "Ready").get("status") == "True"


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Tell whether a pod is on its way out."""
    return find(obj, "metadata", "deletionTimestamp") is not None


def mark_deleted(obj: Object, grace: int | None = None) -> None:
    """Let a pod go within a grace period, its own where none is given.

    As on a real server, the time told is that of the period's end.
    """
    seconds = obj["spec"]["terminationGracePeriodSeconds"] if grace is None else grace
    obj["metadata"].setdefault("deletionTimestamp", timestamp(seconds))
    obj["metadata"]["deletionGracePeriodSeconds"] = seconds

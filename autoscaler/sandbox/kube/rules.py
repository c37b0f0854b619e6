"""What a real server insists on in some of its objects, before it takes a write."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from autoscaler.sandbox.kube.resources import LEASES
from autoscaler.sandbox.kube.status import ApiError, Cause, Subject, invalid
from autoscaler.sandbox.kube.store import Resource, find
from autoscaler.sandbox.kube.victims import DELETION_COST

_COST = re.compile(r"0|[1-9][0-9]*|-[0-9]+")
_MOST = 2**31


def require_pod(pod: Mapping[str, Any], subject: Subject) -> None:
    """Insist on a cost of deletion that is a number. Raises ApiError (422)."""
    cost = (find(pod, "metadata", "annotations") or {}).get(DELETION_COST, "0")
    if not _COST.fullmatch(cost) or not -_MOST <= int(cost) < _MOST:
        path = f"metadata.annotations[{DELETION_COST}]"
        raise invalid(subject, [Cause(path=path, message="must be a 32bit integer", value=cost)])


def require_event(event: Mapping[str, Any], subject: Subject, namespace: str) -> None:
    """Insist on an event beside its object. Raises ApiError (422)."""
    about = find(event, "involvedObject", "namespace")
    if about != namespace:
        cause = Cause(
            path="involvedObject.namespace", message="does not match event.namespace", value=about
        )
        raise invalid(subject, [cause])


def require_version(resource: Resource, obj: Mapping[str, Any], subject: Subject) -> None:
    """Insist that whoever replaces a Lease says which one it has read. Raises ApiError (422)."""
    if resource == LEASES and not find(obj, "metadata", "resourceVersion"):
        message = "must be specified for an update"
        raise invalid(
            subject, [Cause(path="metadata.resourceVersion", message=message, value="0x0")]
        )


def require_manager(query: Mapping[str, str]) -> str:
    """Insist that an apply is signed. Raises ApiError (422)."""
    manager = query.get("fieldManager")
    if not manager:
        subject = Subject(plural="patchoptions", group="meta.k8s.io", kind="PatchOptions")
        message = "is required for apply patch"
        raise invalid(subject, [Cause(path="fieldManager", message=message, value='""')])
    return manager


def require_preconditions(held: Mapping[str, Any], options: object, subject: Subject) -> None:
    """Insist that what is deleted is what was meant. Raises ApiError (409)."""
    wanted = find(options, "preconditions") if isinstance(options, Mapping) else None
    for key, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        asked, found = (wanted or {}).get(key), held["metadata"][key]
        if asked is not None and asked != found:
            message = (
                f'Operation cannot be fulfilled on {subject.resource} "{subject.name}": the {word} '
                f"in the precondition ({asked}) does not match the {word} in record ({found}). The "
                "object might have been deleted and then recreated"
            )
            raise ApiError(HTTPStatus.CONFLICT, "Conflict", message)

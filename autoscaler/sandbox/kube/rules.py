"""What a real server insists on in some of its objects, before it takes a write."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoscaler.sandbox.kube.status import Cause, Subject, bad_request, conflict, invalid
from autoscaler.sandbox.kube.store import find
from autoscaler.sandbox.kube.victims import DELETION_COST

_COST = re.compile(r"0|[1-9][0-9]*|-[0-9]+")
_MOST = 2**31
_MICRO_TIME = re.compile(r".+\.\d{6}(Z|[-+]\d\d:\d\d)")


def require_pod(pod: Mapping[str, Any], subject: Subject) -> None:
    """Insist on a cost of deletion that is a number. Raises ApiError (422)."""
    cost = (find(pod, "metadata", "annotations") or {}).get(DELETION_COST, "0")
    if not _COST.fullmatch(cost) or not -_MOST <= int(cost) < _MOST:
        path = f"metadata.annotations[{DELETION_COST}]"
        raise invalid(subject, [Cause(path=path, message="must be a 32bit integer", value=cost)])


def require_name(obj: Mapping[str, Any], name: str) -> None:
    """Insist that what replaces an object has its name, if any. Raises ApiError (400)."""
    told = find(obj, "metadata", "name") or name
    if told != name:
        raise bad_request(
            f"the name of the object ({told}) does not match the name on the URL ({name})"
        )


def require_event(event: Mapping[str, Any], subject: Subject, namespace: str) -> None:
    """Insist on an event beside its object. Raises ApiError (422)."""
    about = find(event, "involvedObject", "namespace")
    if about != namespace:
        cause = Cause(
            path="involvedObject.namespace", message="does not match event.namespace", value=about
        )
        raise invalid(subject, [cause])


def require_lease(lease: Mapping[str, Any], subject: Subject) -> None:
    """Insist on what a Lease's numbers and times are. Raises ApiError (400, 422)."""
    spec = lease.get("spec") or {}
    for key in ("acquireTime", "renewTime"):
        if spec.get(key) is not None and not _MICRO_TIME.fullmatch(spec[key]):
            raise bad_request(f'Lease in version "v1" cannot be handled as a Lease: {key}')
    for key, least, message in (
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ):
        if spec.get(key, least) < least:
            raise invalid(subject, [Cause(path=f"spec.{key}", message=message, value=spec[key])])


def require_version(obj: Mapping[str, Any], subject: Subject) -> None:
    """Insist that whoever replaces a Lease says which one it has read. Raises ApiError (422)."""
    if not find(obj, "metadata", "resourceVersion"):
        message = "must be specified for an update"
        cause = Cause(path="metadata.resourceVersion", message=message, value=0)
        raise invalid(replace(subject, kind=subject.plural), [cause])


def require_same(obj: Mapping[str, Any], held: Mapping[str, Any] | None, subject: Subject) -> None:
    """Insist that what is replaced is what was read, or was not there. Raises ApiError (409)."""
    asked = find(obj, "metadata", "uid")
    found = find(held or {}, "metadata", "uid") or ""
    if asked and asked != found:
        why = f"Precondition failed: UID in precondition: {asked}, UID in object meta: {found}"
        raise conflict(subject, why)


def require_manager(query: Mapping[str, str]) -> str:
    """Insist that an apply is signed. Raises ApiError (422)."""
    manager = query.get("fieldManager")
    if not manager:
        subject = Subject(plural="patchoptions", group="meta.k8s.io", kind="PatchOptions")
        message = "is required for apply patch"
        raise invalid(subject, [Cause(path="fieldManager", message=message, value="")])
    return manager


def require_preconditions(held: Mapping[str, Any], options: object, subject: Subject) -> None:
    """Insist that what is deleted is what was meant. Raises ApiError (409)."""
    wanted = find(options, "preconditions") if isinstance(options, Mapping) else None
    for key, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        asked, found = (wanted or {}).get(key), held["metadata"][key]
        if asked is not None and asked != found:
            why = (
                f"the {word} in the precondition ({asked}) does not match the {word} in record "
                f"({found}). The object might have been deleted and then recreated"
            )
            raise conflict(replace(subject, plural=subject.kind), why)  # as a real server names it

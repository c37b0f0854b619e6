"""What a real server insists on in some of its objects, before it takes a write."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from autoscaler.sandbox.kube.scale import is_int32
from autoscaler.sandbox.kube.status import (
    ApiError,
    Cause,
    Subject,
    bad_request,
    conflict,
    invalid,
    undecodable,
)
from autoscaler.sandbox.kube.store import Object, find
from autoscaler.sandbox.kube.victims import DELETION_COST

_COST = re.compile(r"0|[1-9][0-9]*|-[0-9]+")
_MOST = 2**31
_MOST_ANNOTATIONS = 256 * 2**10
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[-+]\d\d:\d\d)")
_LEASE_TIMES = {"acquireTime", "renewTime"}
_LEASE_NUMBERS = {
    "leaseDurationSeconds": (1, "must be greater than 0"),
    "leaseTransitions": (0, "must be greater than or equal to 0"),
}
"""With what each must be at least."""


def require_pod(pod: Mapping[str, Any], subject: Subject) -> None:
    """Insist on a cost of deletion that is a number. Raises ApiError (422)."""
    cost = (find(pod, "metadata", "annotations") or {}).get(DELETION_COST, "0")
    if not _COST.fullmatch(cost) or not -_MOST <= int(cost) < _MOST:
        path = f"metadata.annotations[{DELETION_COST}]"
        raise invalid(subject, [Cause(path=path, message="must be a 32bit integer", value=cost)])


def require_annotations(obj: Mapping[str, Any], subject: Subject, *, patched: bool = False) -> None:
    """Insist on annotations that are texts, and not too large altogether.

    Raises ApiError (400, 422).
    """
    annotations = find(obj, "metadata", "annotations") or {}
    if not all(isinstance(value, str) for value in annotations.values()):
        raise undecodable("an annotation is no text", patched=patched)
    size = sum(len(text.encode()) for pair in annotations.items() for text in pair)
    if size > _MOST_ANNOTATIONS:
        message = f"Too long: may not be more than {_MOST_ANNOTATIONS} bytes"
        cause = Cause(path="metadata.annotations", message=message, reason="FieldValueTooLong")
        raise invalid(subject, [cause])


def require_name(obj: Mapping[str, Any], name: str) -> None:
    """Insist that what replaces an object has its name. Raises ApiError (400)."""
    told = find(obj, "metadata", "name")
    if not told:
        raise bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: "
            "name must be provided"
        )
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


def read_lease(lease: Mapping[str, Any], subject: Subject) -> Object:
    """Return a Lease as it is kept: without nulls, its times in UTC. Raises ApiError (400, 422)."""
    spec = {key: value for key, value in (lease.get("spec") or {}).items() if value is not None}
    for key in spec.keys() & _LEASE_TIMES:
        if not isinstance(spec[key], str) or not _MICRO_TIME.fullmatch(spec[key]):
            raise _no_lease(key)
        at = datetime.fromisoformat(spec[key]).astimezone(UTC)
        spec[key] = f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
    for key in spec.keys() & _LEASE_NUMBERS.keys():
        least, message = _LEASE_NUMBERS[key]
        if not is_int32(spec[key]):
            raise _no_lease(key)
        if spec[key] < least:
            raise invalid(subject, [Cause(path=f"spec.{key}", message=message, value=spec[key])])
    return {**lease, "spec": spec}


def _no_lease(key: str) -> ApiError:
    return bad_request(f'Lease in version "v1" cannot be handled as a Lease: {key}')


def require_version(obj: Mapping[str, Any], subject: Subject) -> None:
    """Insist that whoever replaces a Lease says which one it has read. Raises ApiError (422)."""
    if not find(obj, "metadata", "resourceVersion"):
        message = "must be specified for an update"
        cause = Cause(path="metadata.resourceVersion", message=message, value=0)
        raise invalid(replace(subject, kind=subject.plural), [cause])


def require_same(obj: Mapping[str, Any], held: Mapping[str, Any] | None, subject: Subject) -> None:
    """Insist that what is written is what was read, or was not there. Raises ApiError (409)."""
    asked = find(obj, "metadata", "uid")
    found = find(held or {}, "metadata", "uid") or ""
    if asked and asked != found:
        why = f"Precondition failed: UID in precondition: {asked}, UID in object meta: {found}"
        raise conflict(subject, why)


def require_uid(obj: Mapping[str, Any], held: Mapping[str, Any], subject: Subject) -> None:
    """Insist that a patch leaves the uid. Raises ApiError (422)."""
    uid = find(obj, "metadata", "uid")
    if uid != held["metadata"]["uid"]:
        message = "field is immutable"
        raise invalid(subject, [Cause(path="metadata.uid", message=message, value=uid)])


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

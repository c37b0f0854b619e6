"""Refusals in the form that a Kubernetes API server gives them: a `Status` object and a code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a request is about."""

    plural: str
    group: str = ""
    name: str = ""
    kind: str = ""

    @property
    def resource(self) -> str:
        """`deployments.apps`, or `pods` in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class ApiError(Exception):
    """A request that is refused; `body` is the Status object."""

    def __init__(
        self,
        code: HTTPStatus,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the Status object."""
        super().__init__(message)
        self.code = code
        self.body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": int(code),
        }
        if details is not None:
            self.body["details"] = dict(details)


class NoSuchPageError(Exception):
    """A path that nobody serves: a real server's answer to it is no Status, but a line of text."""

    text = "404 page not found\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One field that is wrong."""

    path: str
    message: str
    value: object = None
    reason: str = "FieldValueInvalid"

    @property
    def told(self) -> str:
        """Say what is wrong, as a real server does."""
        if self.reason != "FieldValueInvalid":  # then it does not repeat the value
            return self.message
        value = json.dumps(self.value) if isinstance(self.value, str) else self.value
        return f"Invalid value: {value}: {self.message}"


def _details(subject: Subject) -> dict[str, Any]:
    # A real server puts the plural under `kind` in every refusal but `Invalid`.
    return _filled({"name": subject.name, "group": subject.group, "kind": subject.plural})


def _filled(details: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in details.items() if value}


def not_found(subject: Subject) -> ApiError:
    """No such object."""
    return ApiError(
        HTTPStatus.NOT_FOUND,
        "NotFound",
        f'{subject.resource} "{subject.name}" not found',
        _details(subject),
    )


def no_such_resource() -> ApiError:
    """The group is there, and has no such resource."""
    message = "the server could not find the requested resource"
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", message, {})


def not_allowed() -> ApiError:
    """The resource is there, and does not take this method."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", message, {})


def bad_request(message: str) -> ApiError:
    """The body or a parameter cannot be read."""
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def unsupported_media(content_type: str) -> ApiError:
    """The body's media type is not known."""
    message = f"the body of the request was in an unknown format - {content_type!r}"
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message, {})


def already_exists(subject: Subject) -> ApiError:
    """There is one of that name."""
    message = f'{subject.resource} "{subject.name}" already exists'
    return ApiError(HTTPStatus.CONFLICT, "AlreadyExists", message, _details(subject))


def conflict(subject: Subject, why: str = _MODIFIED) -> ApiError:
    """The object is not the one that the caller has read."""
    return ApiError(
        HTTPStatus.CONFLICT,
        "Conflict",
        f'Operation cannot be fulfilled on {subject.resource} "{subject.name}": {why}',
        _details(subject),
    )


def expired(version: int) -> ApiError:
    """A watch would start before what is remembered."""
    return ApiError(HTTPStatus.GONE, "Expired", f"too old resource version: {version}")


def patch_failed() -> ApiError:
    """A JSON patch does not apply.

    A real server answers a failed `test`, a missing path and an operation that is none alike, and
    names nothing.
    """
    message = "the server rejected our request due to an error in our request"
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, {})


def undecodable(what: str, *, patched: bool) -> ApiError:
    """A value is of another type than its field.

    In a body that is a bad request. In what a patch makes of an object it is a field `patch` that
    is invalid.
    """
    if not patched:
        return bad_request(what)
    cause = {"reason": "FieldValueInvalid", "message": f"Invalid value: {what}", "field": "patch"}
    message = f' "" is invalid: patch: {cause["message"]}'
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, {"causes": [cause]})


def invalid(subject: Subject, causes: Sequence[Cause]) -> ApiError:
    """The object would not be valid."""
    told = ", ".join(f"{cause.path}: {cause.told}" for cause in causes)
    kind = f"{subject.kind}.{subject.group}" if subject.group else subject.kind
    details = {
        "name": subject.name,
        "group": subject.group,
        "kind": subject.kind,
        "causes": [
            {"reason": cause.reason, "message": cause.told, "field": cause.path} for cause in causes
        ],
    }
    message = f'{kind} "{subject.name}" is invalid: {told}'
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, _filled(details))


def nameless(subject: Subject) -> ApiError:
    """A new object has no name, nor the beginning of one."""
    told = "Required value: name or generateName is required"
    cause = {"reason": "FieldValueRequired", "message": told, "field": "metadata.name"}
    kind = f"{subject.kind}.{subject.group}" if subject.group else subject.kind
    message = f'{kind} "" is invalid: metadata.name: {told}'
    details = {"group": subject.group, "kind": subject.kind, "causes": [cause]}
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", message, _filled(details))


def forbidden(subject: Subject, verb: str, subresource: str, namespace: str) -> ApiError:
    """The caller lacks the right."""
    resource = f"{subject.plural}/{subresource}" if subresource else subject.plural
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    named = f'{subject.resource} "{subject.name}"' if subject.name else subject.resource
    return ApiError(
        HTTPStatus.FORBIDDEN,
        "Forbidden",
        f'{named} is forbidden: User "sandbox" cannot {verb} resource "{resource}" in API group '
        f'"{subject.group}"{where}',
        _details(subject),
    )

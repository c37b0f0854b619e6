"""A request to the emulated API, taken apart: resource, name, verb, body."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from autoscaler.sandbox.kube.selectors import matcher
from autoscaler.sandbox.kube.status import (
    NoSuchPageError,
    Subject,
    bad_request,
    no_such_resource,
    not_allowed,
    unsupported_media,
)
from autoscaler.sandbox.kube.store import Object, Resource

_PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/(?P<version>[^/]+))(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[^/]+))?)?"
)
APPLY = "application/apply-patch+yaml"
"""The media type of a server-side apply, whose body is taken as JSON, which is YAML as well."""
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a request does to what, in the words of a Role's rule."""

    verb: str
    group: str
    resource: str
    """The plural; `deployments/scale` for a subresource."""
    namespace: str
    name: str
    """Empty where the request names no object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a resource that is served."""

    resource: Resource
    namespace: str
    name: str
    subresource: str
    verb: str
    body: Any
    """The decoded JSON body; None without one."""
    request: web.Request

    @property
    def subject(self) -> Subject:
        """What it is about, for a refusal."""
        return self.resource.subject(self.name)

    @property
    def manager(self) -> str:
        """The field manager, as a real server finds it."""
        agent = self.request.headers.get("User-Agent", "unknown")
        return self.request.query.get("fieldManager") or agent.split("/")[0]

    @property
    def user(self) -> str:
        """Whose token came along."""
        return self.request.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be kept."""
        return "dryRun" in self.request.query

    @property
    def right(self) -> tuple[str, str]:
        """The verb and the resource that a right is given for."""
        return self.verb, "/".join(filter(None, (self.resource.plural, self.subresource)))

    def matcher(self) -> Callable[[Object], bool]:
        """Build the test of its selectors. Raises ApiError (400)."""
        query = self.request.query
        return matcher(query.get("labelSelector", ""), query.get("fieldSelector", ""))

    def object(self) -> Object:
        """Return the body as an object. Raises ApiError (400)."""
        return mapping(self.body)

    def require_method(self) -> None:
        """Refuse a verb that the resource does not take. Raises ApiError (405)."""
        verbs = self.resource.verbs | ({"update", "patch"} if self.subresource else set())
        named = self.verb in {"get", "update", "patch", "delete"}
        if self.verb not in verbs or named is not bool(self.name):
            raise not_allowed()


def access(request: web.Request) -> Access | None:
    """Tell what a request is about, served or not; None for a path of no resource."""
    found = _PATH.fullmatch(request.path.rstrip("/"))
    if found is None:
        return None
    return Access(
        verb=_verb(request, found["name"]),
        group=found["group"] or "",
        resource="/".join(filter(None, (found["plural"], found["subresource"]))),
        namespace=found["namespace"] or "",
        name=found["name"] or "",
    )


def _verb(request: web.Request, name: str | None) -> str:
    watching = request.query.get("watch", "") in {"true", "True", "1"}
    reading = "get" if name else "watch" if watching else "list"
    return _VERBS.get(request.method, reading)


async def parse(request: web.Request, resources: Iterable[Resource]) -> Call:
    """Take a request apart. Raises ApiError (400, 404, 415), NoSuchPageError."""
    found = _PATH.fullmatch(request.path.rstrip("/"))
    group = (found["group"] or "") if found else ""
    served = [resource for resource in resources if resource.group == group]
    if found is None or not served:
        raise NoSuchPageError
    wanted = (found["version"] or "v1", found["plural"])
    resource = next((r for r in served if (r.version, r.plural) == wanted), None)
    name, subresource = found["name"] or "", found["subresource"] or ""
    if resource is None or (subresource and subresource not in resource.subresources):
        raise no_such_resource()
    return Call(
        resource=resource,
        namespace=found["namespace"] or "",
        name=name,
        subresource=subresource,
        verb=_verb(request, name),
        body=await read_body(request),
        request=request,
    )


def mapping(body: object) -> Object:
    """Insist on a JSON object. Raises ApiError (400)."""
    if not isinstance(body, dict):
        raise bad_request(f"cannot decode {type(body).__name__} into an object")
    return body


async def read_body(request: web.Request) -> Any:  # noqa: ANN401 - a JSON value is just that
    """Decode the body; None without one. Raises ApiError (400, 415)."""
    content = await request.read()
    declared = "Content-Type" in request.headers  # kubectl scale sends none
    known = request.content_type.endswith("json") or request.content_type == APPLY
    if content and declared and not known:
        raise unsupported_media(request.content_type)
    try:
        return json.loads(content) if content else None
    except ValueError as error:
        raise bad_request(f"error decoding the body: {error}") from None

"""The emulated API's HTTP side: paths, verbs, patches, watches, refusals, and the audit log."""

import asyncio
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from autoscaler.sandbox.kube import discovery
from autoscaler.sandbox.kube.calls import APPLY, Access, Call, access, mapping, parse, read_body
from autoscaler.sandbox.kube.owners import Writer, applied, note_update, set_default
from autoscaler.sandbox.kube.patches import json_patch, merge_patch, strategic_patch
from autoscaler.sandbox.kube.resources import DEPLOYMENTS, EVENTS, LEASES, PODS, SERVED
from autoscaler.sandbox.kube.rules import (
    read_lease,
    require_annotations,
    require_event,
    require_manager,
    require_name,
    require_pod,
    require_preconditions,
    require_same,
    require_uid,
    require_version,
)
from autoscaler.sandbox.kube.scale import require_replicas, scale_of, with_scale
from autoscaler.sandbox.kube.status import (
    ApiError,
    NoSuchPageError,
    bad_request,
    forbidden,
    unsupported_media,
)
from autoscaler.sandbox.kube.store import Change, Object, Resource, Store, find
from autoscaler.sandbox.kube.template import mark_deleted

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_PATCHES: dict[str, Callable[[Any, Any], Object]] = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    "application/strategic-merge-patch+json": strategic_patch,
}
_WATCH_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One write that a client asked for, refused ones included."""

    at: datetime
    who: str
    """The field manager: `fieldManager`, or the user agent up to its first slash."""
    user: str
    """Whose token it was; here a token is a name. Empty without one."""
    verb: str
    path: str
    body: object
    code: int


class Api:
    """Serves a store over plain HTTP on a loopback port of the system's choosing."""

    def __init__(self, store: Store) -> None:
        """Serve `store`; call `start`."""
        self.audit: list[AuditEntry] = []
        self.accesses: set[Access] = set()
        """Everything that clients did or tried, each once: what they need rights for."""
        self.denied: set[tuple[str, str]] = set()
        """Pairs of verb and resource, `deployments/scale` for a subresource: answered with 403."""
        self.resources: list[Resource] = list(SERVED)
        self._store = store
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The address, once started."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._serve)
        # An open watch is no reason to wait at the end.
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection; safe to call twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # --- dispatch ---------------------------------------------------------------------------

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ApiError as error:
            return web.json_response(error.body, status=error.code)
        except NoSuchPageError as error:
            return web.Response(text=error.text, status=HTTPStatus.NOT_FOUND)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = access(request)
        if asked is not None:
            self.accesses.add(asked)
        if request.path.rstrip("/") == _REVIEWS and request.method == "POST":
            return web.json_response(
                self._review(mapping(await read_body(request))), status=HTTPStatus.CREATED
            )
        described = discovery.document(request.path.rstrip("/"), self.resources)
        if described is not None and request.method == "GET":
            return web.json_response(described)
        call = await parse(request, self.resources)
        if request.method == "GET":
            return await self._read(call)
        code = HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            response = await self._write(call)
            code = HTTPStatus(response.status)
        except ApiError as error:
            code = error.code
            raise
        finally:
            self._note(call, code)
        return response

    def _permit(self, call: Call) -> None:
        if call.right in self.denied:
            raise forbidden(call.subject, call.verb, call.subresource, call.namespace)
        call.require_method()

    def _note(self, call: Call, code: HTTPStatus) -> None:
        entry = AuditEntry(
            at=datetime.now(UTC),
            who=call.manager,
            user=call.user,
            verb=call.verb,
            path=call.request.path,
            body=call.body,
            code=int(code),
        )
        self.audit.append(entry)

    def _review(self, review: Object) -> Object:
        asked = find(review, "spec", "resourceAttributes") or {}
        resource = "/".join(filter(None, (asked.get("resource"), asked.get("subresource"))))
        allowed = (asked.get("verb"), resource) not in self.denied
        status = {"allowed": allowed, "reason": "" if allowed else "denied by the sandbox"}
        return {**review, "metadata": {}, "status": status}

    # --- reading ----------------------------------------------------------------------------

    async def _read(self, call: Call) -> web.StreamResponse:
        self._permit(call)
        if call.verb == "get":
            obj = self._store.get(call.resource, call.namespace, call.name)
            return web.json_response(scale_of(obj) if call.subresource else obj)
        matches = call.matcher()
        if call.verb == "watch":
            return await self._watch(call, matches)
        items = [obj for obj in self._store.select(call.resource, call.namespace) if matches(obj)]
        body = {
            "kind": f"{call.resource.kind}List",
            "apiVersion": call.resource.api_version,
            "metadata": {"resourceVersion": str(self._store.version)},
            "items": items,
        }
        return web.json_response(body)

    async def _watch(self, call: Call, matches: Callable[[Object], bool]) -> web.StreamResponse:
        queue: asyncio.Queue[Change] = asyncio.Queue()
        version = call.request.query.get("resourceVersion", "0") or "0"
        timeout = float(call.request.query.get("timeoutSeconds", _WATCH_SECONDS))

        def relevant(change: Change) -> bool:
            namespace = change.object["metadata"]["namespace"]
            return (
                change.resource == call.resource
                and call.namespace in ("", namespace)
                and matches(change.object)
            )

        if version == "0":
            missed = [
                Change(version=0, type="ADDED", resource=call.resource, object=obj)
                for obj in self._store.select(call.resource)
            ]
        else:
            missed = self._store.since(int(version))
        for change in missed:
            queue.put_nowait(change)
        stop = self._store.listen(queue.put_nowait)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(call.request)
            async with asyncio.timeout(timeout):
                while True:
                    change = await queue.get()
                    if relevant(change):
                        event = {"type": change.type, "object": change.object}
                        await response.write(json.dumps(event).encode() + b"\n")
        except TimeoutError:
            await response.write_eof()
        except ConnectionError:
            pass  # the watcher went away
        finally:
            stop()
        return response

    # --- writing ----------------------------------------------------------------------------

    async def _write(self, call: Call) -> web.Response:
        self._permit(call)
        writers: dict[str, Callable[[Call], web.Response]] = {
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
        }
        return writers[call.verb](call)

    def _create(self, call: Call) -> web.Response:
        wanted = call.object()
        subject = call.resource.subject(find(wanted, "metadata", "name") or "")
        if call.resource == EVENTS:
            require_event(wanted, subject, call.namespace)
        if call.resource == LEASES:
            wanted = read_lease(wanted, subject)
        require_annotations(wanted, subject)
        created = self._store.create(call.resource, call.namespace, wanted)
        return web.json_response(created, status=HTTPStatus.CREATED)

    def _update(self, call: Call) -> web.Response:
        if call.resource == LEASES:
            return self._update_lease(call)
        old = self._store.get(call.resource, call.namespace, call.name)
        return self._replace(call, old, call.object())

    def _update_lease(self, call: Call) -> web.Response:
        """Replace a Lease; as on a real server, one that is not there is created."""
        wanted = call.object()
        require_name(wanted, call.name)
        wanted = read_lease(wanted, call.subject)
        held = self._store.find(call.resource, call.namespace, call.name)
        require_same(wanted, held, call.subject)
        if held is None:
            return self._create(call)
        require_version(wanted, call.subject)
        return self._replace(call, held, wanted)

    def _patch(self, call: Call) -> web.Response:
        kind = call.request.content_type
        if kind == APPLY and call.resource == DEPLOYMENTS:
            return self._apply(call)
        apply = _PATCHES.get(kind)
        if apply is None:
            raise unsupported_media(kind)
        if not isinstance(call.body, list if apply is json_patch else dict):
            raise bad_request(f"json: cannot unmarshal {type(call.body).__name__} into a patch")
        old = self._store.get(call.resource, call.namespace, call.name)
        return self._replace(
            call, old, apply(scale_of(old) if call.subresource else old, call.body)
        )

    def _apply(self, call: Call) -> web.Response:
        """Apply on the server's side, as far as it concerns the replica count."""
        old = self._store.get(call.resource, call.namespace, call.name)
        writer = Writer(require_manager(call.request.query), call.subresource, "Apply")
        force = call.request.query.get("force") == "true"
        count, owners = applied(old, call.object(), writer, force=force)
        new = strategic_patch(old, {} if call.subresource else call.object())
        new["spec"]["replicas"] = require_replicas(count, call.subject)
        new["metadata"]["managedFields"] = owners
        return self._keep(call, new)

    def _replace(self, call: Call, old: Object, wanted: Object) -> web.Response:
        require_name(wanted, call.name)
        patched = call.verb == "patch"
        require = require_uid if patched and not call.subresource else require_same
        require(wanted, old, call.subject)
        require_annotations(wanted, call.subject, patched=patched)
        if call.subresource:
            new = with_scale(old, wanted, patched=patched)
        else:
            new = deepcopy(wanted)
            new["metadata"] = {
                **(new.get("metadata") or {}),
                "name": call.name,
                "namespace": call.namespace,
            }
            if "status" in old:
                new["status"] = old["status"]  # which only controllers write
        if call.resource == DEPLOYMENTS:
            set_default(new)
            require_replicas(new["spec"]["replicas"], call.subject, patched=patched)
            note_update(old, new, Writer(call.manager, call.subresource))
        if call.resource == PODS:
            require_pod(new, call.subject)
        return self._keep(call, new)

    def _keep(self, call: Call, new: Object) -> web.Response:
        kept = new if call.dry_run else self._store.replace(call.resource, new)
        return web.json_response(scale_of(kept) if call.subresource else kept)

    def _delete(self, call: Call) -> web.Response:
        held = self._store.get(call.resource, call.namespace, call.name)
        require_preconditions(held, call.body, call.subject)
        if call.resource != PODS:
            self._store.remove(call.resource, call.namespace, call.name)
            return web.json_response({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        pod = deepcopy(held)
        asked = call.request.query.get("gracePeriodSeconds") or find(
            call.body or {}, "gracePeriodSeconds"
        )
        mark_deleted(pod, None if asked is None else int(asked))
        return web.json_response(self._store.replace(PODS, pod))

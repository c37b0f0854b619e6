"""The cluster's objects, their versions, and what changed since a version.

Objects are the JSON that goes over the wire. Whoever reads gets the stored object itself and must
not change it; a write always puts a new one in its place.
"""

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from autoscaler.sandbox.kube.status import (
    Subject,
    already_exists,
    conflict,
    expired,
    nameless,
    not_found,
)

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""
_REMEMBERED_CHANGES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of object that is served."""

    group: str
    version: str
    plural: str
    kind: str
    verbs: frozenset[str]
    subresources: frozenset[str] = frozenset()
    has_generations: bool = True

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def subject(self, name: str = "") -> Subject:
        """Name it, for a refusal."""
        return Subject(plural=self.plural, group=self.group, name=name, kind=self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write, as a watch tells it."""

    version: int
    type: str
    """ADDED, MODIFIED or DELETED."""
    resource: Resource
    object: Object


def timestamp(seconds: int = 0) -> str:
    """Return the wall-clock time in so many seconds as the API writes it: UTC, whole seconds."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_of_new_generation(resource: Resource, old: Object, new: Object) -> bool:
    # A Deployment's annotations are copied to what it makes, so they count as its spec does.
    noted = resource.kind == "Deployment" and (
        find(old, "metadata", "annotations") != find(new, "metadata", "annotations")
    )
    return noted or old.get("spec") != new.get("spec")


def find(obj: Mapping[str, Any], *path: str) -> Any:  # noqa: ANN401 - a JSON value is just that
    """Look up a nested value; None where anything on the way is absent."""
    found: Any = obj
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def key_of(obj: Mapping[str, Any]) -> Key:
    """Return the namespace and name of an object."""
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


class Store:
    """All objects by resource, namespace and name. Not thread-safe: it belongs to one loop."""

    def __init__(self) -> None:
        """Start empty."""
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self._version = 0
        self._changes: deque[Change] = deque(maxlen=_REMEMBERED_CHANGES)
        self._listeners: list[Callable[[Change], None]] = []

    @property
    def version(self) -> int:
        """The last write's number."""
        return self._version

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Find one object. Raises ApiError (404)."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource.subject(name))
        return found

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Find one object; None where there is none."""
        return self._objects.get(resource, {}).get((namespace, name))

    def select(self, resource: Resource, namespace: str = "") -> list[Object]:
        """List the objects of a namespace, or of all, in the order of their names."""
        held = self._objects.get(resource, {})
        return [held[key] for key in sorted(held) if namespace in ("", key[0])]

    def create(self, resource: Resource, namespace: str, obj: Mapping[str, Any]) -> Object:
        """Keep a new object, with the metadata that a server adds. Raises ApiError (409)."""
        created = deepcopy(dict(obj))
        metadata = created.setdefault("metadata", {})
        if "name" not in metadata and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
        name = metadata.get("name", "")
        if not name:
            raise nameless(resource.subject())
        if (namespace, name) in self._objects.get(resource, {}):
            raise already_exists(resource.subject(name))
        metadata |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": timestamp(),
        }
        if "spec" in created and resource.has_generations:
            metadata["generation"] = 1
        created |= {"apiVersion": resource.api_version, "kind": resource.kind}
        return self._keep("ADDED", resource, created)

    def replace(self, resource: Resource, obj: Mapping[str, Any]) -> Object:
        """Put an object in the place of the one with its name; without any change, do nothing.

        A `resourceVersion` in it must be that of the stored one. Raises ApiError (404, 409).
        """
        changed = deepcopy(dict(obj))
        metadata = changed.setdefault("metadata", {})
        old = self.get(resource, metadata.get("namespace", ""), metadata.get("name", ""))
        version = metadata.get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(resource.subject(metadata["name"]))
        for key in ("uid", "creationTimestamp", "resourceVersion", "generation"):
            if key in old["metadata"]:
                metadata[key] = old["metadata"][key]
        changed |= {"apiVersion": resource.api_version, "kind": resource.kind}
        if changed == old:
            return old
        if _is_of_new_generation(resource, old, changed) and "generation" in metadata:
            metadata["generation"] += 1
        return self._keep("MODIFIED", resource, changed)

    def change(self, resource: Resource, key: Key, edit: Callable[[Object], object]) -> Object:
        """Let `edit` change a copy of an object in place, and keep that. Raises ApiError (404)."""
        changed = deepcopy(self.get(resource, *key))
        edit(changed)
        return self.replace(resource, changed)

    def remove(self, resource: Resource, namespace: str, name: str) -> Object:
        """Forget an object. Raises ApiError (404)."""
        gone = deepcopy(self.get(resource, namespace, name))
        del self._objects[resource][namespace, name]
        return self._tell("DELETED", resource, gone)

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` with every change, at once; answers how to end that."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def since(self, version: int) -> list[Change]:
        """Return the changes after a version. Raises ApiError (410) where that is too long ago."""
        if self._changes and version < self._changes[0].version - 1:
            raise expired(version)
        return [change for change in self._changes if change.version > version]

    def _keep(self, kind: str, resource: Resource, obj: Object) -> Object:
        metadata = obj["metadata"]
        self._objects.setdefault(resource, {})[metadata["namespace"], metadata["name"]] = obj
        return self._tell(kind, resource, obj)

    def _tell(self, kind: str, resource: Resource, obj: Object) -> Object:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        change = Change(version=self._version, type=kind, resource=resource, object=obj)
        self._changes.append(change)
        for listener in tuple(self._listeners):
            listener(change)
        return obj

"""The three patch formats that clients send. Each answers a new document and leaves the old alone.

JSON patch follows RFC 6902 as API servers apply it, which differs in two points where a member is
absent, as `spec.replicas` is from a scale of 0: `test` with `null` holds, and `replace` adds it.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from autoscaler.sandbox.kube.status import patch_failed

Document = dict[str, Any]
_ABSENT = object()


def merge_patch(document: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """Apply an RFC 7386 merge patch: lists are replaced, null removes."""
    return _merge(document, patch, lambda _old, new: deepcopy(new))


def strategic_patch(document: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """Apply a strategic merge patch, as far as: lists of named items are merged by `name`."""
    return _merge(document, patch, _merge_named)


def _merge(
    document: Mapping[str, Any],
    patch: Mapping[str, Any],
    lists: Callable[[list[Any], list[Any]], list[Any]],
) -> Document:
    merged = deepcopy(dict(document))
    for key, value in patch.items():
        old = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _merge(old if isinstance(old, Mapping) else {}, value, lists)
        elif isinstance(value, list) and isinstance(old, list):
            merged[key] = lists(old, value)
        else:
            merged[key] = deepcopy(value)
    return merged


def _merge_named(old: list[Any], new: list[Any]) -> list[Any]:
    if not all(isinstance(item, Mapping) and "name" in item for item in (*old, *new)):
        return deepcopy(new)
    by_name = {item["name"]: deepcopy(dict(item)) for item in old}
    for item in new:
        by_name[item["name"]] = strategic_patch(by_name.get(item["name"], {}), item)
    return list(by_name.values())


def json_patch(document: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> Document:
    """Apply an RFC 6902 patch: all of it or, by an ApiError, nothing."""
    patched = deepcopy(dict(document))
    for operation in operations:
        if not isinstance(operation, Mapping) or "op" not in operation or "path" not in operation:
            raise patch_failed()
        _apply(patched, operation)
    return patched


def _apply(document: Document, operation: Mapping[str, Any]) -> None:
    parent, key = _resolve(document, str(operation["path"]))
    present = _get(parent, key)
    match operation["op"]:
        case "test":
            wanted = operation.get("value")
            if (None if present is _ABSENT else present) != wanted:
                raise patch_failed()
        case "add":
            _add(parent, key, deepcopy(operation.get("value")))
        case "replace" if isinstance(parent, list) and present is _ABSENT:
            raise patch_failed()
        case "remove" if present is _ABSENT:
            raise patch_failed()
        case "replace":
            parent[key] = deepcopy(operation.get("value"))
        case "remove":
            del parent[key]
        case _:
            raise patch_failed()


def _resolve(document: Document, path: str) -> tuple[Any, str | int]:
    if not path.startswith("/"):
        raise patch_failed()
    *way, last = (part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
    parent: Any = document
    for part in way:
        parent = _get(parent, _key(parent, part))
        if parent is _ABSENT:
            raise patch_failed()
    return parent, _key(parent, last)


def _key(parent: object, part: str) -> str | int:
    if not isinstance(parent, list):
        return part
    if part == "-":
        return len(parent)
    if not part.isdecimal():
        raise patch_failed()
    return int(part)


def _get(parent: Any, key: str | int) -> Any:  # noqa: ANN401 - a JSON value is just that
    if isinstance(parent, list):
        return parent[key] if isinstance(key, int) and key < len(parent) else _ABSENT
    if isinstance(parent, dict):
        return parent.get(key, _ABSENT)
    raise patch_failed()


def _add(parent: Any, key: str | int, value: object) -> None:  # noqa: ANN401
    if isinstance(parent, list) and isinstance(key, int):
        if key > len(parent):
            raise patch_failed()
        parent.insert(key, value)
    else:
        parent[key] = value

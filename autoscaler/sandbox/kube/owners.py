"""Who owns a Deployment's replica count: its managed fields, as updates and applies leave them.

Of all fields only `spec.replicas` is followed; what else an entry holds is left alone. Whoever
changes the count takes it from all others. An apply may share it with those who want the same, and
one that no longer names it gives it up. As on a real server, a write through the scale leaves no
time, and neither does an apply that changes nothing. And the scale knows no count of 0, and names a
new owner only in the place of another: who sets 0 through it leaves the count to nobody, and so it
stays for all that go through it, until somebody writes the Deployment itself. Who sets through it
what is there already takes the time from the count's owner.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from autoscaler.sandbox.kube.resources import DEPLOYMENTS
from autoscaler.sandbox.kube.status import ApiError
from autoscaler.sandbox.kube.store import Object, find, timestamp

_DEFAULT_REPLICAS = 1
_FIELD = ".spec.replicas"
_OWNED: Object = {"f:spec": {"f:replicas": {}}}


@dataclass(frozen=True, slots=True)
class Writer:
    """By whom and by which way something is written."""

    manager: str
    subresource: str = ""
    operation: str = "Update"

    def is_in(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether an entry of the managed fields is this writer's."""
        told = (entry.get("manager"), entry.get("subresource", ""), entry.get("operation"))
        return told == (self.manager, self.subresource, self.operation)

    def entry(self, *, changes: bool = True) -> Object:
        """Write the entry that says that the count is this writer's, whether or not it changes."""
        named = {"subresource": self.subresource} if self.subresource else {}
        timed = {"time": timestamp()} if changes and not self.subresource else {}
        return {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": DEPLOYMENTS.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": deepcopy(_OWNED),
            **timed,
            **named,
        }


def set_default(deployment: Object) -> None:
    """Give a Deployment that names no count the one that it has then."""
    if deployment["spec"].get("replicas") is None:
        deployment["spec"]["replicas"] = _DEFAULT_REPLICAS


def created_by(manager: str) -> list[Object]:
    """Write the managed fields of a new Deployment, whose default count has an owner as well."""
    return [Writer(manager).entry()]


def note_update(old: Mapping[str, Any], new: Object, writer: Writer) -> None:
    """Enter in `new` who wrote the replica count, where that changed it."""
    entries, count = _entries(old), new["spec"]["replicas"]
    if old["spec"]["replicas"] != count:
        is_told = not writer.subresource or (count and any(map(_owns, entries)))
        entries = [*_without(entries), *([writer.entry()] if is_told else [])]
    elif writer.subresource:
        entries = [*_without(entries), *_timeless(entries)]
    _keep(new, entries)


def applied(
    old: Mapping[str, Any], wanted: Mapping[str, Any], writer: Writer, *, force: bool
) -> tuple[int, list[Object]]:
    """Return the replica count after an apply, and the managed fields. Raises ApiError (409)."""
    entries = _entries(old)
    others = [entry for entry in entries if _owns(entry) and not writer.is_in(entry)]
    mine = [entry for entry in entries if _owns(entry) and writer.is_in(entry)]
    count, asked = old["spec"]["replicas"], find(wanted, "spec", "replicas")
    if asked is None:
        left = _without(entries, writer)
        return (count if others or not mine else _DEFAULT_REPLICAS), left
    if asked == count:
        return count, entries if mine else [*entries, writer.entry(changes=False)]
    if others and not force:
        raise _conflict(others)
    return asked, [*_without(entries), writer.entry()]


def _entries(deployment: Mapping[str, Any]) -> list[Object]:
    return deepcopy(deployment["metadata"].get("managedFields", []))


def _keep(deployment: Object, entries: Sequence[Object]) -> None:
    deployment["metadata"].pop("managedFields", None)
    if entries:
        deployment["metadata"]["managedFields"] = list(entries)


def _owns(entry: Mapping[str, Any]) -> bool:
    return find(entry, "fieldsV1", "f:spec", "f:replicas") is not None


def _timeless(entries: Sequence[Object]) -> Iterator[Object]:
    """Yield entries of the count's owners, for it alone and without a time."""
    for entry in filter(_owns, entries):
        owner = Writer(entry["manager"], entry.get("subresource", ""), entry["operation"])
        yield {key: value for key, value in owner.entry().items() if key != "time"}


def _without(entries: Sequence[Object], writer: Writer | None = None) -> list[Object]:
    """Take the count from all, or from one writer; who owns nothing any more has no entry."""
    return list(_left(entries, writer))


def _left(entries: Sequence[Object], writer: Writer | None) -> Iterator[Object]:
    for entry in entries:
        if not _owns(entry) or (writer is not None and not writer.is_in(entry)):
            yield entry
            continue
        rest = deepcopy(entry)
        del rest["fieldsV1"]["f:spec"]["f:replicas"]
        if not rest["fieldsV1"]["f:spec"]:
            del rest["fieldsV1"]["f:spec"]
        if rest["fieldsV1"]:
            yield rest


def _conflict(others: Sequence[Mapping[str, Any]]) -> ApiError:
    """Refuse an apply, in the words of a real server."""
    told = [_named(entry) for entry in others]
    many = "" if len(told) == 1 else "s"
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {each}", "field": _FIELD}
        for each in told
    ]
    message = f"Apply failed with {len(told)} conflict{many}: " + ", ".join(
        f"conflict with {each}: {_FIELD}" for each in told
    )
    return ApiError(HTTPStatus.CONFLICT, "Conflict", message, {"causes": causes})


def _named(entry: Mapping[str, Any]) -> str:
    part = entry.get("subresource")
    through = f' with subresource "{part}"' if part else ""
    return f'"{entry["manager"]}"{through} using {entry["apiVersion"]}'

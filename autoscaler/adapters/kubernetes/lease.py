"""One Lease object: read, created, updated; each write only where nobody else wrote in between."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kubernetes.client import CoordinationV1Api, V1Lease
from kubernetes.client.exceptions import ApiException

from autoscaler.adapters.kubernetes.client import (
    FIELD_MANAGER,
    ObjectClient,
    Right,
    need,
)
from autoscaler.errors import TargetWriteError

_GROUP = "coordination.k8s.io"
_GET = Right(verb="get", resource="leases", group=_GROUP)
_CREATE = Right(verb="create", resource="leases", group=_GROUP)
_UPDATE = Right(verb="update", resource="leases", group=_GROUP)
LEADING = (_CREATE, _GET, _UPDATE)
"""What LeaseClient needs, in the Lease's namespace."""

STATE = "ollama-autoscaler/state"
"""The annotation with what the leader leaves to the next."""

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a write is to leave in the Lease."""

    holder: str
    """Empty: nobody."""
    duration: timedelta
    """How long others must see the Lease unchanged before one of them may take it."""
    transitions: int = 0
    """How often it has changed hands."""
    state: str = ""
    """What the next leader goes on from."""
    given_back: bool = False
    """Whether the holder itself has left, so that nobody leads any more; the Lease says so by
    having no `acquireTime`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The Lease as the API has it."""

    version: str
    """Changes with every write, whoever makes it."""
    claim: Claim
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """As it has to be written again."""
    acquired: datetime | None = None
    """Since when it is held."""


class LeaseClient(ObjectClient):
    """Reads and writes one Lease, which need not be there yet."""

    def read(self) -> Lease | None:
        """Return the Lease; None where there is none. Raises TargetReadError."""
        read = CoordinationV1Api(self._client).read_namespaced_lease
        with self._reading(_GET):
            try:
                return self._lease(self._call(V1Lease, read, self._name, self._namespace))
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise

    def write(self, claim: Claim, over: Lease | None, now: datetime) -> Lease:
        """Write where the Lease still is as it was read; where there was none, create it.

        Answers what is there now. Raises ConflictError where somebody else wrote or removed it,
        ForbiddenError, TargetWriteError, UnknownWriteError.
        """
        api = CoordinationV1Api(self._client)
        body = self._body(claim, over, now)
        by = {"field_manager": FIELD_MANAGER}
        with self._translating(f"cannot {_UPDATE if over else _CREATE}", TargetWriteError):
            if over is None:
                create = api.create_namespaced_lease
                return self._lease(self._call(V1Lease, create, self._namespace, body, **by))
            update = api.replace_namespaced_lease
            return self._lease(self._call(V1Lease, update, self._name, self._namespace, body, **by))

    def _body(self, claim: Claim, over: Lease | None, now: datetime) -> dict[str, Any]:
        metadata = dict(over.metadata) if over else {}
        annotations = {**(metadata.get("annotations") or {}), STATE: claim.state}
        is_ours = over is not None and over.claim.holder == claim.holder
        acquired = (over.acquired if over and is_ours else None) or now
        spec = {
            "holderIdentity": claim.holder,
            "leaseDurationSeconds": int(claim.duration.total_seconds()),
            "acquireTime": None if claim.given_back else _micro_time(acquired),
            "renewTime": _micro_time(now),
            "leaseTransitions": claim.transitions,
        }
        names = {"name": self._name, "namespace": self._namespace}
        return {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "Lease",
            "metadata": {**metadata, **names, "annotations": annotations},
            "spec": spec,
        }

    def _lease(self, lease: V1Lease) -> Lease:
        metadata = self._client.sanitize_for_serialization(  # type: ignore[no-untyped-call]
            need(lease.metadata)
        )
        metadata.pop("managedFields", None)  # the server keeps them
        spec = lease.spec
        acquired = spec.acquire_time if spec else None
        holder = (spec.holder_identity if spec else None) or ""
        claim = Claim(
            holder=holder,
            duration=timedelta(seconds=(spec.lease_duration_seconds if spec else None) or 0),
            transitions=(spec.lease_transitions if spec else None) or 0,
            state=(metadata.get("annotations") or {}).get(STATE, ""),
            given_back=not holder and acquired is None,
        )
        return Lease(
            version=need(metadata.get("resourceVersion")),
            claim=claim,
            metadata=metadata,
            acquired=acquired,
        )


def own_namespace(file: Path = _NAMESPACE) -> str:
    """Return the namespace that this pod is in; empty where this is no pod."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _micro_time(at: datetime) -> datetime:
    """Return a time that the client writes with six digits, else the API takes it for none."""
    return at.replace(microsecond=at.microsecond or 1)

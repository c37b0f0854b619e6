"""A Deployment as somebody has written it: the parts by which `check` knows mistakes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from kubernetes.client import V1Container, V1Deployment, V1ObjectMeta
from kubernetes.utils import parse_quantity

from autoscaler.adapters.kubernetes.annotations import unknown_in
from autoscaler.adapters.kubernetes.client import FIELD_MANAGER, need
from autoscaler.adapters.lines import printable

_SHOWN_CHARACTERS = 60
_DEFAULT_GRACE_S = 30
_DEFAULT_STRATEGY = "RollingUpdate"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SLOTS = "OLLAMA_NUM_PARALLEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of the pod template."""

    name: str
    cpu_limit: Decimal | None = None
    """In cores; None: no limit."""
    drains: bool = True
    """It has a preStop hook."""
    probed: bool = True
    """It has a readiness probe."""
    slots: int | None = None
    """Requests at a time, where it says so (OLLAMA_NUM_PARALLEL)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A Deployment, but for what controllers make of it."""

    containers: tuple[Container, ...]
    grace: timedelta
    """What a pod has to end."""
    strategy: str
    applied: tuple[int, str] | None = None
    """The number of replicas that every apply writes anew, and who applies it."""
    unknown_annotations: Mapping[str, str]
    """For us, but without a meaning to us, with their values."""


def written(deployment: V1Deployment) -> Written:
    """Pick out what is needed; what the API lacks raises as `need` does."""
    metadata, spec = need(deployment.metadata), need(deployment.spec)
    pod = need(spec.template.spec)
    grace_s = pod.termination_grace_period_seconds
    strategy = spec.strategy.type if spec.strategy else None
    unknown = unknown_in(metadata.annotations or {})
    return Written(
        containers=tuple(map(_container, pod.containers)),
        grace=timedelta(seconds=_DEFAULT_GRACE_S if grace_s is None else grace_s),
        strategy=strategy or _DEFAULT_STRATEGY,
        applied=next(_applied(metadata, spec.replicas), None),
        unknown_annotations={_short(key): _short(value) for key, value in unknown.items()},
    )


def _container(container: V1Container) -> Container:
    hooks = container.lifecycle
    return Container(
        name=container.name,
        cpu_limit=_cpu_limit(container),
        drains=hooks is not None and hooks.pre_stop is not None,
        probed=container.readiness_probe is not None,
        slots=_slots(container),
    )


def _cpu_limit(container: V1Container) -> Decimal | None:
    limits = container.resources.limits if container.resources else None
    quantity = (limits or {}).get("cpu")
    if quantity is None:
        return None
    return Decimal(parse_quantity(quantity))  # type: ignore[no-untyped-call]


def _slots(container: V1Container) -> int | None:
    values = {each.name: each.value or "" for each in container.env or ()}
    told = values.get(_SLOTS, "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 6 and int(told) else None


def _applied(metadata: V1ObjectMeta, replicas: int | None) -> Iterator[tuple[int, str]]:
    """Yield the replicas that stand in an applied manifest: by kubectl, or on the server's side."""
    try:
        manifest = json.loads((metadata.annotations or {}).get(_LAST_APPLIED, "{}"))
        told = manifest["spec"]["replicas"]
    except (ValueError, LookupError, TypeError, RecursionError):
        told = None
    if type(told) is int:
        yield told, "kubectl apply"
    for entry in metadata.managed_fields or ():
        fields = entry.fields_v1 or {}
        if (
            entry.operation == "Apply"
            and entry.manager != FIELD_MANAGER
            and "f:replicas" in fields.get("f:spec", {})
        ):
            yield replicas or 0, _short(entry.manager or "unknown")


def _short(text: str) -> str:
    return printable(text[:_SHOWN_CHARACTERS])

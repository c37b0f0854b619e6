"""What the API's answers about a Deployment and its pods say, in the loop's words.

Which pods are its own is told by the pods alone: a Deployment names its ReplicaSets
`<deployment>-<pod-template-hash>` and labels the pods with that hash, so an owner of exactly that
name settles it, without the call and the right to list ReplicaSets.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from autoscaler.adapters.kubernetes.annotations import cost_before, is_marked, pause_of
from autoscaler.adapters.kubernetes.answers import Object, needed, objects, part, texts, time
from autoscaler.adapters.kubernetes.client import FIELD_MANAGER
from autoscaler.adapters.kubernetes.transport import AnswerError
from autoscaler.adapters.lines import printable
from autoscaler.decision.model import Pod
from autoscaler.decision.words import PodPhase
from autoscaler.ports import LastWriter, TargetState

_HASH_LABEL = "pod-template-hash"
_OPERATORS = {
    "In": "{0} in ({1})",
    "NotIn": "{0} notin ({1})",
    "Exists": "{0}",
    "DoesNotExist": "!{0}",
}
_PHASES = {phase.value: phase for phase in PodPhase}
_FAILING = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "PostStartHookError",
        "PreCreateHookError",
        "PreStartHookError",
        "RegistryUnavailable",
        "RunContainerError",
        "SignatureValidationFailed",
    }
)
"""Why the kubelet lets a container wait that does not come up."""

# What the API takes as the name of a pod, and what it gives as a uid. They end up in paths, log
# lines and events, so nothing else may come through, whoever answers.
_POD_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_UID = re.compile(r"[0-9A-Za-z-]{1,128}")
_LONGEST_NAME = 253
_LONGEST_MANAGER = 128
_MOST_REPLICAS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDetails:
    """What is needed to write to a pod."""

    uid: str | None
    cost: str | None
    """Its cost of deletion, if somebody else gave it one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One reading of a Deployment."""

    uid: str
    state: TargetState
    pods: Mapping[str, PodDetails]


def selector_of(deployment: Object) -> str:
    """Write a Deployment's label selector as a list takes it. Raises AnswerError."""
    selector = needed(needed(deployment, "spec", dict), "selector", dict)
    equal = [f"{key}={value}" for key, value in texts(selector, "matchLabels").items()]
    return ",".join((*equal, *map(_rule, objects(selector, "matchExpressions"))))


def _rule(rule: Object) -> str:
    form = _OPERATORS.get(needed(rule, "operator", str))
    if form is None:
        raise AnswerError("answer has a selector with an operator that nobody knows")
    return form.format(needed(rule, "key", str), ",".join(part(rule, "values", list) or ()))


def seen_of(name: str, deployment: Object, listed: Object) -> Seen:
    """Put the answers about a Deployment and the pods of its selector together.

    Raises AnswerError.
    """
    metadata = needed(deployment, "metadata", dict)
    own = [pod for pod in objects(listed, "items") if _owns(name, needed(pod, "metadata", dict))]
    # By name, which two pods of a namespace cannot share.
    held = {pod.name: (pod, answer) for answer in own for pod in [_pod(answer)]}
    pods = tuple(pod for pod, _ in held.values())
    notes = {key: texts(answer["metadata"], "annotations") for key, (_, answer) in held.items()}
    paused, paused_direction = pause_of(texts(metadata, "annotations"))
    state = TargetState(
        current=_replicas(deployment),
        ready=sum(pod.ready and not pod.deleting for pod in pods),
        pods=pods,
        addresses={key: ip for key, (_, answer) in held.items() if (ip := _address(answer))},
        marked=tuple(p.name for p in pods if is_marked(notes[p.name]) and not p.deleting),
        paused=paused,
        paused_direction=paused_direction,
        writer=_writer(metadata),
    )
    details = {
        key: PodDetails(uid=_uid(answer["metadata"]), cost=cost_before(notes[key]))
        for key, (_, answer) in held.items()
    }
    return Seen(uid=_uid(metadata) or "", state=state, pods=details)


def _uid(metadata: Object) -> str | None:
    uid = part(metadata, "uid", str)
    if uid is not None and not _UID.fullmatch(uid):
        raise AnswerError("answer has a uid that no object can have")
    return uid


def _owns(name: str, pod: Object) -> bool:
    owner_name = f"{name}-{texts(pod, 'labels').get(_HASH_LABEL)}"
    return any(
        owner.get("controller") is True
        and owner.get("kind") == "ReplicaSet"
        and owner.get("name") == owner_name
        for owner in objects(pod, "ownerReferences")
    )


def _replicas(deployment: Object) -> int:
    replicas = needed(needed(deployment, "spec", dict), "replicas", int)
    if not 0 <= replicas <= _MOST_REPLICAS:
        raise AnswerError("answer has a number of replicas that cannot be")
    return replicas


def _pod(answer: Object) -> Pod:
    metadata, status = answer["metadata"], needed(answer, "status", dict)
    name = needed(metadata, "name", str)
    if len(name) > _LONGEST_NAME or not _POD_NAME.fullmatch(name):
        raise AnswerError("answer has a pod with a name that no pod can have")
    conditions = {held.get("type"): held.get("status") for held in objects(status, "conditions")}
    return Pod(
        name=name,
        phase=_PHASES.get(part(status, "phase", str) or "", PodPhase.UNKNOWN),
        ready=conditions.get("Ready") == "True",
        deleting=part(metadata, "deletionTimestamp", str) is not None,
        created=time(metadata, "creationTimestamp"),
        unschedulable=conditions.get("PodScheduled") == "False",
        failing=not _FAILING.isdisjoint(_waits(status)),
        template=texts(metadata, "labels").get(_HASH_LABEL),
    )


def _waits(status: Object) -> Iterator[str | None]:
    """Yield why containers wait, those of the initialization too."""
    for key in ("containerStatuses", "initContainerStatuses"):
        for container in objects(status, key):
            waiting = part(part(container, "state", dict) or {}, "waiting", dict) or {}
            yield part(waiting, "reason", str)


def _address(pod: Object) -> str | None:
    return part(pod["status"], "podIP", str)


def _writer(metadata: Object) -> LastWriter | None:
    """Return who wrote the replicas last, by whatever way.

    Whoever changes a field takes it from all others. Who joins them applies the number that is
    there: so an apply came after an update, whatever their times say. Neither a write through the
    scale nor an apply that changes nothing is given a new one. Of two in the same second, which is
    as exact as the API tells it, the other one came later: our own writes always change something.
    """
    entries = [entry for entry in objects(metadata, "managedFields") if _has_replicas(entry)]
    last = max(entries, key=_order, default=None)
    if last is None:
        return None
    return LastWriter(manager=_manager(last), is_us=_is_us(last), at=time(last, "time"))


def _order(entry: Object) -> tuple[bool, datetime, bool]:
    at = time(entry, "time") or datetime.min.replace(tzinfo=UTC)
    return part(entry, "operation", str) == "Apply", at, not _is_us(entry)


def _is_us(entry: Object) -> bool:
    return part(entry, "manager", str) == FIELD_MANAGER


def _manager(entry: Object) -> str:
    return printable((part(entry, "manager", str) or "unknown")[:_LONGEST_MANAGER])


def _has_replicas(entry: Object) -> bool:
    fields = part(entry, "fieldsV1", dict) or {}
    return "f:replicas" in (part(fields, "f:spec", dict) or {})

"""A Deployment as the loop sees it.

The Deployment itself gives the replica count and the selector; the pods give the rest. Which pods
are its own is told by the pods alone: a Deployment names its ReplicaSets
`<deployment>-<pod-template-hash>` and labels the pods with that hash, so an owner of exactly that
name settles it, without the call and the right to list ReplicaSets.
"""

from kubernetes.client import (
    AppsV1Api,
    CoreV1Api,
    V1LabelSelector,
    V1ObjectMeta,
    V1Pod,
    V1PodList,
    V1Scale,
)

from autoscaler.adapters.kubernetes.client import GET_DEPLOYMENT, DeploymentClient, Right, need
from autoscaler.adapters.kubernetes.transport import AnswerError
from autoscaler.decision.model import Pod
from autoscaler.decision.words import PodPhase
from autoscaler.errors import TargetWriteError
from autoscaler.ports import TargetState

_LIST_PODS = Right(verb="list", resource="pods")
_PATCH_SCALE = Right(verb="patch", resource="deployments", subresource="scale", group="apps")
RIGHTS = (GET_DEPLOYMENT, _LIST_PODS, _PATCH_SCALE)
"""All that KubernetesTarget needs, in the target's namespace."""

_FIELD_MANAGER = "ollama-autoscaler"
_HASH_LABEL = "pod-template-hash"
_OPERATORS = {
    "In": "{0} in ({1})",
    "NotIn": "{0} notin ({1})",
    "Exists": "{0}",
    "DoesNotExist": "!{0}",
}
_PHASES = {phase.value: phase for phase in PodPhase}


class KubernetesTarget(DeploymentClient):
    """A Deployment as a ScaleTarget. Needs the RIGHTS."""

    def read(self) -> TargetState:
        """Read replicas and own pods; `ready` counts those that are ready and not being deleted.

        Raises TargetReadError.
        """
        deployment = self._read_deployment()
        with self._reading(_LIST_PODS):
            spec = need(deployment.spec)
            listed = self._call(
                V1PodList,
                CoreV1Api(self._client).list_namespaced_pod,
                self._namespace,
                label_selector=_selector(spec.selector),
            )
            pods = tuple(_pod(pod) for pod in listed.items if self._owns(need(pod.metadata)))
            ready = sum(pod.ready and not pod.deleting for pod in pods)
            return TargetState(current=need(spec.replicas), ready=ready, pods=pods)

    def scale(self, current: int, desired: int) -> None:
        """Set the replicas to `desired` if they still are `current`.

        Raises ConflictError where they are not, ForbiddenError, TargetWriteError; where nobody
        can tell whether the replicas are set now, UnknownWriteError.
        """
        # The API leaves a count of 0 out of the scale: there `null` is what the test meets.
        patch: list[dict[str, object]] = [
            {"op": "test", "path": "/spec/replicas", "value": current or None},
            {"op": "replace" if current else "add", "path": "/spec/replicas", "value": desired},
        ]
        with self._translating(f"cannot scale from {current} to {desired}", TargetWriteError):
            scale = self._call(
                V1Scale,
                AppsV1Api(self._client).patch_namespaced_deployment_scale,
                self._name,
                self._namespace,
                patch,
                field_manager=_FIELD_MANAGER,
            )
            told = (scale.spec.replicas if scale.spec else None) or 0
            if told != desired:
                raise AnswerError(f"answer has {told} replicas, must have {desired}")

    def _owns(self, pod: V1ObjectMeta) -> bool:
        name = f"{self._name}-{(pod.labels or {}).get(_HASH_LABEL)}"
        return any(
            owner.controller and owner.kind == "ReplicaSet" and owner.name == name
            for owner in pod.owner_references or ()
        )


def _selector(selector: V1LabelSelector) -> str:
    """Write a label selector as a list takes it."""
    equal = [f"{key}={value}" for key, value in (selector.match_labels or {}).items()]
    rules = [
        _OPERATORS[rule.operator].format(rule.key, ",".join(rule.values or ()))
        for rule in selector.match_expressions or ()
    ]
    return ",".join(equal + rules)


def _pod(pod: V1Pod) -> Pod:
    metadata, status = need(pod.metadata), need(pod.status)
    conditions = {held.type: held.status for held in status.conditions or ()}
    return Pod(
        name=need(metadata.name),
        phase=_PHASES.get(status.phase or "", PodPhase.UNKNOWN),
        ready=conditions.get("Ready") == "True",
        deleting=metadata.deletion_timestamp is not None,
        created=metadata.creation_timestamp,
        unschedulable=conditions.get("PodScheduled") == "False",
    )

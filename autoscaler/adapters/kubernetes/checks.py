"""What `autoscaler check` wants to know of a Deployment: values only, nothing is judged here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from kubernetes.client import (
    AppsV1Api,
    AuthorizationV1Api,
    AutoscalingV2Api,
    CustomObjectsApi,
    V1Deployment,
    V1ResourceAttributes,
    V1SelfSubjectAccessReview,
    V1SelfSubjectAccessReviewSpec,
    V2HorizontalPodAutoscalerList,
)
from kubernetes.client.exceptions import ApiException

from autoscaler.adapters.kubernetes.client import GET_DEPLOYMENT, ObjectClient, Right, need
from autoscaler.adapters.kubernetes.events import CREATE_EVENTS
from autoscaler.adapters.kubernetes.last_decision import ANNOTATING
from autoscaler.adapters.kubernetes.lease import LEADING
from autoscaler.adapters.kubernetes.target import READING, REPLACING, SCALING
from autoscaler.adapters.kubernetes.written import Written, written
from autoscaler.errors import TargetReadError

_LIST_HPAS = Right(verb="list", resource="horizontalpodautoscalers", group="autoscaling")
_LIST_SCALED_OBJECTS = Right(verb="list", resource="scaledobjects", group="keda.sh")
_SCALED_OBJECTS_VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherScaler:
    """Something else that sets the replicas of the same Deployment."""

    kind: str
    """HorizontalPodAutoscaler or ScaledObject."""
    name: str
    min_replicas: int | None
    max_replicas: int | None


class _Reviews(ObjectClient):
    """Asks the API what it would allow us."""

    def _is_allowed(self, right: Right, name: str) -> bool:
        attributes = V1ResourceAttributes(
            namespace=self._namespace,
            verb=right.verb,
            group=right.group,
            resource=right.resource,
            subresource=right.subresource,
            name=name,
        )
        spec = V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        with self._translating(f"cannot ask for the right to {right}", TargetReadError):
            review = self._call(
                V1SelfSubjectAccessReview,
                AuthorizationV1Api(self._client).create_self_subject_access_review,
                V1SelfSubjectAccessReview(spec=spec),
            )
            return need(review.status).allowed


class LeaseChecks(_Reviews):
    """Questions about the Lease by which daemons tell who acts."""

    def rights(self) -> Mapping[str, bool]:
        """Tell of each right that leadership needs whether we have it. Raises TargetReadError."""
        # None can be limited to a name that is not there yet.
        names = {right: "" if right.verb == "create" else self._name for right in LEADING}
        return {str(right): self._is_allowed(right, name) for right, name in names.items()}


class KubernetesChecks(_Reviews):
    """Questions about one Deployment; each raises TargetReadError, also for want of a right."""

    def rights(self, *, acts: bool, replaces: bool) -> Mapping[str, bool]:
        """Tell of each right that the daemon needs here whether we have it.

        `acts`: it scales; `replaces`: it replaces stuck pods as well.
        """
        writing = (*SCALING, ANNOTATING, CREATE_EVENTS) if acts else ()
        replacing = REPLACING if acts and replaces else ()
        return {
            str(right): self._is_allowed(right, self._name if _has_our_name(right) else "")
            for right in (*READING, *writing, *replacing)
        }

    def written(self) -> Written:
        """Return the Deployment as somebody has written it."""
        with self._reading(GET_DEPLOYMENT):
            read = AppsV1Api(self._client).read_namespaced_deployment
            return written(self._call(V1Deployment, read, self._name, self._namespace))

    def other_scalers(self) -> tuple[OtherScaler, ...]:
        """List the HPAs and ScaledObjects aimed at the Deployment.

        An HPA that belongs to a ScaledObject is left out: the ScaledObject is the one to mend.
        """
        return (*self._autoscalers(), *self._scaled_objects())

    def _autoscalers(self) -> Iterator[OtherScaler]:
        with self._reading(_LIST_HPAS):
            listed = self._call(
                V2HorizontalPodAutoscalerList,
                AutoscalingV2Api(self._client).list_namespaced_horizontal_pod_autoscaler,
                self._namespace,
            )
            for found in listed.items:
                metadata, spec = need(found.metadata), need(found.spec)
                owners = {owner.kind for owner in metadata.owner_references or ()}
                aim = spec.scale_target_ref
                if self._is_aim(aim.kind, aim.name) and "ScaledObject" not in owners:
                    yield OtherScaler(
                        kind="HorizontalPodAutoscaler",
                        name=need(metadata.name),
                        min_replicas=spec.min_replicas,
                        max_replicas=spec.max_replicas,
                    )

    def _scaled_objects(self) -> Iterator[OtherScaler]:
        with self._reading(_LIST_SCALED_OBJECTS):
            for found in self._list_scaled_objects():
                spec = found["spec"]
                aim = spec["scaleTargetRef"]
                if self._is_aim(aim.get("kind", "Deployment"), aim["name"]):
                    yield OtherScaler(
                        kind="ScaledObject",
                        name=found["metadata"]["name"],
                        min_replicas=spec.get("minReplicaCount"),
                        max_replicas=spec.get("maxReplicaCount"),
                    )

    def _list_scaled_objects(self) -> list[dict[str, dict[str, Any]]]:
        read = CustomObjectsApi(self._client).list_namespaced_custom_object
        right = _LIST_SCALED_OBJECTS
        where = (right.group, _SCALED_OBJECTS_VERSION, self._namespace, right.resource)
        try:
            listed: list[dict[str, dict[str, Any]]] = self._call(dict, read, *where)["items"]
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:  # the cluster has no KEDA
                return []
            raise
        return listed

    def _is_aim(self, kind: str, name: str) -> bool:
        return kind == "Deployment" and name == self._name


def _has_our_name(right: Right) -> bool:
    return right.resource == GET_DEPLOYMENT.resource

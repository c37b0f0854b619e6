"""What the emulated API serves, and with which verbs."""

from dataclasses import replace

from autoscaler.sandbox.kube.store import Resource

_READ = frozenset({"get", "list", "watch"})


def _resource(path: str, kind: str, verbs: str, *subresources: str) -> Resource:
    group, version, plural = path.split("/")
    return Resource(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        verbs=_READ | frozenset(verbs.split()),
        subresources=frozenset(subresources),
    )


DEPLOYMENTS = _resource("apps/v1/deployments", "Deployment", "update patch", "scale")
REPLICA_SETS = _resource("apps/v1/replicasets", "ReplicaSet", "")
PODS = _resource("/v1/pods", "Pod", "patch delete")
EVENTS = _resource("/v1/events", "Event", "create patch")
LEASES = replace(
    _resource("coordination.k8s.io/v1/leases", "Lease", "create update patch delete"),
    has_generations=False,
)
AUTOSCALERS = _resource(
    "autoscaling/v2/horizontalpodautoscalers", "HorizontalPodAutoscaler", "create delete"
)
SERVED = (DEPLOYMENTS, REPLICA_SETS, PODS, EVENTS, LEASES, AUTOSCALERS)

# Not served until a test adds it: most clusters have no KEDA.
SCALED_OBJECTS = _resource("keda.sh/v1alpha1/scaledobjects", "ScaledObject", "create delete")

"""The HorizontalPodAutoscaler as an object: what is asked of it, and what it says of itself."""

from dataclasses import dataclass, field

from autoscaler.hpa.rules import Behavior, Direction
from autoscaler.sandbox.hpa.replicas import Proposal
from autoscaler.sandbox.kube.resources import AUTOSCALERS
from autoscaler.sandbox.kube.store import Object, Store
from autoscaler.sandbox.kube.template import set_condition


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaSettings:
    """One HorizontalPodAutoscaler, and how fast time goes."""

    namespace: str
    name: str
    """Its own and the Deployment's."""
    low: int
    high: int
    target: int = 50
    """averageUtilization, percent of what the pods request."""
    speed: float = 1.0


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What one round of the loop comes to."""

    current: int
    wanted: int
    reason: str = ""
    """As the event SuccessfulRescale has it."""
    proposal: Proposal | None = None
    conditions: dict[str, tuple[bool, str]] = field(default_factory=dict)
    """Type to whether it holds, and its reason."""


def autoscaler_object(asked: HpaSettings) -> Object:
    """Write the object; its times are those of a cluster, not of the sandbox's speed."""
    behavior = Behavior()
    target = {"type": "Utilization", "averageUtilization": asked.target}
    return {
        "metadata": {"namespace": asked.namespace, "name": asked.name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": asked.name},
            "minReplicas": asked.low,
            "maxReplicas": asked.high,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            "behavior": {
                "scaleUp": _direction(behavior.up),
                "scaleDown": _direction(behavior.down),
            },
        },
        "status": {"desiredReplicas": 0, "currentMetrics": None},
    }


def _direction(direction: Direction) -> Object:
    policies = [
        {"type": rate.kind.capitalize(), "value": rate.value, "periodSeconds": int(rate.period)}
        for rate in direction.rates
    ]
    return {
        "stabilizationWindowSeconds": int(direction.window),
        "selectPolicy": "Max",
        "policies": policies,
    }


def write_status(store: Store, asked: HpaSettings, verdict: Verdict) -> None:
    """Tell what was seen and done in the object's status."""

    def edit(held: Object) -> None:
        numbers = {"currentReplicas": verdict.current, "desiredReplicas": verdict.wanted}
        held["status"] |= numbers
        if verdict.proposal is not None:
            value = {
                "averageUtilization": verdict.proposal.utilization,
                "averageValue": f"{verdict.proposal.milli_cores}m",
            }
            seen = {"type": "Resource", "resource": {"name": "cpu", "current": value}}
            held["status"]["currentMetrics"] = [seen]
        for kind, (holds, reason) in verdict.conditions.items():
            set_condition(held, kind, holds=holds, reason=reason)

    store.change(AUTOSCALERS, (asked.namespace, asked.name), edit)

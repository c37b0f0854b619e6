"""Kubernetes by the official client: one Deployment's replicas and pods, and what `check` asks.

client     connect, call within a timeout, turn every failure into one of ours
transport  one request, bounded in time and in size
telling    what a failure was, in a few words that are always the same
target     the loop's ScaleTarget: two reads a cycle, one write where the decision asks for it
checks     rights, other scalers, CPU limits
"""

from autoscaler.adapters.kubernetes.checks import KubernetesChecks, OtherScaler
from autoscaler.adapters.kubernetes.client import ApiClient, Right, load_client
from autoscaler.adapters.kubernetes.target import RIGHTS, KubernetesTarget

__all__ = [
    "RIGHTS",
    "ApiClient",
    "KubernetesChecks",
    "KubernetesTarget",
    "OtherScaler",
    "Right",
    "load_client",
]

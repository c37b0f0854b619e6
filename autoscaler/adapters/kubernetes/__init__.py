"""Kubernetes by the official client: one Deployment's replicas and pods, and what `check` asks.

client       connect, call within a timeout, turn every failure into one of ours
transport    one request, bounded in time and in size
telling      what a failure was, in a few words that are always the same
target       the loop's ScaleTarget: two reads a cycle, and what the decision asks to be written
answers      a raw answer, taken apart
seen         answers in the loop's words
annotations  a pause, and the marks of victims
events       Kubernetes events, in the background
reporting    which cycles are worth one
checks       rights, other scalers, CPU limits
"""

from autoscaler.adapters.kubernetes.checks import KubernetesChecks, LeaseChecks, OtherScaler
from autoscaler.adapters.kubernetes.client import FIELD_MANAGER, ApiClient, Right, load_client
from autoscaler.adapters.kubernetes.events import Events, ObjectRef
from autoscaler.adapters.kubernetes.reporting import EventReporter
from autoscaler.adapters.kubernetes.target import KubernetesTarget

__all__ = [
    "FIELD_MANAGER",
    "ApiClient",
    "EventReporter",
    "Events",
    "KubernetesChecks",
    "KubernetesTarget",
    "LeaseChecks",
    "ObjectRef",
    "OtherScaler",
    "Right",
    "load_client",
]

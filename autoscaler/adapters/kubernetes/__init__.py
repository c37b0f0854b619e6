"""Kubernetes by the official client: one Deployment's replicas and pods, and what `check` asks.

client     connect, call within a timeout, turn every failure into one of ours
transport  one request, bounded in time and in size
telling    what a failure was, in a few words that are always the same
target     the loop's ScaleTarget: two reads a cycle, one write where the decision asks for it
lease      one Lease, read and written
elector    who leads, told from the Lease: what to ask next, and what the answers mean
leadership a thread that does what the elector says
fence      a client whose writes only a leader makes
checks     rights, other scalers, CPU limits
"""

from autoscaler.adapters.kubernetes.checks import KubernetesChecks, OtherScaler
from autoscaler.adapters.kubernetes.client import ApiClient, Right, load_client
from autoscaler.adapters.kubernetes.elector import Elector, Terms
from autoscaler.adapters.kubernetes.fence import fenced
from autoscaler.adapters.kubernetes.leadership import LeadershipListeners, LeaseLeadership
from autoscaler.adapters.kubernetes.lease import LEASE_RIGHTS, LeaseClient, own_namespace
from autoscaler.adapters.kubernetes.target import RIGHTS, KubernetesTarget

__all__ = [
    "LEASE_RIGHTS",
    "RIGHTS",
    "ApiClient",
    "Elector",
    "KubernetesChecks",
    "KubernetesTarget",
    "LeadershipListeners",
    "LeaseClient",
    "LeaseLeadership",
    "OtherScaler",
    "Right",
    "Terms",
    "fenced",
    "load_client",
    "own_namespace",
]

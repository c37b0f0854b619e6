"""Kubernetes by the official client: a Deployment, the Lease, events, and what `check` asks.

target           the loop's ScaleTarget: two reads a cycle, and what the decision asks to be written
target_state     what the reads say, in the loop's words
answers          a raw answer, taken apart
annotations      a pause, the last decision, and the marks of victims

lease            one Lease, read and written
elector          who leads, told from the Lease: what to ask next, and what the answers mean
leadership       a thread that does what the elector says
fence            a client whose writes only a leader makes

events           Kubernetes events, in the background
event_reporter   which cycles are worth one
last_decision    the newest of them, as an annotation, in the background

checks           rights, other scalers, the Deployment as it is written
written          what of that is worth looking at

client           connect, call within a timeout, turn every failure into one of ours
transport        one request, bounded in time and in size
telling          what a failure was, in a few words that are always the same
"""

from autoscaler.adapters.kubernetes.checks import KubernetesChecks, LeaseChecks, OtherScaler
from autoscaler.adapters.kubernetes.client import FIELD_MANAGER, ApiClient, Right, load_client
from autoscaler.adapters.kubernetes.elector import Elector, Timing
from autoscaler.adapters.kubernetes.event_reporter import EventReporter
from autoscaler.adapters.kubernetes.events import Events, ObjectRef
from autoscaler.adapters.kubernetes.fence import fenced
from autoscaler.adapters.kubernetes.last_decision import LastDecisions
from autoscaler.adapters.kubernetes.leadership import LeadershipListeners, LeaseLeadership
from autoscaler.adapters.kubernetes.lease import LeaseClient, own_namespace
from autoscaler.adapters.kubernetes.target import KubernetesTarget
from autoscaler.adapters.kubernetes.written import Container, Written

__all__ = [
    "FIELD_MANAGER",
    "ApiClient",
    "Container",
    "Elector",
    "EventReporter",
    "Events",
    "KubernetesChecks",
    "KubernetesTarget",
    "LastDecisions",
    "LeadershipListeners",
    "LeaseChecks",
    "LeaseClient",
    "LeaseLeadership",
    "ObjectRef",
    "OtherScaler",
    "Right",
    "Timing",
    "Written",
    "fenced",
    "load_client",
    "own_namespace",
]

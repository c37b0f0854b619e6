"""An emulated Kubernetes: the part of the API that we talk to, and what stands behind it.

    store       objects, versions, changes
    api         HTTP: paths, verbs, patches, watches, refusals, audit log, accesses
    rules       what a write must have
    owners      who owns the replica count
    controller  Deployments to pods, victims in Kubernetes' own order
    kubelet     pods to containers: place, start, probe, restart, drain, end
    runtime     containers to replica processes
    cluster     all of it together: the door

Left out because nothing here needs it: authentication, roll-outs of a changed template, more than
one node and one container per pod, server-side apply of more than the replica count.
"""

from autoscaler.sandbox.kube.api import AuditEntry
from autoscaler.sandbox.kube.calls import Access
from autoscaler.sandbox.kube.cluster import Cluster, PodView
from autoscaler.sandbox.kube.runtime import Container, PodRun, ProcessRuntime, Runtime
from autoscaler.sandbox.kube.template import PodTemplate

__all__ = [
    "Access",
    "AuditEntry",
    "Cluster",
    "Container",
    "PodRun",
    "PodTemplate",
    "PodView",
    "ProcessRuntime",
    "Runtime",
]

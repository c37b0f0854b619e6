"""An emulated Horizontal Pod Autoscaler (autoscaling/v2) on CPU utilization: the rival writer.

    usage       what each pod used, as metrics-server tells it
    replicas    from the use of the pods to a number (replica_calculator.go)
    behavior    stabilization windows and rate policies (horizontal.go)
    resource    the object: what is asked of it, what it says of itself
    controller  the loop, which reads and writes through the emulated API

The algorithm, the order of its rules and the defaults are those of kubernetes/kubernetes
`pkg/controller/podautoscaler`; its events, its other metric types and several metrics at once are
left out. All of its times are divided by the sandbox's speed.
"""

from autoscaler.sandbox.hpa.controller import MANAGER, HpaController, Rescale
from autoscaler.sandbox.hpa.resource import HpaSettings

__all__ = ["MANAGER", "HpaController", "HpaSettings", "Rescale"]

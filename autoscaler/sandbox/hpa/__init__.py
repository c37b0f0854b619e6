"""An emulated Horizontal Pod Autoscaler (autoscaling/v2) on CPU utilization: the rival writer.

    usage       what each pod used, as metrics-server tells it
    replicas    from the use of the pods to a number, in the words of its status
    behavior    windows and rate policies, and the reasons of its conditions
    resource    the object: what is asked of it, what it says of itself
    controller  the loop, which reads and writes through the emulated API

The algorithm, the order of its rules and the defaults are those of `autoscaler.hpa`; HPA's other
metric types and several metrics at once are left out, and so are its events. All of its times are
divided by the sandbox's speed.
"""

from autoscaler.sandbox.hpa.controller import MANAGER, HpaController, Rescale
from autoscaler.sandbox.hpa.resource import HpaSettings

__all__ = ["MANAGER", "HpaController", "HpaSettings", "Rescale"]

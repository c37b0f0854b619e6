"""Which pods a ReplicaSet gives up first, in the order of Kubernetes' own controller.

After kubernetes/kubernetes `pkg/controller/controller_utils.go`, ActivePodsWithRanks; on one node
its rank by node is the same for all.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cmp_to_key
from math import log2
from typing import Any

from autoscaler.sandbox.kube.store import find
from autoscaler.sandbox.kube.template import condition, is_ready

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}

_Pod = Mapping[str, Any]


def deletion_order(pods: Sequence[_Pod], now: datetime) -> list[_Pod]:
    """Sort pods, the first to go first."""

    def compare(one: _Pod, other: _Pod) -> int:
        first, second = _rank(one), _rank(other)
        if first != second:
            return -1 if first < second else 1
        both_ready = is_ready(one)  # the rank says the same of the other
        by_age = _younger_first(_ready_since(one), _ready_since(other), now) if both_ready else 0
        return by_age or _by_age(one, other, now)

    return sorted(pods, key=cmp_to_key(compare))


def _by_age(one: _Pod, other: _Pod, now: datetime) -> int:
    return (
        _restarts(other) - _restarts(one)
        or _younger_first(_created(one), _created(other), now)
        or _by_uid(one, other)
    )


def _rank(pod: _Pod) -> tuple[bool, int, bool, int]:
    phase = _PHASES.get(find(pod, "status", "phase"), 1)
    return bool(find(pod, "spec", "nodeName")), phase, is_ready(pod), _cost(pod)


def _cost(pod: _Pod) -> int:
    annotations = find(pod, "metadata", "annotations") or {}
    try:
        return int(annotations.get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _younger_first(one: datetime, other: datetime, now: datetime) -> int:
    """Compare ages on a logarithmic scale, so that age decides only where it differs by much."""
    return _magnitude(now - one) - _magnitude(now - other)


def _magnitude(age: timedelta) -> int:
    nanoseconds = age.total_seconds() * 1e9
    return int(log2(nanoseconds)) if nanoseconds > 0 else -1


def _by_uid(one: _Pod, other: _Pod) -> int:
    first, second = str(one["metadata"]["uid"]), str(other["metadata"]["uid"])
    return (first > second) - (first < second)


def _restarts(pod: _Pod) -> int:
    statuses = find(pod, "status", "containerStatuses") or []
    return max((int(status["restartCount"]) for status in statuses), default=0)


def _ready_since(pod: _Pod) -> datetime:
    return datetime.fromisoformat(condition(pod, "Ready")["lastTransitionTime"])


def _created(pod: _Pod) -> datetime:
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"])

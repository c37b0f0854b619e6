"""The words of a decision, each with one meaning: in code, configuration, logs and records."""

from enum import StrEnum


class MetricType(StrEnum):
    """What the samples of a metric stand for."""

    TOTAL = "total"
    """One number for all replicas together; `target` is per replica."""
    POD = "pod"
    """One sample per pod, told apart by the label `pod`; `target` is the mean we try to hold."""


class UseFor(StrEnum):
    """Which directions a metric may ask for. Missing, it blocks shrinking all the same."""

    BOTH = "both"
    SCALE_UP = "scale_up"
    SCALE_DOWN = "scale_down"


class OnEmpty(StrEnum):
    """What an answer without any series means."""

    MISSING = "missing"
    ZERO = "zero"


class PolicyType(StrEnum):
    """The unit of a rate policy (HPA's words)."""

    PODS = "pods"
    PERCENT = "percent"


class SelectPolicy(StrEnum):
    """Which of several rate policies counts (HPA's words)."""

    MAX = "max"
    MIN = "min"
    DISABLED = "disabled"


class FallbackBehavior(StrEnum):
    """What gives the number once every metric has been missing for `hold_limit` (KEDA's words)."""

    CURRENT_REPLICAS = "current_replicas"
    STATIC = "static"
    CURRENT_IF_HIGHER = "current_if_higher"
    CURRENT_IF_LOWER = "current_if_lower"


class Mode(StrEnum):
    """Whether decisions are written."""

    ACT = "act"
    SHADOW = "shadow"


class MissingKind(StrEnum):
    """Why a metric has no usable answer."""

    STALE = "Stale"
    EMPTY = "Empty"
    NOT_A_NUMBER = "NotANumber"
    TOO_MANY_SERIES = "TooManySeries"
    FAILED = "Failed"


class PodPhase(StrEnum):
    """Kubernetes' pod phases."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


ALIVE = (PodPhase.PENDING, PodPhase.RUNNING)
"""Pods that count as replicas, unless they are being deleted."""
FINISHED = (PodPhase.SUCCEEDED, PodPhase.FAILED)
"""Pods that are left over."""


class WriteResult(StrEnum):
    """What became of the write that a decision asked for."""

    OK = "ok"
    FAILED = "failed"
    CONFLICT = "conflict"


class Direction(StrEnum):
    """Where a decision goes."""

    UP = "up"
    DOWN = "down"
    HOLD = "hold"


class Stage(StrEnum):
    """The rules of a decision, in their order."""

    QUALITY = "quality"
    STUCK = "stuck"
    RECOMMEND = "recommend"
    TOLERANCE = "tolerance"
    FEASIBILITY = "feasibility"
    STABILIZATION = "stabilization"
    COOLDOWN = "cooldown"
    RATE = "rate"
    IDLE = "idle"
    PENDING = "pending"
    BOUNDS = "bounds"
    SWITCH = "switch"
    CONFLICT = "conflict"
    VICTIMS = "victims"


class Reason(StrEnum):
    """Why a number is what it is: the same words in logs, metrics, events and dashboards."""

    ABOVE_TARGET = "AboveTarget"
    BELOW_TARGET = "BelowTarget"
    WITHIN_TOLERANCE = "WithinTolerance"
    NOT_FEASIBLE = "NotFeasible"
    STABILIZED = "Stabilized"
    COOLING_DOWN = "CoolingDown"
    RATE_LIMITED = "RateLimited"
    PODS_PENDING = "PodsPending"
    GIVEN_BACK = "GivenBack"
    AT_MINIMUM = "AtMinimum"
    AT_MAXIMUM = "AtMaximum"
    METRIC_STALE = "MetricStale"
    METRIC_EMPTY = "MetricEmpty"
    METRIC_NOT_A_NUMBER = "MetricNotANumber"
    METRIC_FAILED = "MetricFailed"
    METRIC_PARTIAL = "MetricPartial"
    TOO_MANY_SERIES = "TooManySeries"
    HOLD_EXPIRED = "HoldExpired"
    CONFLICT = "Conflict"
    PAUSED = "Paused"
    SCALING_DISABLED = "ScalingDisabled"
    SHADOW = "Shadow"
    NOT_LEADER = "NotLeader"
    NOT_IDLE = "NotIdle"
    REPLICA_STUCK = "ReplicaStuck"
    VICTIMS_UNKNOWN = "VictimsUnknown"

"""What each reason and each outcome means, in words that can be read aloud."""

from collections.abc import Mapping
from types import MappingProxyType

from autoscaler.decision.record import Outcome
from autoscaler.decision.words import Reason

MEANINGS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.ABOVE_TARGET: "the load is more than these replicas should carry",
        Reason.BELOW_TARGET: "fewer replicas are enough for the load",
        Reason.WITHIN_TOLERANCE: "what there is fits the load",
        Reason.NOT_FEASIBLE: "fewer replicas would have to grow again at once",
        Reason.STABILIZED: "the stabilization window still holds another number",
        Reason.COOLING_DOWN: "the last change in this direction is too recent",
        Reason.RATE_LIMITED: "the rate policies allow no further change now",
        Reason.PODS_PENDING: "replicas that were asked for are not there yet",
        Reason.GIVEN_BACK: "replicas that could not be started are given back",
        Reason.AT_MINIMUM: "the bounds allow no fewer",
        Reason.AT_MAXIMUM: "the bounds allow no more",
        Reason.METRIC_STALE: "a metric's last sample is too old to shrink on",
        Reason.METRIC_EMPTY: "a metric has no series, and absence is not zero",
        Reason.METRIC_NOT_A_NUMBER: "a metric's value is no usable number",
        Reason.METRIC_FAILED: "a metric could not be had",
        Reason.METRIC_PARTIAL: "some ready pods say nothing about their load",
        Reason.TOO_MANY_SERIES: "a metric answers with more series than one",
        Reason.HOLD_EXPIRED: "a metric has been missing for longer than hold_limit",
        Reason.CONFLICT: "somebody else changed replicas: it stands down for conflict_hold",
        Reason.PAUSED: "a person has paused it",
        Reason.SCALING_DISABLED: "replicas is 0: a person has switched it off",
        Reason.SHADOW: "it only watches",
        Reason.NOT_LEADER: "another daemon looks after the target",
        Reason.NOT_IDLE: "the last replica stays until nothing has been asked for a while",
        Reason.REPLICA_STUCK: "a replica has requests and does nothing about them",
        Reason.VICTIMS_UNKNOWN: "nobody knows which replica serves the least",
    }
)

ENDINGS: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.SCALED: "written",
        Outcome.REPLACED: "held, and the stuck pod was deleted",
        Outcome.HELD: "held, nothing to write",
        Outcome.DRY_RUN: "dry run, nothing was written",
        Outcome.SKIPPED: "skipped, nothing was written: it no longer led, or looked too long ago",
        Outcome.CONFLICTED: "conflict, nothing was written: replicas had changed in between",
        Outcome.FAILED: "failed: the write did not succeed",
    }
)

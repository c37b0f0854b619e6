"""A cycle in numbers: the gauges that a target has, without a word on how they are served.

What a cycle did not see has no number, never a zero.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from autoscaler.adapters.cycle_view import CycleView, MetricView
from autoscaler.decision.record import Record
from autoscaler.decision.words import Direction, MissingKind, Mode, Reason

QUALITIES = ("Fresh", "Partial", *(str(kind) for kind in MissingKind))
_REASONS = tuple(str(reason) for reason in Reason)
_DIRECTIONS = (Direction.UP, Direction.DOWN)

Values = Iterable[tuple[tuple[str, ...], float]]
"""Labels beyond the target's, and the number."""


class Gauge(NamedTuple):
    """One family: what it is called, and what a cycle says of it."""

    name: str
    text: str
    labels: tuple[str, ...]
    """Beyond the target's."""
    values: Callable[[CycleView], Values]


def _one(name: str, text: str, pick: Callable[[CycleView, Record], float | None]) -> Gauge:
    """Make a gauge with one number per target, none where it is not known."""

    def values(view: CycleView) -> Values:
        number = pick(view, view.record) if view.record else None
        return () if number is None else (((), number),)

    return Gauge(name, text, (), values)


def _each_metric(name: str, text: str, pick: Callable[[MetricView], float | None]) -> Gauge:
    """Make a gauge with one number per metric."""

    def values(view: CycleView) -> Values:
        told = ((metric.name, pick(metric)) for metric in view.metrics)
        return (((name,), number) for name, number in told if number is not None)

    return Gauge(name, text, ("metric",), values)


def _stages(view: CycleView) -> Values:
    return (((stage,), number) for stage, number in view.stages.items())


def _reasons(view: CycleView) -> Values:
    return (((reason,), reason == view.reason) for reason in _REASONS if view.record)


def _qualities(view: CycleView) -> Iterator[tuple[tuple[str, ...], float]]:
    for metric in view.metrics:
        for state in QUALITIES:
            yield (metric.name, state), state == metric.quality


def _paused(view: CycleView) -> Values:
    return (((str(way),), way in view.paused) for way in _DIRECTIONS if view.record)


def _schedules(view: CycleView) -> Values:
    if view.record is None or view.bounds is None:
        return ()
    active = view.bounds.schedule
    return (((one.name,), one.name == active) for one in view.record.policy.schedules)


GAUGES = (
    _one("desired_replicas", "What was decided.", lambda _, record: record.decision.to),
    _one(
        "current_replicas",
        "The Deployment's replicas.",
        lambda _, record: record.observation.current,
    ),
    _one("ready_replicas", "Replicas that serve.", lambda _, record: record.observation.ready),
    _one(
        "min_replicas",
        "The lower bound that is in force.",
        lambda view, _: view.bounds.min_replicas if view.bounds else None,
    ),
    _one(
        "max_replicas",
        "The upper bound that is in force.",
        lambda view, _: view.bounds.max_replicas if view.bounds else None,
    ),
    _one(
        "shadow",
        "1 where decisions are not written.",
        lambda _, record: record.mode is Mode.SHADOW,
    ),
    _one(
        "in_flight_requests",
        "Requests that the replicas are serving.",
        lambda view, _: view.in_flight,
    ),
    _one(
        "idle_seconds",
        "How long nothing has been in the system.",
        lambda view, _: None if view.idle is None else view.idle.total_seconds(),
    ),
    _one(
        "stuck_replicas",
        "Replicas that have requests and do not work on them.",
        lambda view, record: len(view.stuck) if record.policy.stuck_after else None,
    ),
    _one(
        "failing_replicas",
        "Replicas whose container does not come up.",
        lambda view, record: None if record.observation.pods is None else len(view.failing),
    ),
    _one(
        "unschedulable_replicas",
        "Replicas that no node has room for.",
        lambda view, record: None if record.observation.pods is None else len(view.unschedulable),
    ),
    Gauge("paused", "1 where a person has paused this direction.", ("direction",), _paused),
    Gauge(
        "schedule_active", "1 while the schedule's bounds are in force.", ("schedule",), _schedules
    ),
    Gauge(
        "stage_replicas", "The number after each stage of the last decision.", ("stage",), _stages
    ),
    Gauge(
        "decision_reason",
        "1 for the reason of the last decision, 0 for the others.",
        ("reason",),
        _reasons,
    ),
    _each_metric("metric_value", "A metric's total, or its mean over the pods.", lambda m: m.value),
    _each_metric("metric_target_value", "The target value per replica.", lambda m: m.target),
    _each_metric("metric_usage_ratio", "Observed by target value.", lambda m: m.usage_ratio),
    _each_metric(
        "metric_sample_age_seconds", "Age of the oldest sample that counts.", lambda m: m.age
    ),
    Gauge(
        "metric_quality",
        "1 for the state that a metric is in, 0 for the others.",
        ("metric", "quality"),
        _qualities,
    ),
)

"""A finished cycle in numbers and one sentence: what the log, the metrics and /status all tell."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from autoscaler.decision.cycle import Cycle, judge
from autoscaler.decision.model import Decision, Step
from autoscaler.decision.quality import Reading
from autoscaler.decision.recommend import usage_ratio
from autoscaler.decision.record import Outcome, Record, to_json
from autoscaler.decision.schedule import Bounds
from autoscaler.decision.words import Direction, MetricType, Reason, Stage
from autoscaler.ports import CycleReport

STAGES = (
    Stage.RECOMMEND,
    Stage.TOLERANCE,
    Stage.QUALITY,
    Stage.FEASIBILITY,
    Stage.STABILIZATION,
    Stage.COOLDOWN,
    Stage.RATE,
    Stage.IDLE,
    Stage.PENDING,
    Stage.BOUNDS,
    Stage.SWITCH,
    Stage.CONFLICT,
)
"""As they change the number: what is missing has its say once the metrics have had theirs. What
is told of stuck replicas and of victims changes no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricView:
    """One metric as the cycle judged it; what is not known is None, never zero."""

    name: str
    quality: str
    target: float
    value: float | None
    """The total; for a per-pod metric the mean over the pods that have a sample."""
    usage_ratio: float | None
    age: float | None
    """Seconds since the oldest sample that counts was measured."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleView:
    """One cycle of one target."""

    target: str
    at: datetime
    duration: timedelta
    outcome: str
    error: str
    reason: str
    """Of the decision, or why there is none; empty where no `Reason` says it."""
    record: Record | None
    """None where the cycle could not observe enough to decide; then so is `judged`."""
    judged: Cycle | None
    """What the stages were given."""
    metrics: tuple[MetricView, ...]
    sentence: str

    @property
    def decision(self) -> Decision | None:
        """Return the decision, where there is one."""
        return self.record.decision if self.record else None

    @property
    def standby(self) -> bool:
        """Tell whether another daemon looks after the target."""
        return self.reason == Reason.NOT_LEADER

    @property
    def stages(self) -> Mapping[str, int]:
        """Return the number after each stage; one that changes nothing passes it through."""
        if self.record is None:
            return {}
        changed = {step.stage: step.to for step in self.record.steps if step.to != step.from_}
        number, numbers = self.record.observation.current, {}
        for stage in STAGES:
            numbers[str(stage)] = number = changed.get(stage, number)
        return numbers

    @property
    def blind(self) -> bool:
        """Tell whether the victims were chosen without knowing what they are serving."""
        steps = self.record.steps if self.record else ()
        return any(step.reason is Reason.VICTIMS_UNKNOWN for step in steps)

    @property
    def bounds(self) -> Bounds | None:
        """Return the bounds in force at that time, schedules applied."""
        return self.judged.bounds if self.judged else None

    @property
    def stuck(self) -> tuple[str, ...]:
        """Return the pods that have requests and do not work on them."""
        return self.judged.stuck if self.judged else ()

    @property
    def failing(self) -> tuple[str, ...]:
        """Return the pods whose container does not come up."""
        return tuple(self.judged.failing) if self.judged else ()

    @property
    def unschedulable(self) -> tuple[str, ...]:
        """Return the pods that no node has room for."""
        pods = self.record.observation.pods if self.record else None
        return tuple(pod.name for pod in pods or () if pod.unschedulable and not pod.deleting)

    @property
    def idle(self) -> timedelta | None:
        """Return how long nothing has been in the system; None while something is, or may be."""
        if self.judged is None or self.judged.idle_since is None:
            return None
        return self.at - self.judged.idle_since

    @property
    def in_flight(self) -> int | None:
        """Return the requests that the replicas serve; None where one of them is not known of."""
        pods = self.record.observation.pods if self.record else None
        serving = [pod for pod in pods or () if pod.ready and not pod.deleting]
        if not serving or any(pod.in_flight is None for pod in serving):
            return None
        return sum(pod.in_flight or 0 for pod in pods or ())

    @property
    def paused(self) -> tuple[Direction, ...]:
        """Return the directions that a person has paused."""
        if self.record is None:
            return ()
        seen = self.record.observation
        if seen.paused:
            return (Direction.UP, Direction.DOWN)
        return () if seen.paused_direction is None else (seen.paused_direction,)


class Viewer(Protocol):
    """Tells of cycles."""

    def show(self, view: CycleView) -> None:
        """Take note; must not raise and must not block for long."""


class Views:
    """Makes one view of each cycle, for all who tell of it."""

    def __init__(self, *viewers: Viewer) -> None:
        self._viewers = viewers

    def report(self, report: CycleReport) -> None:
        """Show the cycle to each of them; one that breaks takes nothing from the others."""
        view = view_of(report)
        for viewer in self._viewers:
            with suppress(Exception):
                viewer.show(view)


def view_of(report: CycleReport) -> CycleView:
    """Return what there is to tell of a cycle."""
    record = report.record
    # Once more by the very function that the decision used, on the very same arguments.
    judged = judge(record.policy, record.state, record.observation) if record else None
    return CycleView(
        target=report.target,
        at=report.at,
        duration=report.duration,
        outcome=str(report.outcome),
        error=report.error,
        reason=str(record.decision.reason) if record else report.reason,
        record=record,
        judged=judged,
        metrics=_metric_views(judged) if judged else (),
        sentence=_sentence(report),
    )


def view_of_record(record: Record, error: str = "") -> CycleView:
    """Return what there is to tell of a record; how long its cycle took is not known any more."""
    return view_of(
        CycleReport(
            target=record.target,
            at=record.observation.now,
            duration=timedelta(0),
            outcome=record.outcome,
            record=record,
            error=error,
        )
    )


def plain(view: CycleView) -> dict[str, Any]:
    """Return the view as JSON-able values, in the words of logs and dashboards."""
    told: dict[str, Any] = {"target": view.target}
    if view.record and view.decision:
        told |= {
            "from": view.decision.from_,
            "to": view.decision.to,
            "direction": str(view.decision.direction),
            "reason": view.reason,
            "ready": view.record.observation.ready,
            "metrics": {metric.name: _plain_metric(metric) for metric in view.metrics},
            "mode": str(view.record.mode),
            **_matters(view, view.record),
        }
    elif view.reason:
        told["reason"] = view.reason
    told |= {"outcome": view.outcome, "duration": round(view.duration.total_seconds(), 4)}
    if view.error:
        told["error"] = view.error
    return told | {"sentence": view.sentence}


def _matters(view: CycleView, record: Record) -> dict[str, Any]:
    """Return what is told only where there is something to tell."""
    foreign = record.observation.foreign_write
    told = {
        "victims": list(record.decision.victims),
        "blind": view.blind,
        "replace": record.decision.replace,
        "stuck": list(view.stuck),
        "failing": list(view.failing),
        "unschedulable": list(view.unschedulable),
        "paused": [str(direction) for direction in view.paused],
        "schedule": view.bounds.schedule if view.bounds else "",
        "foreign_writer": foreign.manager if foreign else None,
    }
    return {key: value for key, value in told.items() if value}


def _plain_metric(metric: MetricView) -> dict[str, Any]:
    told = {
        "value": to_json(metric.value),
        "ratio": to_json(metric.usage_ratio),
        "age": metric.age,
        "quality": metric.quality,
        "detail": metric.detail,
    }
    return {key: value for key, value in told.items() if value not in (None, "")}


def _metric_views(cycle: Cycle) -> tuple[MetricView, ...]:
    return tuple(_metric_view(reading, cycle.working) for reading in cycle.readings)


def _metric_view(reading: Reading, working: int) -> MetricView:
    ratio = None if reading.missing else usage_ratio(reading, working)
    return MetricView(
        name=reading.metric.name,
        quality=reading.quality,
        target=reading.metric.target,
        value=_value(reading),
        usage_ratio=None if ratio is None else round(ratio, 6),
        age=None if reading.age is None else round(reading.age.total_seconds(), 3),
        detail=reading.detail,
    )


def _value(reading: Reading) -> float | None:
    if reading.missing:
        return None
    if reading.metric.type is MetricType.TOTAL:
        return round(reading.load, 6)
    return round(reading.load / reading.counted, 6) if reading.counted else None


def _sentence(report: CycleReport) -> str:
    if report.reason == Reason.NOT_LEADER:
        return f"{report.target}: stands by, another daemon leads"
    if report.record is None:
        error = report.error.removeprefix(f"{report.target}: ")  # most errors begin with it
        return f"{report.target}: {report.outcome}: {error}"
    decision = report.record.decision
    if decision.from_ == decision.to:
        moved = f"holds {decision.from_}"
    else:
        moved = f"{decision.from_} -> {decision.to}"
    why = _because(report.record.steps, decision)
    sentence = f"{report.target}: {moved}, {decision.reason}{f' ({why})' if why else ''}"
    return "; ".join([sentence, *_victims(report.record.steps), *_ending(report, decision)])


def _victims(steps: tuple[Step, ...]) -> list[str]:
    """Return which pods are to go, and what they were serving."""
    return [f"victims {step.detail}" for step in steps if step.stage is Stage.VICTIMS]


def _ending(report: CycleReport, decision: Decision) -> list[str]:
    """Return how it ended, where the move does not say it."""
    if report.outcome in (Outcome.SCALED, Outcome.HELD):
        return []
    what = decision.replace if report.outcome == Outcome.REPLACED else report.error
    return [f"{report.outcome}{f': {what}' if what else ''}"]


def _because(steps: tuple[Step, ...], decision: Decision) -> str:
    """Return what the rule behind the decision's reason said, and those that shortened a move."""
    if decision.from_ == decision.to:
        told = [step for step in steps if step.reason == decision.reason][-1:]
    else:
        first = [step.reason for step in steps].index(decision.reason)
        later = [step for step in steps[first + 1 :] if step.from_ != step.to]
        told = [steps[first], *later]
    return "; ".join(step.detail for step in told if step.detail)

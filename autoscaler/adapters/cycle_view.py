"""A finished cycle in numbers and one sentence: what the log, the metrics and /status all tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from autoscaler.decision.model import Decision, Step
from autoscaler.decision.quality import Reading, read_metrics
from autoscaler.decision.recommend import usage_ratio
from autoscaler.decision.record import Record, to_json
from autoscaler.decision.words import MetricType, Stage
from autoscaler.ports import CycleReport

_FIRST = (Stage.RECOMMEND, Stage.TOLERANCE, Stage.QUALITY)
STAGES = (*_FIRST, *(stage for stage in Stage if stage not in _FIRST))
"""As they change the number: what is missing has its say once the metrics have had theirs."""


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
    mode: str | None
    decision: Decision | None
    """None where the cycle could not observe enough to decide; then `record` is None, too."""
    record: Record | None
    metrics: tuple[MetricView, ...]
    sentence: str

    @property
    def reason(self) -> str:
        """Return the decision's reason; empty where there is no decision."""
        return str(self.decision.reason) if self.decision else ""

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


def view_of(report: CycleReport) -> CycleView:
    """Return what there is to tell of a cycle."""
    record = report.record
    return CycleView(
        target=report.target,
        at=report.at,
        duration=report.duration,
        outcome=str(report.outcome),
        error=report.error,
        mode=str(record.mode) if record else None,
        decision=record.decision if record else None,
        record=record,
        metrics=_metric_views(record) if record else (),
        sentence=_sentence(report),
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
            "mode": view.mode,
        }
    told |= {"outcome": view.outcome, "duration": round(view.duration.total_seconds(), 4)}
    if view.error:
        told["error"] = view.error
    return told | {"sentence": view.sentence}


def _plain_metric(metric: MetricView) -> dict[str, Any]:
    told = {
        "value": to_json(metric.value),
        "ratio": to_json(metric.usage_ratio),
        "age": metric.age,
        "quality": metric.quality,
        "detail": metric.detail,
    }
    return {key: value for key, value in told.items() if value not in (None, "")}


def _metric_views(record: Record) -> tuple[MetricView, ...]:
    # Judged again by the very function that the decision used, on the very same arguments.
    readings = read_metrics(record.policy, record.state, record.observation)
    return tuple(_metric_view(reading, record.observation.current) for reading in readings)


def _metric_view(reading: Reading, current: int) -> MetricView:
    ratio = None if reading.missing else usage_ratio(reading, current)
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
    if report.outcome in ("scaled", "held"):
        return sentence
    return f"{sentence}; {report.outcome}{f': {report.error}' if report.error else ''}"


def _because(steps: tuple[Step, ...], decision: Decision) -> str:
    """Return what the rule behind the decision's reason said, and those that shortened a move."""
    if decision.from_ == decision.to:
        told = [step for step in steps if step.reason == decision.reason][-1:]
    else:
        first = [step.reason for step in steps].index(decision.reason)
        later = [step for step in steps[first + 1 :] if step.from_ != step.to]
        told = [steps[first], *later]
    return "; ".join(step.detail for step in told if step.detail)

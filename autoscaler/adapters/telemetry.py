"""What a cycle says to the outside: one log line, and the numbers behind `/metrics`."""

import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, TextIO

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from autoscaler.adapters.cycle_view import CycleView, plain, view_of
from autoscaler.adapters.lines import LineWriter
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import MissingKind, Reason
from autoscaler.ports import CycleReport

QUALITIES = ("Fresh", "Partial", *(str(kind) for kind in MissingKind))
_LEVELS = {Outcome.FAILED: "error", Outcome.CONFLICTED: "warning", Outcome.SKIPPED: "warning"}
_DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

Event = dict[str, Any]

# Else each counter brings one more series, which no dashboard asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


# --- log ----------------------------------------------------------------------------------------


class Log:
    """Structured lines on one stream: JSON for machines, text for people. No cycle waits for it."""

    def __init__(self, *, level: str = "info", form: str = "auto", stream: TextIO) -> None:
        on_terminal = stream.isatty()
        as_text = form == "text" or (form == "auto" and on_terminal)
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="time")
        words: list[Any] = [structlog.processors.add_log_level, stamp]
        if as_text:
            words += [
                _shorten,
                structlog.dev.ConsoleRenderer(colors=on_terminal, timestamp_key="time"),
            ]
        else:
            words += [_ordered, structlog.processors.JSONRenderer()]
        self._lines = LineWriter(stream)
        self._logger = structlog.wrap_logger(
            _Plain(self._lines),
            processors=words,
            wrapper_class=structlog.make_filtering_bound_logger(level),
            cache_logger_on_first_use=True,
        )
        self._lock = Lock()

    def tell(self, level: str, event: str, **fields: object) -> None:
        """Write one line."""
        with self._lock:
            if lost := self._lines.take_lost():
                self._logger.error("lost", lines=lost)
            getattr(self._logger, level)(event, **fields)

    def report(self, report: CycleReport) -> None:
        """Write the one line of a cycle."""
        level = _LEVELS.get(Outcome(report.outcome), "info")
        self.tell(level, "cycle", **plain(view_of(report)))

    def close(self) -> None:
        """Wait for the last lines, though not for long."""
        self._lines.close()

    def adopt_libraries(self) -> None:
        """Take over what the libraries below us warn of."""
        handler = _Adopted(self)
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
        # It warns of every cycle that is late, which is a metric here, and of nothing else.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)


class _Plain:
    """What structlog hands its finished lines to."""

    def __init__(self, lines: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = lines.write


class _Adopted(logging.Handler):
    """Turns a library's log record into a line of ours."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's message."""
        level = record.levelname.lower()
        level = level if level in ("debug", "info", "warning", "error") else "error"
        self._log.tell(level, "library", logger=record.name, message=record.getMessage())


def _ordered(_logger: object, _method: str, event: Event) -> Event:
    """Let every line begin with the same three words."""
    return {key: event.pop(key) for key in ("time", "level", "event")} | event


def _shorten(_logger: object, _method: str, event: Event) -> Event:
    """Put a cycle's sentence first and leave out what it has said already."""
    if event.get("event") != "cycle":
        return event
    short = {key: event[key] for key in ("level", "time") if key in event}
    metrics = event.get("metrics", {})
    return short | {
        "event": event["sentence"],
        **{name: _compact(metric) for name, metric in metrics.items()},
        **{key: event[key] for key in ("ready",) if key in event},
        "ms": round(event["duration"] * 1000),
    }


def _compact(metric: Event) -> str:
    if "value" not in metric:
        return str(metric["quality"])
    ratio = f" ({metric['ratio']:.2f}x)" if isinstance(metric.get("ratio"), float) else ""
    return f"{metric['value']:g}{ratio}"


# --- metrics ------------------------------------------------------------------------------------


class Metrics:
    """The daemon's own numbers, in a registry of their own."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._views = _Views()
        self._registry.register(self._views)
        self._cycles = self._counter("cycles", "Finished cycles.", "outcome", "reason")
        self._writes = self._counter("writes", "Successful writes of replicas.", "direction")
        self._overruns = self._counter("cycle_overruns", "Cycles left out: the last one still ran.")
        self._durations = Histogram(
            "autoscaler_cycle_duration_seconds",
            "From the start of a cycle to its end.",
            ("target",),
            registry=self._registry,
            buckets=_DURATIONS,
        )
        build = GaugeMetricFamily(
            "autoscaler_build_info", "The version that runs.", labels=["version"]
        )
        build.add_metric([version], 1)
        self._registry.register(_Constant(build))
        ProcessCollector(registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        name = f"autoscaler_{name}"
        return Counter(name, text, ("target", *labels), registry=self._registry)

    def expect(self, target: str) -> None:
        """Begin a target's counters at zero, so that their first rise is seen."""
        self._overruns.labels(target)
        for direction in ("up", "down"):
            self._writes.labels(target, direction)

    def report(self, report: CycleReport) -> None:
        """Count the cycle and keep what it saw."""
        view = view_of(report)
        self._views.keep(view)
        self._cycles.labels(view.target, view.outcome, view.reason).inc()
        self._durations.labels(view.target).observe(view.duration.total_seconds())
        if view.outcome == Outcome.SCALED and view.decision:
            self._writes.labels(view.target, str(view.decision.direction)).inc()

    def overrun(self, target: str) -> None:
        """Count a cycle that was left out because the last one was still running."""
        self._overruns.labels(target).inc()

    def page(self) -> tuple[str, bytes]:
        """Return the content type and the text of `/metrics`."""
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)


class _Constant(Collector):
    """A family that never changes."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


class _Views(Collector):
    """Gauges of each target's last cycle. What a cycle did not see has no series, never a zero."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._views: dict[str, CycleView] = {}
        self._failures: dict[str, int] = {}
        self._decided: dict[str, float] = {}

    def keep(self, view: CycleView) -> None:
        """Let this view take the place of the target's last."""
        failed = view.outcome in (Outcome.FAILED, Outcome.SKIPPED)
        with self._lock:
            self._views[view.target] = view
            self._failures[view.target] = self._failures.get(view.target, 0) + 1 if failed else 0
            if view.decision:
                self._decided[view.target] = view.at.timestamp()

    def collect(self) -> Iterator[Metric]:
        """Yield every family, each with the targets that it is known of."""
        with self._lock:
            views, failures = tuple(self._views.values()), dict(self._failures)
            decided = dict(self._decided)
        yield _family(
            "consecutive_failures", "Cycles in a row that did not do what they should.", failures
        )
        yield _family("last_decision_timestamp_seconds", "Time of the last decision.", decided)
        for name, text, pick in _REPLICAS:
            yield _family(name, text, {v.target: pick(v) for v in views if v.decision})
        yield from _decision_families(views)
        yield from _metric_families(views)


def _family(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"autoscaler_{name}", text, labels=["target"])
    for target, value in values.items():
        family.add_metric([target], value)
    return family


def _decision_families(views: tuple[CycleView, ...]) -> Iterator[Metric]:
    stages = GaugeMetricFamily(
        "autoscaler_stage_replicas",
        "The number after each stage of the last decision.",
        labels=["target", "stage"],
    )
    reasons = GaugeMetricFamily(
        "autoscaler_decision_reason",
        "1 for the reason of the last decision, 0 for the others.",
        labels=["target", "reason"],
    )
    for view in views:
        for stage, number in view.stages.items():
            stages.add_metric([view.target, stage], number)
        for reason in Reason if view.decision else ():
            reasons.add_metric([view.target, str(reason)], float(reason == view.reason))
    yield stages
    yield reasons


def _metric_families(views: tuple[CycleView, ...]) -> Iterator[Metric]:
    names = {
        "metric_value": "A metric's total, or its mean over the pods.",
        "metric_target_value": "The target value per replica.",
        "metric_usage_ratio": "Observed by target value.",
        "metric_sample_age_seconds": "Age of the oldest sample that counts.",
    }
    families = {
        name: GaugeMetricFamily(f"autoscaler_{name}", text, labels=["target", "metric"])
        for name, text in names.items()
    }
    quality = GaugeMetricFamily(
        "autoscaler_metric_quality",
        "1 for the state that a metric is in, 0 for the others.",
        labels=["target", "metric", "quality"],
    )
    for view in views:
        for metric in view.metrics:
            values = (metric.value, metric.target, metric.usage_ratio, metric.age)
            for family, value in zip(families.values(), values, strict=True):
                if value is not None:
                    family.add_metric([view.target, metric.name], value)
            for state in QUALITIES:
                quality.add_metric(
                    [view.target, metric.name, state], float(state == metric.quality)
                )
    yield from families.values()
    yield quality


def _replicas(pick: Callable[[Any], int]) -> Callable[[CycleView], float]:
    return lambda view: float(pick(view.record))


_REPLICAS = (
    ("desired_replicas", "What was decided.", _replicas(lambda r: r.decision.to)),
    ("current_replicas", "The Deployment's replicas.", _replicas(lambda r: r.observation.current)),
    ("ready_replicas", "Replicas that serve.", _replicas(lambda r: r.observation.ready)),
    ("min_replicas", "The lower bound.", _replicas(lambda r: r.policy.min_replicas)),
    ("max_replicas", "The upper bound.", _replicas(lambda r: r.policy.max_replicas)),
    ("shadow", "1 where decisions are not written.", _replicas(lambda r: int(r.mode == "shadow"))),
)

"""What a cycle says to the outside: one log line, and the numbers behind `/metrics`."""

import logging
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any, TextIO

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from autoscaler.adapters.cycle_view import CycleView, plain
from autoscaler.adapters.gauges import GAUGES
from autoscaler.adapters.lines import LineWriter, printable
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import Direction, Reason

_LEVELS = {Outcome.FAILED: "error", Outcome.CONFLICTED: "warning", Outcome.SKIPPED: "warning"}
_SHORT = ("ready", "stuck", "failing", "unschedulable", "paused", "schedule", "foreign_writer")
"""What a text line tells beside the sentence and the metrics."""
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
                _harmless,
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

    def show(self, view: CycleView) -> None:
        """Write the one line of a cycle."""
        level = "debug" if view.standby else _LEVELS.get(Outcome(view.outcome), "info")
        self.tell(level, "cycle", **plain(view))

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
        **{key: event[key] for key in _SHORT if key in event},
        "ms": round(event["duration"] * 1000),
    }


def _harmless(_logger: object, _method: str, event: Event) -> Event:
    """Let no text from outside make a line of its own; what is no text is shown by its repr."""
    return {
        key: printable(value) if isinstance(value, str) else value for key, value in event.items()
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
        self._latest = _Latest()
        self._registry.register(self._latest)
        self._of_targets: list[Counter | Histogram] = []
        self._cycles = self._counter("cycles", "Finished cycles.", "outcome", "reason")
        self._writes = self._counter("writes", "Successful writes of replicas.", "direction")
        self._overruns = self._counter("cycle_overruns", "Cycles left out: the last one still ran.")
        self._replaced = self._counter("replaced_replicas", "Stuck replicas that were replaced.")
        self._foreign = self._counter("foreign_writes", "Changes of replicas by somebody else.")
        self._blind = self._counter(
            "blind_shrinks", "Writes that shrank without knowing what the replicas were serving."
        )
        self._durations = Histogram(
            "autoscaler_cycle_duration_seconds",
            "From the start of a cycle to its end.",
            ("target",),
            registry=self._registry,
            buckets=_DURATIONS,
        )
        self._of_targets.append(self._durations)
        self._daemon = _DaemonNumbers(self._registry)
        build = GaugeMetricFamily(
            "autoscaler_build_info", "The version that runs.", labels=["version"]
        )
        build.add_metric([version], 1)
        self._registry.register(_Constant(build))
        ProcessCollector(registry=self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(f"autoscaler_{name}", text, ("target", *labels), registry=self._registry)
        self._of_targets.append(counter)
        return counter

    # --- of a target ---

    def expect(self, target: str) -> None:
        """Begin a target's counters at zero, so that their first rise is seen."""
        for counter in (self._overruns, self._replaced, self._foreign, self._blind):
            counter.labels(target)
        for direction in (Direction.UP, Direction.DOWN):
            self._writes.labels(target, direction)
        # Of all the reasons, the one whose rise calls for somebody.
        self._cycles.labels(target, Outcome.SCALED, Reason.GIVEN_BACK)

    def forget(self, target: str) -> None:
        """Tell of a target no longer, once its last cycle has ended."""
        self._latest.forget(target)
        for metric in self._of_targets:
            metric.remove_by_labels({"target": target})

    def show(self, view: CycleView) -> None:
        """Count the cycle and keep what it saw."""
        self._cycles.labels(view.target, view.outcome, view.reason).inc()
        if view.standby:
            self._latest.forget(view.target)
            return
        self._latest.keep(view)
        self._durations.labels(view.target).observe(view.duration.total_seconds())
        if view.record and view.record.observation.foreign_write:
            self._foreign.labels(view.target).inc()
        if view.outcome == Outcome.REPLACED:
            self._replaced.labels(view.target).inc()
        if view.outcome == Outcome.SCALED and view.decision:
            self._writes.labels(view.target, view.decision.direction).inc()
            if view.blind:
                self._blind.labels(view.target).inc()

    def overrun(self, target: str) -> None:
        """Count a cycle that was left out because the last one was still running."""
        self._overruns.labels(target).inc()

    # --- of the daemon ---

    def leading(self, leads: bool) -> None:  # noqa: FBT001
        """Tell whether this daemon leads; to be called at the start too, else nothing is told."""
        self._daemon.lead(leads=leads)

    def renew_failed(self) -> None:
        """Count a renewal of the lease that failed."""
        self._daemon.renewals.inc()

    def config_reloaded(self, ok: bool) -> None:  # noqa: FBT001
        """Count a changed configuration that was taken over, or refused and the old one kept."""
        self._daemon.reload(ok=ok)

    def page(self) -> tuple[str, bytes]:
        """Return the content type and the text of `/metrics`."""
        return CONTENT_TYPE_LATEST, generate_latest(self._registry)


class _DaemonNumbers:
    """What concerns no single target: who leads, and which configuration is in force."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = Lock()
        self._leader: Gauge | None = None
        self.renewals = Counter(
            "autoscaler_lease_renew_failures",
            "Renewals of the lease that failed.",
            registry=registry,
        )
        self._good = Gauge(
            "autoscaler_config_reload_success",
            "1 unless the configuration was changed and refused; then an older one is in force.",
            registry=registry,
        )
        self._reloads = Counter(
            "autoscaler_config_reloads",
            "Changes of the configuration.",
            ("result",),
            registry=registry,
        )
        self._good.set(1)  # with a bad one it would not have started
        for result in ("ok", "refused"):
            self._reloads.labels(result)

    def lead(self, *, leads: bool) -> None:
        """Tell it from now on: a zero before anything is known would raise an alarm."""
        with self._lock:
            if self._leader is None:
                self._leader = Gauge(
                    "autoscaler_leader", "1 leads, 0 stands by.", registry=self._registry
                )
            self._leader.set(int(leads))

    def reload(self, *, ok: bool) -> None:
        """Count it."""
        self._good.set(int(ok))
        self._reloads.labels("ok" if ok else "refused").inc()


class _Constant(Collector):
    """A family that never changes."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


class _Latest(Collector):
    """Gauges of each target's last cycle, made when they are asked for."""

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

    def forget(self, target: str) -> None:
        """Show nothing of a target that others look after now."""
        with self._lock:
            for known in (self._views, self._failures, self._decided):
                known.pop(target, None)

    def collect(self) -> Iterator[Metric]:
        """Yield every family, each with the targets that it is known of."""
        with self._lock:
            views, failures = tuple(self._views.values()), dict(self._failures)
            decided = dict(self._decided)
        yield _family(
            "consecutive_failures", "Cycles in a row that did not do what they should.", failures
        )
        yield _family("last_decision_timestamp_seconds", "Time of the last decision.", decided)
        for gauge in GAUGES:
            labels = ["target", *gauge.labels]
            family = GaugeMetricFamily(f"autoscaler_{gauge.name}", gauge.text, labels=labels)
            for view in views:
                for values, number in gauge.values(view):
                    family.add_metric([view.target, *values], number)
            yield family


def _family(name: str, text: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"autoscaler_{name}", text, labels=["target"])
    for target, value in values.items():
        family.add_metric([target], value)
    return family

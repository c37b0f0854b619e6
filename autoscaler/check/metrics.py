"""Every query asked once, and its answer judged exactly as a cycle would."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from autoscaler.check import findings
from autoscaler.check.findings import Finding
from autoscaler.check.queries import look_at, selectors_of
from autoscaler.check.world import Source, World
from autoscaler.decision.model import Missing, Observation, ScalingState
from autoscaler.decision.quality import Reading, read_metrics
from autoscaler.decision.words import Reason
from autoscaler.duration import format_duration
from autoscaler.ports import MetricQuery, TargetState
from autoscaler.settings import Settings, TargetSettings, to_policy, to_queries
from autoscaler.settings.target import MetricSettings

_ANYTHING = MetricQuery(name="anything", query="vector(1)")
_OF_RATES = {"rate", "irate", "increase", "delta", "idelta", "deriv", "predict_linear"}
"""They need two samples at least."""
_NEARLY = 0.95
"""Samples are never quite as far apart as they should be."""


def look_at_prometheus(settings: Settings, world: World) -> Iterator[Finding]:
    """Ask for something that needs no data; a finding where not even that is answered."""
    answer = world.source.ask([_ANYTHING], world.now)[_ANYTHING.name]
    if isinstance(answer, Missing):
        url, why = settings.prometheus.url, answer.detail
        yield findings.error("prometheus.url", f"{url}: {why}", _prometheus_advice(url, why))


def _prometheus_advice(url: str, why: str) -> str:
    if why.startswith("bearer_token_file"):
        return findings.BEARER_ADVICE
    if why.startswith(("HTTP 401", "HTTP 403")):
        return "give it prometheus.bearer_token_file or prometheus.headers"
    if "certificate" in why or "TLS" in why:
        return "name its authority in prometheus.ca_file"
    if why.startswith("timeout"):
        return "raise prometheus.timeout, or look why Prometheus is slow"
    return f"correct prometheus.url until `curl {url.rstrip('/')}/-/ready` is answered"


def look_at_answers(
    settings: Settings, target: TargetSettings, state: TargetState | None, world: World
) -> Iterator[Finding]:
    """Ask every query and judge the answers exactly as a cycle would."""
    observation = Observation(
        now=world.now,
        current=state.current if state else 0,
        ready=state.ready if state else 0,
        pods=state.pods if state else None,
        metrics=world.source.ask(to_queries(target), world.now),
    )
    # What is wrong with a query itself says more than the answer that comes of it.
    told = {finding.where for finding in look_at(settings, target)}
    spacings = {metric.name: _spacing(metric, world.source) for metric in target.metrics}
    for metric in target.metrics:
        found = list(_times(target, metric, spacings[metric.name]))
        told |= {finding.where for finding in found}
        yield from found
    known = [each for each in spacings.values() if each is not None]
    if len(known) == len(spacings):
        yield from _interval(settings, target, known)
    for reading in read_metrics(to_policy(target), ScalingState(), observation):
        where = f"{target.name} {reading.metric.name}"
        if reading.whole:
            yield findings.ok(where, _told(reading))
        elif where not in told:
            yield _answer(where, reading)


# --- how often there is something new -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spacing:
    """How far apart the samples are that a metric is made of."""

    least: timedelta
    most: timedelta
    rates: tuple[tuple[timedelta, timedelta], ...]
    """Of each rate: its window, and how far apart its samples are."""


def _spacing(metric: MetricSettings, source: Source) -> _Spacing | None:
    spans = {each: source.spacing(each.plain) for each in selectors_of(metric)}
    known = {each: span for each, span in spans.items() if span is not None}
    if not known:
        return None
    rates = (
        (each.place.range, span)
        for each, span in known.items()
        if each.function in _OF_RATES and each.place.range is not None
    )
    return _Spacing(least=min(known.values()), most=max(known.values()), rates=tuple(rates))


def _times(
    target: TargetSettings, metric: MetricSettings, spacing: _Spacing | None
) -> Iterator[Finding]:
    if spacing is None:
        return
    where = f"{target.name} {metric.name}"
    for window, span in spacing.rates:
        if window < 2 * _NEARLY * span:
            what = f"a rate over {format_duration(window)} of samples {_short(span)} apart"
            step = f"take a range of four times that, [{_short(4 * span)}], or scrape more often"
            yield findings.error(where, f"{what} often has no answer: it needs two", step)
    if metric.max_age < _NEARLY * spacing.most:
        what = f"max_age {format_duration(metric.max_age)}, and samples come {_short(spacing.most)}"
        step = f"raise max_age to {_short(2 * spacing.most)} or more, or scrape more often"
        yield findings.error(where, f"{what} apart: it is stale most of the time", step)


def _interval(
    settings: Settings, target: TargetSettings, spacings: list[_Spacing]
) -> Iterator[Finding]:
    least = min(each.least for each in spacings)
    if settings.interval < _NEARLY * least:
        what = (
            f"interval {format_duration(settings.interval)}, and no metric has a new sample more "
            f"often than every {_short(least)}: most cycles see nothing new"
        )
        step = f"scrape the gateway more often, or set interval: {_short(least)}"
        yield findings.warning(target.name, what, step)


def _short(span: timedelta) -> str:
    """Write a measured span without what is not meant by it."""
    digits = 0 if span >= timedelta(seconds=1) else 2
    return format_duration(timedelta(seconds=round(span.total_seconds(), digits)))


# --- what the answers are worth -----------------------------------------------------------------


def _answer(where: str, reading: Reading) -> Finding:
    finding = findings.error if reading.missing else findings.warning
    return finding(where, f"{reading.quality}: {reading.detail}".rstrip(": "), _advice(reading))


def _told(reading: Reading) -> str:
    over = f" over {reading.counted} pods" if reading.counted > 1 else ""
    age = "" if reading.age is None else f", {reading.age.total_seconds():.0f}s old"
    return f"{reading.load:g}{over}{age}; target {reading.metric.target:g} per replica"


def _advice(reading: Reading) -> str:
    if "label `pod`" in reading.detail:
        return "aggregate with `by (pod)`, or set type: total"
    if reading.detail.startswith("bad query"):
        return findings.QUERY_ADVICE
    if reading.detail.startswith("bearer_token_file"):
        return findings.BEARER_ADVICE
    advice = {
        Reason.METRIC_EMPTY: "ask Prometheus for the query's selectors: is that scraped?",
        Reason.METRIC_STALE: "look at what exports it, or raise max_age above its interval",
        Reason.METRIC_NOT_A_NUMBER: "look for a division by zero in the query",
        Reason.TOO_MANY_SERIES: "aggregate in the query: sum(...), or max by (pod) (...)",
        Reason.METRIC_PARTIAL: "look whether every ready pod is scraped",
        Reason.METRIC_FAILED: "look at prometheus.url, its credentials and prometheus.timeout",
    }
    return advice.get(reading.reason, "")

"""Every query asked once, and its answer judged exactly as a cycle would."""

from collections.abc import Iterator

from autoscaler.adapters.promql import check_query
from autoscaler.check import findings
from autoscaler.check.findings import Finding
from autoscaler.check.world import World
from autoscaler.decision.model import Observation, ScalingState
from autoscaler.decision.quality import Reading, read_metrics
from autoscaler.decision.words import Reason
from autoscaler.ports import TargetState
from autoscaler.settings import TargetSettings, to_policy, to_queries


def look_at_answers(
    target: TargetSettings, state: TargetState | None, world: World
) -> Iterator[Finding]:
    """Ask every query and judge the answers exactly as a cycle would."""
    observation = Observation(
        now=world.now,
        current=state.current if state else 0,
        ready=state.ready if state else 0,
        pods=state.pods if state else None,
        metrics=world.source.ask(to_queries(target), world.now),
    )
    told_before = {metric.name for metric in target.metrics if check_query(metric.query)}
    for reading in read_metrics(to_policy(target), ScalingState(), observation):
        if reading.metric.name not in told_before:
            yield _answer(target, reading)


def _answer(target: TargetSettings, reading: Reading) -> Finding:
    where = f"{target.name} {reading.metric.name}"
    if reading.whole:
        return findings.ok(where, _told(reading))
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

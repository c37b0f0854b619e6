"""The queries as they are written: what is no PromQL, and what measures something else."""

from collections.abc import Iterator, Sequence

from autoscaler.adapters.promql import QueryError, Selector, parse_query
from autoscaler.check import findings
from autoscaler.check.findings import Finding
from autoscaler.decision.words import MetricType, OnEmpty, UseFor
from autoscaler.settings import Settings, TargetSettings
from autoscaler.settings.target import MetricSettings

_QUEUES = {"haproxy_backend_current_queue", "haproxy_server_current_queue"}
_SESSIONS = "current_sessions"
_LIMITS = {"kube_pod_container_resource_limits", "kube_pod_container_resource_requests"}
_PERCENT = 10
"""A ratio of use to limit is seldom above 1, and never so far."""


def look_at(settings: Settings, target: TargetSettings) -> Iterator[Finding]:
    """Look at each query as it is written."""
    for metric in target.metrics:
        where = f"{target.name} {metric.name}"
        try:
            selectors = parse_query(metric.query).selectors
        except QueryError as wrong:
            yield findings.error(where, f"the query cannot be used: {wrong}", findings.QUERY_ADVICE)
            continue
        yield from _limits(where, metric, selectors)
        yield from _queue(where, target, metric, selectors)
        yield from _places(where, settings, target, selectors)


def selectors_of(metric: MetricSettings) -> Sequence[Selector]:
    """Return what a query reads; nothing where it cannot be read."""
    try:
        return parse_query(metric.query).selectors
    except QueryError:
        return ()


def reads_gateway(metric: MetricSettings) -> bool:
    """Tell whether a query reads what HAProxy exports."""
    return any(each.name.startswith("haproxy_") for each in selectors_of(metric))


def _limits(where: str, metric: MetricSettings, selectors: Sequence[Selector]) -> Iterator[Finding]:
    limits = [each for each in selectors if each.name in _LIMITS]
    for each in limits:
        labels = {matcher.partition("=")[0].rstrip("!") for matcher in each.matchers}
        if not labels & {"resource", "unit"}:
            what = f"{each.name} without a resource counts bytes of memory among the CPUs"
            yield findings.error(where, what, 'write resource="cpu" among its labels')
    if limits and metric.target >= _PERCENT and "100" not in metric.query:
        what = f"target {metric.target:g} is never reached: the query gives a ratio, 0..1"
        yield findings.error(where, what, f"write target: {metric.target / 100:g}")


def _queue(
    where: str, target: TargetSettings, metric: MetricSettings, selectors: Sequence[Selector]
) -> Iterator[Finding]:
    shrinks = metric.use_for is not UseFor.SCALE_UP
    if metric.type is not MetricType.TOTAL or not shrinks or not reads_gateway(metric):
        return
    if metric.on_empty is OnEmpty.ZERO:
        what = "on_empty: zero takes a gateway that is not scraped for one without requests"
        yield findings.warning(where, what, "write on_empty: missing")
    queue = sorted({each.name for each in selectors} & _QUEUES)
    counted = (each.name for one in target.metrics for each in selectors_of(one))
    if queue and not any(_SESSIONS in name for name in counted):
        what = f"{queue[0]} counts who waits, not who is served: busy replicas look idle"
        step = "ask for haproxy_backend_current_sessions, or write use_for: scale_up"
        yield findings.warning(where, what, step)


def _places(
    where: str, settings: Settings, target: TargetSettings, selectors: Sequence[Selector]
) -> Iterator[Finding]:
    """Look for what was copied from another target."""
    read = {each.exactly("namespace") for each in selectors if each.by_pod}
    for other in sorted(read - {None, target.namespace}, key=str):
        what = f"the query reads namespace {other}, the replicas are in {target.namespace}"
        yield findings.error(where, what, f'write namespace="{target.namespace}" in the query')
    if not (target.gateway_stats_url or settings.gateway.stats_url):
        return
    proxies = {each.exactly("proxy") for each in selectors if _is_backend(each)}
    for other in sorted(proxies - {None, target.gateway_backend}, key=str):
        backend = target.gateway_backend
        what = f"the query counts requests of backend {other}, the replicas are those of {backend}"
        yield findings.warning(where, what, f"write {backend} in the query, or as gateway_backend")


def _is_backend(selector: Selector) -> bool:
    return selector.name.startswith(("haproxy_backend_", "haproxy_server_"))

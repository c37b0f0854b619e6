"""The composition root: settings in, wired daemon out. Adapters are named here alone."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import TextIO

from autoscaler import __version__
from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.cycle_view import Views
from autoscaler.adapters.health import HealthServer, Heart, Page, StatusBoard
from autoscaler.adapters.kubernetes import (
    ApiClient,
    KubernetesChecks,
    KubernetesTarget,
    load_client,
)
from autoscaler.adapters.prometheus import PrometheusSource
from autoscaler.adapters.records import RecordsFile
from autoscaler.adapters.telemetry import Log, Metrics
from autoscaler.check import Finding, Probe, World, check
from autoscaler.daemon import Daemon, Listeners
from autoscaler.errors import ConfigError
from autoscaler.loop import Plan, Ports, TargetLoop
from autoscaler.ports import Reporter
from autoscaler.settings import (
    KubernetesSettings,
    PrometheusSettings,
    Settings,
    TargetSettings,
    to_policy,
    to_queries,
)

_LEAST_PATIENCE = timedelta(seconds=30)


def build(settings: Settings, out: TextIO, *, dry_run: bool = False) -> Daemon:
    """Wire everything; nothing is opened or asked before it runs. Raises ConfigError."""
    clock = SystemClock()
    log = Log(level=settings.log.level, form=settings.log.format, stream=out)
    metrics = Metrics(__version__)
    names = [target.name for target in settings.targets]
    heart = Heart(clock, names, patience(settings.interval))
    board = StatusBoard(__version__)
    views = Views(log, metrics, board)
    reporters: tuple[Reporter, ...] = (views, *_records(settings, log), heart)

    source = metric_source(settings.prometheus)
    client = kubernetes_client(settings.kubernetes)
    cycles = {}
    for target in settings.targets:
        metrics.expect(target.name)
        deployment = _deployment(settings, target, client)
        ports = Ports(source=source, target=deployment, clock=clock, reporters=reporters)
        cycles[target.name] = TargetLoop(plan_of(target, dry_run=dry_run), ports).run_once

    ready = _Readiness()
    pages: dict[str, Callable[[], Page]] = {
        "/healthz": heart.page,
        "/readyz": ready.page,
        "/metrics": partial(_metrics_page, metrics),
        "/status": board.page,
    }
    server = HealthServer(settings.http.host, settings.http.port, pages)
    listeners = _listeners(settings, log, metrics, ready)
    return Daemon(cycles, settings.interval, server, clock, listeners)


def patience(interval: timedelta) -> timedelta:
    """Return how long no cycle may end before the daemon counts as hung."""
    return max(5 * interval, _LEAST_PATIENCE)


def metric_source(settings: PrometheusSettings) -> PrometheusSource:
    """Return the source that all targets ask."""
    return PrometheusSource(
        url=settings.url,
        timeout=settings.timeout,
        bearer_token_file=settings.bearer_token_file,
        ca_file=settings.ca_file,
        headers={name: value.get_secret_value() for name, value in settings.headers.items()},
    )


def kubernetes_client(settings: KubernetesSettings) -> ApiClient:
    """Return the client of the cluster that is meant. Raises ConfigError."""
    kubeconfig = None if settings.kubeconfig is None else str(settings.kubeconfig)
    try:
        return load_client(kubeconfig, settings.context)
    except ConfigError as error:
        given = {"kubeconfig": kubeconfig, "context": settings.context}
        keys = " and ".join(f"kubernetes.{key}" for key, value in given.items() if value)
        raise ConfigError(
            f"{keys or 'kubernetes'}: {str(error).removeprefix('kubernetes: ')}"
        ) from error


def plan_of(target: TargetSettings, *, dry_run: bool = False) -> Plan:
    """Return what the loop of a target is to do."""
    return Plan(
        name=target.name, policy=to_policy(target), queries=to_queries(target), dry_run=dry_run
    )


def check_settings(settings: Settings, *, offline: bool = False) -> tuple[Finding, ...]:
    """Check everything that the settings speak of; offline, the settings alone.

    Raises ConfigError where no cluster is configured.
    """
    if offline:
        return check(settings)
    client = kubernetes_client(settings.kubernetes)
    probes = {target.name: _probe(settings, target, client) for target in settings.targets}
    source = metric_source(settings.prometheus)
    return check(settings, World(source=source, probes=probes, now=SystemClock().now()))


def _probe(settings: Settings, target: TargetSettings, client: ApiClient) -> Probe:
    checks = KubernetesChecks(
        namespace=target.namespace,
        deployment=target.deployment,
        client=client,
        timeout=settings.kubernetes.timeout,
    )
    return Probe(target=_deployment(settings, target, client), checks=checks)


def _deployment(settings: Settings, target: TargetSettings, client: ApiClient) -> KubernetesTarget:
    return KubernetesTarget(
        namespace=target.namespace,
        deployment=target.deployment,
        client=client,
        timeout=settings.kubernetes.timeout,
    )


class _Readiness:
    """Ready from the first moment, since the configuration was good, until the daemon stops."""

    def __init__(self) -> None:
        self.stopping = False

    def page(self) -> Page:
        """Answer `/readyz`."""
        if self.stopping:
            return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body=b"stopping")
        return Page(body=b"ok")


def _records(settings: Settings, log: Log) -> tuple[Reporter, ...]:
    if settings.records.path is None:
        return ()

    def complain(text: str) -> None:
        log.tell("error", "records", message=text)

    return (RecordsFile(settings.records.path, complain),)


def _metrics_page(metrics: Metrics) -> Page:
    content_type, body = metrics.page()
    return Page(content_type=content_type, body=body)


def _listeners(settings: Settings, log: Log, metrics: Metrics, ready: _Readiness) -> Listeners:
    def started(address: str) -> None:
        log.adopt_libraries()
        log.tell(
            "info",
            "started",
            version=__version__,
            http=address,
            interval=settings.interval.total_seconds(),
            targets=[target.name for target in settings.targets],
        )

    def stopping(name: str) -> None:
        ready.stopping = True
        log.tell("info", "stopping", signal=name)

    def stopped() -> None:
        log.tell("info", "stopped")
        log.close()

    return Listeners(
        on_started=started,
        on_stopping=stopping,
        on_stopped=stopped,
        on_overrun=metrics.overrun,
    )

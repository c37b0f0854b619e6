"""The composition root: settings in, wired daemon out."""

import sys
from collections.abc import Callable, Iterator, Mapping
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
    EventReporter,
    Events,
    KubernetesChecks,
    KubernetesTarget,
    LastDecisions,
    LeadershipListeners,
    LeaseChecks,
    LeaseLeadership,
    ObjectRef,
    fenced,
)
from autoscaler.adapters.latest import LatestRecords
from autoscaler.adapters.memories import Memories
from autoscaler.adapters.records import RecordsFile, RecordsStream
from autoscaler.adapters.telemetry import Log, Metrics
from autoscaler.check import Finding, LeaseProbe, Probe, World, check
from autoscaler.daemon.fleet import Fleet
from autoscaler.daemon.leadership import SharedLeadership
from autoscaler.daemon.process import Daemon, Duty, Listeners
from autoscaler.daemon.reload import ConfigFile, Reload, ReloadListeners
from autoscaler.daemon.scheduler import WORKERS, CycleScheduler
from autoscaler.decision.words import Mode
from autoscaler.factories import (
    LoopWiring,
    Shared,
    busy_source,
    contend,
    deployment,
    gateway_look,
    kubernetes_client,
    lease_of,
    metric_source,
    plan_of,
)
from autoscaler.ports import Reporter
from autoscaler.settings import Settings, TargetSettings

__all__ = [
    "build",
    "busy_source",
    "check_settings",
    "deployment",
    "kubernetes_client",
    "metric_source",
    "patience",
    "plan_of",
]

_LEAST_PATIENCE = timedelta(seconds=30)
_LAST_EVENTS = timedelta(seconds=2)
"""How long the end waits for what is still to be told."""


def build(
    settings: Settings, out: TextIO, *, dry_run: bool = False, file: ConfigFile | None = None
) -> Daemon:
    """Wire everything; nothing is opened or asked before it runs. Raises ConfigError.

    Changes of the `file` are taken over while it runs.
    """
    works = _Works(settings, out, dry_run=dry_run)
    works.apply(settings)
    duties: list[Duty] = [works.leadership]
    if file is not None:
        duties.append(Reload(file, settings, works.apply, works.reload_listeners()))
    server = HealthServer(settings.http.host, settings.http.port, works.pages(), works.asked())
    return Daemon(works.scheduler, server, works.clock, works.listeners(), duties)


class _Works:
    """All that works together, and how it takes over other settings."""

    def __init__(self, settings: Settings, out: TextIO, *, dry_run: bool) -> None:
        self.clock = SystemClock()
        self.leadership = SharedLeadership(self._contend)
        self._dry_run = dry_run
        self._settings = settings
        self._stopping = False
        # What is asked for on standard output stands there alone; the log makes way.
        told = (sys.stderr or out) if settings.records.to_output else out
        self._log = Log(level=settings.log.level, form=settings.log.format, stream=told)
        self._metrics = Metrics(__version__)
        self._heart = Heart(self.clock, (), _LEAST_PATIENCE)
        self._board = StatusBoard(__version__, self.clock)
        self._latest = LatestRecords()
        self._records = self._make_records(out)
        self._fleet = Fleet(self._on_added, self._on_gone)
        self.scheduler = CycleScheduler(self.clock, self._metrics.overrun)
        self._abouts: dict[str, Callable[[], ObjectRef]] = {}
        client = kubernetes_client(settings.kubernetes)
        # Events are told by whoever sees them, leader or not, and hold up nobody's requests.
        side = kubernetes_client(settings.kubernetes)
        self._events = Events(side, self.clock, partial(self._complain, "events"))
        self._last = LastDecisions(
            fenced(side, self._leads),
            self.clock,
            partial(self._complain, "annotations"),
            self._leads,
        )
        self._wiring = LoopWiring(
            Shared(
                clock=self.clock,
                reporters=tuple(self._reporters()),
                leadership=self.leadership,
                kubernetes=settings.kubernetes,
                client=client,
                dry_run=dry_run,
            )
        )

    def apply(self, settings: Settings) -> None:
        """Go on by these settings, from each target's next cycle. Raises ConfigError."""
        inputs = self._wiring.inputs_for(settings)
        self._settings = settings
        self._look_at(self._wiring.targets)
        self._heart.allow(patience(settings))
        self._board.expect_every(settings.interval)
        contended = settings.leadership.enabled and self._acts(settings)
        self.leadership.put(inputs, contended=contended)
        if not self.leadership.is_contended:
            self._metrics.leading(True)  # noqa: FBT003
        self._fleet.put(inputs)
        self.scheduler.put(self._fleet.cycles, settings.interval)

    def _acts(self, settings: Settings) -> bool:
        shadows = (target.mode is Mode.SHADOW for target in settings.targets)
        return not self._dry_run and not all(shadows)

    def _leads(self) -> bool:
        return self.leadership.term() is not None

    # --- who is told ------------------------------------------------------------------------

    def _reporters(self) -> Iterator[Reporter]:
        events = EventReporter(self._events, self._abouts, self._last)
        yield Views(self._log, self._metrics, self._board, events)
        yield self._latest
        if self._records is not None:
            yield self._records
        yield self._heart

    def _make_records(self, out: TextIO) -> RecordsFile | RecordsStream | None:
        wanted, complain = self._settings.records, partial(self._complain, "records")
        if wanted.path is None:
            return None
        if wanted.to_output:
            return RecordsStream(out, complain)
        return RecordsFile(wanted.path, complain, max_size=wanted.max_size, files=wanted.files)

    def _look_at(self, targets: Mapping[str, KubernetesTarget]) -> None:
        """Have events made at these; in place, since another thread reads it."""
        self._abouts.update({name: partial(_about, target) for name, target in targets.items()})
        for gone in set(self._abouts) - set(targets):
            del self._abouts[gone]

    def _on_added(self, target: str) -> None:
        self._metrics.expect(target)
        self._heart.expect(target)
        self._latest.expect(target)

    def _on_gone(self, target: str) -> None:
        for each in (self._heart, self._board, self._metrics, self._latest):
            each.forget(target)
        if self._records is not None:
            self._records.forget(target)

    def _complain(self, about: str, text: str) -> None:
        self._log.tell("error", about, message=text)

    def pages(self) -> dict[str, Callable[[], Page]]:
        """Return what is served."""
        return {
            "/healthz": self._heart.page,
            "/readyz": self._ready,
            "/metrics": partial(_metrics_page, self._metrics),
            "/records": self._latest.page,
        }

    def asked(self) -> dict[str, Callable[[str], Page]]:
        """Return what is served by what stands behind the `?`."""
        return {"/status": self._board.page}

    def _ready(self) -> Page:
        """Tell that the configuration is good; whoever stands by is ready to lead."""
        if self._stopping:
            return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body=b"stopping")
        return Page(body=b"ok")

    def listeners(self) -> Listeners:
        """Return who is told of the process."""
        return Listeners(
            on_started=self._started, on_stopping=self._on_stopping, on_stopped=self._stopped
        )

    def _started(self, address: str) -> None:
        self._log.adopt_libraries()
        self._log.tell(
            "info",
            "started",
            version=__version__,
            http=address,
            interval=self._settings.interval.total_seconds(),
            targets=[target.name for target in self._settings.targets],
        )

    def _on_stopping(self, name: str) -> None:
        self._stopping = True
        self._log.tell("info", "stopping", signal=name)

    def _stopped(self) -> None:
        self._last.close(_LAST_EVENTS)
        self._events.close(_LAST_EVENTS)
        if self._records is not None:
            self._records.close()
        self._log.tell("info", "stopped")
        self._log.close()

    # --- leadership -------------------------------------------------------------------------

    def _contend(self) -> tuple[LeaseLeadership, Memories]:
        lease = "/".join(lease_of(self._settings))

        def leads(term: int) -> None:
            self._metrics.leading(True)  # noqa: FBT003
            self._log.tell("info", "leads", lease=lease, term=term)

        def stands_by(leader: str) -> None:
            self._metrics.leading(False)  # noqa: FBT003
            self._log.tell("info", "stands by", lease=lease, leader=leader or None)

        def lost(reason: str) -> None:
            self._metrics.leading(False)  # noqa: FBT003
            level = "info" if self._stopping else "warning"
            self._log.tell(level, "lost the leadership", lease=lease, message=reason)

        def failed(reason: str) -> None:
            self._metrics.renew_failed()
            self._log.tell("warning", "lease", message=reason)

        listeners = LeadershipListeners(
            on_leads=leads,
            on_stands_by=stands_by,
            on_lost=lost,
            on_failure=failed,
            on_trouble=partial(self._complain, "state"),
        )
        return contend(self._settings, self.clock, listeners)

    # --- reload -----------------------------------------------------------------------------

    def reload_listeners(self) -> ReloadListeners:
        """Return who is told of changes of the configuration."""

        def reloaded(changes: tuple[str, ...]) -> None:
            self._metrics.config_reloaded(True)  # noqa: FBT003
            self._log.tell("info", "reloaded", changes=list(changes))

        def refused(reason: str) -> None:
            self._metrics.config_reloaded(False)  # noqa: FBT003
            self._log.tell("error", "reload refused", message=reason)
            self._tell_targets("ConfigRefused", f"the old configuration stays in force: {reason}")

        def restart_needed(keys: tuple[str, ...]) -> None:
            self._log.tell("warning", "needs a restart", keys=list(keys))

        return ReloadListeners(
            on_reloaded=reloaded, on_refused=refused, on_restart_needed=restart_needed
        )

    def _tell_targets(self, reason: str, note: str) -> None:
        """Make an event at the first Deployment that is written to, as good a place as any."""
        acting = (t.name for t in self._settings.targets if t.mode is not Mode.SHADOW)
        name = None if self._dry_run else next(acting, None)
        if name is not None:
            self._events.tell(self._abouts[name](), reason, note, warning=True)


def _about(target: KubernetesTarget) -> ObjectRef:
    return target.about


def patience(settings: Settings) -> timedelta:
    """Return how long no cycle of a target may end before the daemon counts as hung.

    With more targets than workers, one may have to wait until all the others have hung for as long
    as their calls may: two reads, the metrics, the gateway, and two writes (but for
    the marks of victims).
    """
    slowest = settings.prometheus.timeout + settings.gateway.timeout
    slowest += 4 * settings.kubernetes.timeout
    turns = (len(settings.targets) - 1) // WORKERS
    return max(5 * settings.interval, _LEAST_PATIENCE) + turns * slowest


def check_settings(settings: Settings, *, offline: bool = False) -> tuple[Finding, ...]:
    """Check everything that the settings speak of; offline, the settings alone.

    Raises ConfigError where no cluster is configured.
    """
    if offline:
        return check(settings)
    client = kubernetes_client(settings.kubernetes)
    probes = {
        target.name: Probe(
            target=deployment(settings.kubernetes, target, client),
            checks=_checks(settings, target, client),
            gateway=gateway_look(settings, target),
        )
        for target in settings.targets
    }
    world = World(
        source=metric_source(settings.prometheus),
        probes=probes,
        now=SystemClock().now(),
        lease=_lease_probe(settings, client) if settings.leadership.enabled else None,
    )
    return check(settings, world)


def _checks(settings: Settings, target: TargetSettings, client: ApiClient) -> KubernetesChecks:
    return KubernetesChecks(
        namespace=target.namespace,
        name=target.deployment,
        client=client,
        timeout=settings.kubernetes.timeout,
    )


def _lease_probe(settings: Settings, client: ApiClient) -> LeaseProbe:
    namespace, name = lease_of(settings)
    checks = LeaseChecks(
        namespace=namespace, name=name, client=client, timeout=settings.kubernetes.timeout
    )
    return LeaseProbe(namespace=namespace, name=name, checks=checks)


def _metrics_page(metrics: Metrics) -> Page:
    content_type, body = metrics.page()
    return Page(content_type=content_type, body=body)

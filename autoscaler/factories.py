"""Adapters, made of what the settings say; but for `bootstrap`, nobody else makes any."""

import random
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.haproxy import HaproxyGateways
from autoscaler.adapters.haproxy_look import GatewayLook
from autoscaler.adapters.kubernetes import (
    ApiClient,
    Elector,
    KubernetesTarget,
    LeadershipListeners,
    LeaseClient,
    LeaseLeadership,
    Timing,
    fenced,
    load_client,
    own_namespace,
)
from autoscaler.adapters.memories import Memories
from autoscaler.adapters.prometheus import PrometheusSource
from autoscaler.daemon.fleet import LoopInputs
from autoscaler.daemon.leadership import SharedLeadership
from autoscaler.errors import ConfigError
from autoscaler.loop import Plan, Ports
from autoscaler.ports import BusySource, MetricSource, Reporter
from autoscaler.settings import (
    KubernetesSettings,
    PrometheusSettings,
    Settings,
    TargetSettings,
    to_policy,
    to_queries,
)

# --- single parts -------------------------------------------------------------------------------


def metric_source(settings: PrometheusSettings) -> PrometheusSource:
    """Return the source that all targets ask."""
    return PrometheusSource(
        url=settings.url,
        timeout=settings.timeout,
        bearer_token_file=settings.bearer_token_file,
        ca_file=settings.ca_file,
        headers={name: value.get_secret_value() for name, value in settings.headers.items()},
    )


def busy_source(
    settings: Settings, target: TargetSettings, gateways: HaproxyGateways
) -> BusySource | None:
    """Return who knows how busy a target's replicas are; None where nobody can be asked."""
    url = target.gateway_stats_url or settings.gateway.stats_url
    return gateways.backend(url, target.gateway_backend) if url else None


def gateway_look(settings: Settings, target: TargetSettings) -> GatewayLook | None:
    """Return what `check` asks about a target's gateway; None where nobody can be asked."""
    url = target.gateway_stats_url or settings.gateway.stats_url
    if not url:
        return None
    return GatewayLook(url=url, backend=target.gateway_backend, timeout=settings.gateway.timeout)


def kubernetes_client(settings: KubernetesSettings) -> ApiClient:
    """Return the client of the cluster that is meant. Raises ConfigError."""
    kubeconfig = None if settings.kubeconfig is None else str(settings.kubeconfig)
    try:
        return load_client(kubeconfig, settings.context)
    except ConfigError as error:
        given = {"kubeconfig": kubeconfig, "context": settings.context}
        keys = " and ".join(f"kubernetes.{key}" for key, value in given.items() if value)
        raise ConfigError(
            f"{keys or 'kubernetes'}: {str(error).removeprefix('kubernetes: ')}",
            next_step=error.next_step,
        ) from error


def plan_of(target: TargetSettings, *, dry_run: bool = False) -> Plan:
    """Return what the loop of a target is to do."""
    return Plan(
        name=target.name, policy=to_policy(target), queries=to_queries(target), dry_run=dry_run
    )


def deployment(
    settings: KubernetesSettings, target: TargetSettings, client: ApiClient
) -> KubernetesTarget:
    """Return the Deployment that a target names."""
    return KubernetesTarget(
        namespace=target.namespace,
        name=target.deployment,
        client=client,
        timeout=settings.timeout,
    )


# --- leadership ---------------------------------------------------------------------------------


def lease_of(settings: Settings) -> tuple[str, str]:
    """Return namespace and name of the Lease."""
    leadership = settings.leadership
    namespace = leadership.namespace or own_namespace() or settings.targets[0].namespace
    return namespace, leadership.lease


def contend(
    settings: Settings, clock: SystemClock, listeners: LeadershipListeners
) -> tuple[LeaseLeadership, Memories]:
    """Return a leadership by the Lease, and the memories that it keeps there.

    It has a client of its own, so that no crowd of targets keeps it waiting.
    """
    duration, write = settings.leadership.duration, settings.kubernetes.timeout
    timing = Timing(duration=duration, write=write)
    namespace, name = lease_of(settings)
    lease = LeaseClient(
        namespace=namespace,
        name=name,
        client=kubernetes_client(settings.kubernetes),
        timeout=min(write, timedelta(seconds=timing.renewal)),
    )
    memories = Memories(
        (target.name for target in settings.targets),
        # Late, since each needs the other.
        term=lambda: leadership.term(),  # noqa: PLW0108
        on_loss=listeners.on_trouble,
        on_write=lambda: leadership.hurry(),  # noqa: PLW0108
    )
    # The random part tells this process from the one that ran here before, or runs here as well.
    identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    elector = Elector(identity, timing, memories, random.random)
    leadership = LeaseLeadership(elector, lease, clock, listeners)
    return leadership, memories


# --- the loops ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all loops have in common, for as long as the process lives."""

    clock: SystemClock
    reporters: tuple[Reporter, ...]
    leadership: SharedLeadership
    kubernetes: KubernetesSettings
    client: ApiClient
    dry_run: bool


@dataclass(slots=True)
class LoopWiring:
    """What each loop needs, made of changing settings; what need not change is kept."""

    shared: Shared
    targets: dict[str, KubernetesTarget] = field(default_factory=dict)
    """Of the present settings, by name."""
    _settings: Settings | None = None
    _source: MetricSource | None = None
    _gateways: HaproxyGateways | None = None

    def inputs_for(self, settings: Settings) -> LoopInputs:
        """Return plan and ports of every target. Raises ConfigError, and then changes nothing."""
        before, shared = self._settings, self.shared
        source, gateways = self._source, self._gateways
        if source is None or before is None or before.prometheus != settings.prometheus:
            source = metric_source(settings.prometheus)
        if gateways is None or before is None or before.gateway != settings.gateway:
            gateways = HaproxyGateways(settings.gateway.timeout, shared.clock.monotonic)
        targets = self._deployments(settings.targets)
        inputs = {
            target.name: (
                plan_of(target, dry_run=shared.dry_run),
                Ports(
                    source=source,
                    target=targets[target.name],
                    clock=shared.clock,
                    reporters=shared.reporters,
                    busy=busy_source(settings, target, gateways),
                    leadership=shared.leadership,
                    store=shared.leadership,
                ),
            )
            for target in settings.targets
        }
        self._settings, self._source, self._gateways = settings, source, gateways
        self.targets = targets
        return inputs

    def _deployments(self, targets: Iterable[TargetSettings]) -> dict[str, KubernetesTarget]:
        shared = self.shared
        client = fenced(shared.client, lambda: shared.leadership.term() is not None)
        return {
            target.name: self.targets.get(target.name)
            or deployment(shared.kubernetes, target, client)
            for target in targets
        }

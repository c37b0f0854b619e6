"""Stacks that get the same load side by side: one that is scaled, and others of a fixed size."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from autoscaler.sandbox.exporters import DeploymentView, Exporters
from autoscaler.sandbox.gateway import Gateway, GatewaySettings, defaults
from autoscaler.sandbox.hpa import HpaController, HpaSettings
from autoscaler.sandbox.kube import Cluster, Container, PodRun, PodTemplate, PodView, ProcessRuntime
from autoscaler.sandbox.kube.runtime import REPLICA_PORT
from autoscaler.sandbox.processes import SandboxError
from autoscaler.sandbox.service import Profile
from autoscaler.sandbox.timescale import divide_gateway

SLOTS = 1
"""Requests that a replica answers at a time (OLLAMA_NUM_PARALLEL)."""
_CPU_LIMIT = "2"
# Each lane of each run takes the addresses 127.n.*.* of its own n from these: an address counts as
# free until its replica listens, so two that look at the same time would share a replica.
_FIRST_NET, _NETS, _NETS_PER_RUN = 16, 208, 4
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class StackSettings:
    """What all lanes of a run have in common."""

    directory: Path
    speed: float
    profile: Profile
    seed: int
    dns: str
    """`host:port` of the DNS responder."""
    namespace: str
    deployment: str
    busy_cores: float = float(_CPU_LIMIT)
    """What a busy replica takes; less than its limit where memory is what it waits for."""

    @property
    def replica_args(self) -> tuple[str, ...]:
        """Return the arguments of every replica."""
        return (
            *("--slots", str(SLOTS), "--profile", self.profile.name),
            *("--cpu-limit", f"{self.busy_cores:g}"),
            *("--speed", f"{self.speed:g}", "--seed", str(self.seed)),
        )

    @property
    def patience_s(self) -> float:
        """Return the wall-clock seconds within which replicas must be ready."""
        return 10.0 + 3.0 * self.profile.start_up_s / self.speed


class ScaledLane:
    """The Deployment that is scaled: cluster, replicas, gateway and exporters."""

    def __init__(self, settings: StackSettings) -> None:
        """Prepare; nothing runs before `start`."""
        self.name = "autoscaler"
        """Who scales it."""
        self.rival: HpaController | None = None
        """The one that writes in the daemon's place."""
        self._settings = settings
        runtime = ProcessRuntime(
            settings.replica_args, log_directory=settings.directory, pool=_pool(0)
        )
        self.cluster = Cluster(
            runtime, settings.directory, speed=settings.speed, seed=settings.seed
        )
        self.gateway = _gateway(settings, "autoscaler", self.host, settings.speed)
        self.exporters = Exporters(self.view, REPLICA_PORT, settings.speed)

    @property
    def host(self) -> str:
        """Return the name of the headless Service."""
        return f"{self._settings.deployment}.{self._settings.namespace}.svc.cluster.local"

    def addresses(self) -> Sequence[str]:
        """Return what DNS answers for `host`."""
        return self.cluster.ready_addresses(self._settings.namespace, self._settings.deployment)

    def pods(self) -> Sequence[PodView]:
        """Return every pod that exists: starting, ready or draining."""
        return self.cluster.pods(self._settings.namespace, self._settings.deployment)

    def desired(self) -> int:
        """Return the replicas asked for."""
        return self.cluster.replicas(self._settings.namespace, self._settings.deployment)

    def view(self) -> DeploymentView:
        """Return what the exporters show."""
        return DeploymentView(
            namespace=self._settings.namespace,
            name=self._settings.deployment,
            replicas=self.desired(),
            container=PodTemplate().container,
            pods=self.pods(),
        )

    async def start(self, replicas: int) -> None:
        """Start everything; the replicas get ready by and by. Raises SandboxError."""
        settings = self._settings
        await self.cluster.start()
        await self.cluster.create_deployment(
            settings.namespace,
            settings.deployment,
            replicas,
            PodTemplate(cpu_limit=_CPU_LIMIT),
        )
        await self.exporters.start()
        await self.gateway.start()

    async def start_rival(self, low: int, high: int) -> HpaController:
        """Let an HPA scale it from now on; the daemon must be in shadow mode."""
        settings = self._settings
        self.name = "hpa"
        self.rival = HpaController(
            HpaSettings(
                namespace=settings.namespace,
                name=settings.deployment,
                low=low,
                high=high,
                speed=settings.speed,
            ),
            self.cluster,
            lambda: self.exporters.readings,
        )
        await self.rival.start()
        return self.rival

    async def until_ready(self, replicas: int) -> None:
        """Wait until that many replicas serve. Raises SandboxError."""
        await _until_up(self.gateway, replicas, self._settings.patience_s)

    async def stop(self) -> None:
        """End everything at once; safe to call twice."""
        if self.rival is not None:
            await self.rival.stop()
        await self.gateway.stop()
        await self.exporters.stop()
        await self.cluster.stop()

    def crash(self, preferred: Sequence[str]) -> str | None:
        """Kill a serving replica, one of those addresses if it can be; answers the pod's name."""
        serving = [pod for pod in self.pods() if pod.serves]
        if not serving:
            return None
        chosen = max(serving, key=lambda pod: pod.ip in preferred)
        self.cluster.kill_pod(chosen.namespace, chosen.name)
        return chosen.name


@dataclass(slots=True, kw_only=True)
class FixedLane:
    """Replicas that stay as many as they are, behind a gateway of their own."""

    settings: StackSettings
    replicas: int
    number: int
    """Among the lanes of a run; the scaled one is 0."""
    gateway: Gateway = field(init=False)
    _runtime: ProcessRuntime = field(init=False)
    _containers: dict[str, Container] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Prepare; nothing runs before `start`."""
        self._runtime = ProcessRuntime(self.settings.replica_args, pool=_pool(self.number))
        # Nothing changes here that DNS or a check could find sooner: both keep their usual pace.
        self.gateway = _gateway(self.settings, f"fixed-{self.replicas}", self.host, 1.0)

    @property
    def name(self) -> str:
        """Return the name that the comparison shows."""
        return f"fixed {self.replicas}"

    @property
    def host(self) -> str:
        """Return the name that DNS answers for."""
        return f"{self.settings.deployment}.fixed-{self.replicas}.svc.cluster.local"

    def addresses(self) -> Sequence[str]:
        """Return what DNS answers for `host`."""
        return tuple(self._containers)

    async def start(self) -> None:
        """Start everything and wait until all replicas serve. Raises SandboxError."""
        for number in range(self.replicas):
            ip = self._runtime.address()
            pod = PodRun(
                namespace=f"fixed-{self.replicas}", name=f"fixed-{self.replicas}-{number}", ip=ip
            )
            self._containers[ip] = await self._runtime.start(pod)
        async with _limit(f"replicas of {self.name}", self.settings.patience_s):
            for container in self._containers.values():
                while not await container.is_ready():  # noqa: ASYNC110 - it is asked over HTTP
                    await asyncio.sleep(_POLL_SECONDS)
        await self.gateway.start()
        await _until_up(self.gateway, self.replicas, self.settings.patience_s)

    async def stop(self) -> None:
        """End everything at once; safe to call twice."""
        await self.gateway.stop()
        containers = tuple(self._containers.values())
        self._containers.clear()
        for container in containers:
            container.kill()
        await asyncio.gather(*(container.exit_code() for container in containers))
        await self._runtime.close()


def _pool(lane: int) -> str:
    net = _FIRST_NET + (os.getpid() * _NETS_PER_RUN + lane) % _NETS
    return f"127.{net}.0.0"


def _gateway(settings: StackSettings, name: str, host: str, speed: float) -> Gateway:
    shipped = defaults()
    variables = divide_gateway(shipped, settings.speed)
    if speed != settings.speed:
        for kept in ("GATEWAY_RESOLVE_INTERVAL", "GATEWAY_CHECK_INTERVAL"):
            variables[kept] = shipped[kept]
    return Gateway(
        GatewaySettings(
            name=name,
            directory=settings.directory,
            environment={
                **variables,
                "GATEWAY_DNS": settings.dns,
                "GATEWAY_REPLICAS_NAME": host,
                "GATEWAY_SLOTS": str(SLOTS),
            },
        )
    )


async def _until_up(gateway: Gateway, replicas: int, within_s: float) -> None:
    what = f"{replicas} replicas behind the gateway"
    async with _limit(what, within_s), aiohttp.ClientSession() as session:
        while True:
            slots = await gateway.slots(session)
            if slots is not None and slots.up >= replicas:
                return
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _limit(what: str, within_s: float) -> AsyncIterator[None]:
    """Tell the end of a time limit as one line."""
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise SandboxError(f"{what}: not ready within {within_s:.0f} s") from None

"""Stands in for the kubelet's cAdvisor and for kube-state-metrics: the pages that Prometheus reads.

Names, labels and rows are those of a node with containerd: cAdvisor shows each pod as a row for
its cgroup (no container, no image), one for the sandbox (no container) and one per container, with
timestamps of their own. What only a real kubelet knows is not made up: memory, throttling, volumes
and the machine itself.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

import aiohttp
from aiohttp import web

from autoscaler.decision.words import PodPhase
from autoscaler.sandbox.kube import PodView
from autoscaler.sandbox.processes import LOOPBACK

CADVISOR_PATH = "/metrics/cadvisor"
STATE_PATH = "/metrics"
_HOUSEKEEPING_SECONDS = 10.0
"""How often cAdvisor looks at a container."""
_MEMORY_LIMIT_BYTES = 4 * 1024**3
_NODE = "sandbox"
_PAUSE_CPU_SECONDS = 0.02
_REQUEST = aiohttp.ClientTimeout(total=1.0)
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Row = tuple[Mapping[str, str], Decimal | int]
"""The labels of a series and its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView:
    """One Deployment as it is now."""

    namespace: str
    name: str
    replicas: int
    container: str
    pods: Sequence[PodView]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one replica said of itself."""

    cpu_seconds: float
    """Since its process began."""
    before: float
    """Used by earlier processes of the same pod."""
    at: float
    """Unix time, seconds."""
    in_flight: int


class Exporters:
    """Reads the replicas and serves both pages on one port of loopback."""

    def __init__(
        self, view: Callable[[], DeploymentView], replica_port: int, speed: float = 1.0
    ) -> None:
        """Show the Deployment that `view` tells; look at its replicas every 10 s / speed."""
        self._view = view
        self._replica_port = replica_port
        self._period = _HOUSEKEEPING_SECONDS / speed
        self._runner: web.AppRunner | None = None
        self._sampling: asyncio.Task[None] | None = None
        self._address = ""
        self.readings: dict[str, Reading] = {}
        """The last reading by pod."""

    @property
    def address(self) -> str:
        """Return `host:port` of both pages."""
        return self._address

    async def start(self) -> None:
        """Open the port and begin to look."""
        app = web.Application()
        app.router.add_get(CADVISOR_PATH, self._cadvisor)
        app.router.add_get(STATE_PATH, self._state)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        host, port = self._runner.addresses[0][:2]
        self._address = f"{host}:{port}"
        self._sampling = asyncio.get_running_loop().create_task(self._sample())

    async def stop(self) -> None:
        """Close the port; safe to call twice."""
        if self._sampling is not None:
            self._sampling.cancel()
            await asyncio.gather(self._sampling, return_exceptions=True)
            self._sampling = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _sample(self) -> None:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), timeout=_REQUEST
        ) as session:
            while True:
                pods = [pod for pod in self._view().pods if pod.ip]
                read = await asyncio.gather(*(self._read(session, pod) for pod in pods))
                self.readings = {
                    pod.name: reading
                    for pod, reading in zip(pods, read, strict=True)
                    if reading is not None
                }
                await asyncio.sleep(self._period)

    async def _read(self, session: aiohttp.ClientSession, pod: PodView) -> Reading | None:
        url = f"http://{pod.ip}:{self._replica_port}/sandbox/stats"
        try:
            async with session.get(url) as answer:
                stats = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        used = float(stats["cpu_seconds_total"])
        last = self.readings.get(pod.name)
        before = 0.0
        if last is not None:  # a container that was restarted counts from zero, its pod does not
            before = last.before + (last.cpu_seconds if used < last.cpu_seconds else 0.0)
        return Reading(
            cpu_seconds=used, before=before, at=time.time(), in_flight=int(stats["in_flight"])
        )

    async def _cadvisor(self, _request: web.Request) -> web.Response:
        return _page(cadvisor_page(self._view(), self.readings))

    async def _state(self, _request: web.Request) -> web.Response:
        return _page(state_page(self._view()))


def cadvisor_page(view: DeploymentView, readings: Mapping[str, Reading]) -> str:
    """Write the kubelet's page for the pods that have been read."""
    name = "container_cpu_usage_seconds_total"
    rows = [
        f"{_series(name, labels)} {value:.6f} {int(reading.at * 1000)}"
        for pod in view.pods
        if (reading := readings.get(pod.name)) is not None
        for labels, value in _containers(view, pod, reading)
    ]
    return _lines(name, "counter", rows)


def state_page(view: DeploymentView) -> str:
    """Write kube-state-metrics' page, as far as this cluster has what it tells of."""
    rows = {
        "kube_deployment_spec_replicas": [(_deployment_labels(view), view.replicas)],
        "kube_deployment_status_replicas_ready": [
            (_deployment_labels(view), sum(pod.ready for pod in view.pods))
        ],
        "kube_pod_container_resource_limits": _limits(view),
        "kube_pod_container_status_restarts_total": _restarts(view),
        "kube_pod_status_phase": _phases(view.pods),
        "kube_pod_status_ready": _readiness(view.pods),
    }
    return "".join(
        _lines(
            name,
            "counter" if name.endswith("_total") else "gauge",
            [f"{_series(name, labels)} {value}" for labels, value in found],
        )
        for name, found in rows.items()
    )


def _containers(
    view: DeploymentView, pod: PodView, reading: Reading
) -> Iterator[tuple[dict[str, str], float]]:
    uid, sandbox = _digest(pod.name)[:36], _digest(f"{pod.name}/sandbox")
    container = _digest(f"{pod.name}/{pod.restarts}")
    root = f"/kubepods.slice/kubepods-pod{uid}.slice"
    common = {"cpu": "total", "namespace": pod.namespace, "pod": pod.name}
    total = reading.before + reading.cpu_seconds
    yield (
        {**common, "container": "", "id": root, "image": "", "name": ""},
        total + _PAUSE_CPU_SECONDS,
    )
    yield (
        {
            **common,
            "container": "",
            "id": f"{root}/cri-containerd-{sandbox}.scope",
            "image": "pause:3.10",
            "name": sandbox,
        },
        _PAUSE_CPU_SECONDS,
    )
    yield (
        {
            **common,
            "container": view.container,
            "id": f"{root}/cri-containerd-{container}.scope",
            "image": "ollama/ollama:sandbox",
            "name": container,
        },
        reading.cpu_seconds,
    )


def _limits(view: DeploymentView) -> Iterator[Row]:
    for pod in view.pods:
        limits = [("memory", "byte", Decimal(_MEMORY_LIMIT_BYTES))]
        if pod.cpu_limit is not None:
            limits.insert(0, ("cpu", "core", _cores(pod.cpu_limit)))
        for resource, unit, value in limits:
            place = {"node": _NODE, "resource": resource, "unit": unit}
            yield {**_pod_labels(pod), "container": view.container, **place}, value


def _restarts(view: DeploymentView) -> Iterator[Row]:
    for pod in view.pods:
        yield {**_pod_labels(pod), "container": view.container}, pod.restarts


def _phases(pods: Iterable[PodView]) -> Iterator[Row]:
    for pod in pods:
        for phase in PodPhase:
            yield {**_pod_labels(pod), "phase": str(phase)}, int(phase == pod.phase)


def _readiness(pods: Iterable[PodView]) -> Iterator[Row]:
    for pod in pods:
        for condition, holds in (("true", pod.ready), ("false", not pod.ready), ("unknown", False)):
            yield {**_pod_labels(pod), "condition": condition}, int(holds)


def _deployment_labels(view: DeploymentView) -> dict[str, str]:
    return {"namespace": view.namespace, "deployment": view.name}


def _pod_labels(pod: PodView) -> dict[str, str]:
    return {"namespace": pod.namespace, "pod": pod.name, "uid": _digest(pod.name)[:36]}


def _cores(quantity: str) -> Decimal:
    if quantity.endswith("m"):
        return Decimal(quantity[:-1]) / 1000
    return Decimal(quantity)


def _series(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


def _lines(name: str, kind: str, rows: Iterable[str]) -> str:
    return "\n".join([f"# TYPE {name} {kind}", *rows, ""])


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _page(text: str) -> web.Response:
    return web.Response(text=text, headers={"Content-Type": _CONTENT_TYPE})

"""The stack as it is shipped, in small, for tests of what `autoscaler check` finds in it.

A real Prometheus, a real HAProxy, replica processes and the emulated Kubernetes API, with the
shipped configuration and the shipped Deployment. What starts and scrapes is faster than in life, so
that it is soon there; the configuration is not. It runs in a thread of its own, since the command
is run as a person runs it.
"""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import yaml

from autoscaler.sandbox import daemon_process
from autoscaler.sandbox.daemon_process import Places, Plan
from autoscaler.sandbox.dns import DnsResponder
from autoscaler.sandbox.gateway import CONFIG, Gateway, Slots
from autoscaler.sandbox.kube.resources import DEPLOYMENTS
from autoscaler.sandbox.kube.runtime import REPLICA_PORT
from autoscaler.sandbox.lanes import ScaledLane, StackSettings
from autoscaler.sandbox.monitoring import Monitoring, MonitoringSettings
from autoscaler.sandbox.processes import free_port
from autoscaler.sandbox.service import profile_named
from autoscaler.settings import load
from tests.adapters.prometheus_server import Exporter

T = TypeVar("T")
Object = dict[str, Any]
SHIPPED = CONFIG.parents[2] / "config" / "autoscaler.yaml"
DEPLOYMENT = CONFIG.parents[1] / "ollama" / "deployment.yaml"
SPEED = 5.0
NAMESPACE, NAME = "llm", "ollama"
_PATIENCE_S = 60.0

# What somebody may have in haproxy.cfg instead of what is shipped.
NO_LEGENDS = {r"\n +stats show-legends": ""}
FEW_PLACES = {r"\n +use-server .*": "", "server-template ollama 32": "server-template ollama 4"}
NO_MAXCONN = {r' maxconn "\$\{GATEWAY_SLOTS\}"': ""}
OTHER_SERVICE = {r"\$\{GATEWAY_REPLICAS_NAME\}": "somebody.else.svc.cluster.local"}
DEAD_CHECK = {"httpchk GET /api/version": "httpchk GET /nonsense"}


class Checked:
    """What is running, and how a test spoils one thing of it."""

    def __init__(self, directory: Path) -> None:
        """Start everything, and wait until every query has an answer."""
        self.directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._ending = AsyncExitStack()
        self._exporter = Exporter("gone 1\n")
        try:
            self.wait(self._start())
        except BaseException:
            self.close()
            raise

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine beside the stack."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(90)

    def call(self, work: Callable[[], T]) -> T:
        """Run a function beside the stack."""

        async def run() -> T:
            return work()

        return self.wait(run())

    def close(self) -> None:
        """Stop everything."""
        self.wait(self._ending.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    # --- what runs

    async def _start(self) -> None:
        dns = DnsResponder()
        await dns.start()
        self._ending.callback(dns.stop)
        self.lane = lane = ScaledLane(
            StackSettings(
                directory=self.directory,
                speed=SPEED,
                profile=profile_named("3b-i3"),
                seed=1,
                dns=dns.address,
                namespace=NAMESPACE,
                deployment=NAME,
            )
        )
        self._ending.push_async_callback(lane.stop)
        dns.add(lane.host, REPLICA_PORT, lane.addresses)
        await lane.start(2)
        self._write_shipped(NAME)
        await lane.cluster.create_deployment(NAMESPACE, "asleep", 0)
        self._write_shipped("asleep")
        self.monitoring = self._monitoring()
        self._ending.push_async_callback(self.monitoring.stop)
        await asyncio.gather(self.monitoring.start(), self._spoil_gateways())
        await lane.until_ready(2)
        self.plan = self._plan()
        await self._until_answered()
        await asyncio.to_thread(self._exporter.stop)  # it was scraped, and is gone now
        self._gone_at = time.monotonic()

    def _write_shipped(self, name: str) -> None:
        """Give a Deployment the pod template and strategy that are shipped."""
        shipped = yaml.safe_load(DEPLOYMENT.read_text())["spec"]

        def edit(held: Object) -> None:
            held["spec"]["template"]["spec"] = shipped["template"]["spec"]
            held["spec"]["strategy"] = shipped["strategy"]

        self.lane.cluster.store.change(DEPLOYMENTS, (NAMESPACE, name), edit)

    def _monitoring(self) -> Monitoring:
        return Monitoring(
            MonitoringSettings(
                directory=self.directory,
                speed=SPEED,
                targets={
                    "gateway": self.lane.gateway.stats_address,
                    "autoscaler": self._exporter.address,
                    "kube-state-metrics": self.lane.exporters.address,
                    "cadvisor": self.lane.exporters.address,
                },
            )
        )

    async def _spoil_gateways(self) -> None:
        """Run the gateways that somebody has written wrong, in front of the same replicas."""
        wrong = {
            "no-legends": (NO_LEGENDS, 2),
            "few-places": (FEW_PLACES, 2),
            "no-maxconn": (NO_MAXCONN, 2),
            "dead-check": (DEAD_CHECK, 0),
            "other-service": (OTHER_SERVICE, 0),
        }
        self.gateways = {name: self._gateway(name, edits) for name, (edits, _) in wrong.items()}
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(
                *(self._run(self.gateways[name], session, up) for name, (_, up) in wrong.items())
            )

    def _gateway(self, name: str, edits: dict[str, str]) -> Gateway:
        text = CONFIG.read_text()
        for old, new in edits.items():
            text, count = re.subn(old, new, text)
            assert count, f"{old} is not in haproxy.cfg"
        config = self.directory / f"{name}.cfg"
        config.write_text(text)
        ports = {key: free_port() for key in ("port", "stats_port", "outside_port")}
        return Gateway(replace(self.lane.gateway._settings, name=name, config=config, **ports))

    async def _run(self, gateway: Gateway, session: aiohttp.ClientSession, up: int) -> None:
        await gateway.start()
        self._ending.push_async_callback(gateway.stop)
        seen: Slots | None = None
        async with asyncio.timeout(_PATIENCE_S):
            while seen is None or seen.up != up:
                seen = await gateway.slots(session)
                await asyncio.sleep(0.05)

    def _plan(self) -> Plan:
        places = Places(
            prometheus=self.monitoring.url,
            statistics=self.lane.gateway.statistics_url,
            kubeconfig=self.lane.cluster.kubeconfig_path,
            port=free_port(),
            records=self.directory / "records.jsonl",
        )
        return daemon_process.plan(
            SHIPPED, load(SHIPPED, {}), daemon_process.Changes(), places, self.directory
        )

    async def _until_answered(self) -> None:
        """Wait until each query has an answer, and some samples are behind it."""
        queries = [metric.query for metric in load(self.plan.config, {}).targets[0].metrics]
        asked = [*queries, "gone", "count_over_time(container_cpu_usage_seconds_total[1m]) > 3"]
        url = f"{self.monitoring.url}/api/v1/query"
        async with aiohttp.ClientSession() as session, asyncio.timeout(_PATIENCE_S):
            for query in asked:
                found: list[object] = []
                while not found:
                    async with session.get(url, params={"query": query}) as answer:
                        found = (await answer.json())["data"]["result"]
                    await asyncio.sleep(0.1)

    def wait_gone(self, seconds: float) -> None:
        """Return once the exporter that died has been gone for so long."""
        time.sleep(max(0.0, self._gone_at + seconds - time.monotonic()))

    # --- what a test spoils

    def policy(self) -> Object:
        """Return the configuration of the stack, to be changed."""
        whole: Object = load(self.plan.config, {}).model_dump(mode="json")
        return whole

    @contextmanager
    def edited(self, edit: Callable[[Object], object]) -> Iterator[None]:
        """Change the Deployment for as long as the test looks at it."""
        store, key = self.lane.cluster.store, (NAMESPACE, NAME)
        before = self.call(lambda: deepcopy(store.get(DEPLOYMENTS, *key)))
        self.call(lambda: store.change(DEPLOYMENTS, key, edit))
        try:
            yield
        finally:
            self.call(lambda: store.change(DEPLOYMENTS, key, lambda held: _restore(held, before)))


def _restore(held: Object, before: Object) -> None:
    held["metadata"] = {
        **before["metadata"],
        "resourceVersion": held["metadata"]["resourceVersion"],
    }
    held["spec"] = before["spec"]

"""The sandbox's stack in small, for tests: one scaled lane, Prometheus, the daemon's process."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any

import aiohttp

from autoscaler.sandbox import daemon_process
from autoscaler.sandbox.cycles import CycleLog
from autoscaler.sandbox.daemon_process import Changes, Places, Plan
from autoscaler.sandbox.dns import DnsResponder
from autoscaler.sandbox.gateway import CONFIG
from autoscaler.sandbox.kube.runtime import REPLICA_PORT
from autoscaler.sandbox.lanes import ScaledLane, StackSettings
from autoscaler.sandbox.monitoring import Monitoring, MonitoringSettings
from autoscaler.sandbox.ollama import INPUT_TOKENS_OPTION
from autoscaler.sandbox.processes import LOOPBACK, Child, free_port
from autoscaler.sandbox.service import profile_named
from autoscaler.settings import load

SHIPPED = CONFIG.parents[2] / "config" / "autoscaler.yaml"
PROFILE = profile_named("3b-i3")
_PATIENCE_S = 60.0


@dataclass(slots=True, kw_only=True)
class SmallStack:
    """What a test works with."""

    lane: ScaledLane
    session: aiohttp.ClientSession
    plan: Plan
    directory: Path
    log: CycleLog
    wanted: list[int] = field(default_factory=list)
    """Every number of replicas that was asked for, in order."""
    daemon: Child | None = field(default=None)

    def note_wanted(self) -> None:
        """Look at how many replicas are asked for."""
        if self.wanted[-1:] != [self.lane.desired()]:
            self.wanted.append(self.lane.desired())

    async def start_daemon(self) -> None:
        """Start the daemon; one that was killed is started anew."""
        self.daemon = await daemon_process.start(self.plan, self.directory, self.plan.places.port)

    async def kill_daemon(self) -> None:
        """End the daemon as a lost machine does."""
        if self.daemon is not None:
            self.daemon.signal(SIGKILL)
            await self.daemon.wait()
            self.daemon = None

    async def chat(self, tokens: int, words: int = 1) -> str:
        """Ask, and read to the end; answers `whole`, or what was wrong."""
        body = {
            "model": PROFILE.model,
            "messages": [{"role": "user", "content": "why " * words}],
            "options": {"num_predict": tokens, INPUT_TOKENS_OPTION: 1},
        }
        url = f"{self.lane.gateway.url}/api/chat"
        try:
            async with self.session.post(url, json=body) as answer:
                text = await answer.text()
        except aiohttp.ClientError as error:
            return repr(error)
        if answer.status != 200:
            return f"{answer.status} {text}"
        return "whole" if json.loads(text.splitlines()[-1])["done"] else "cut"

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait, a minute at most."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while not condition():  # noqa: ASYNC110 - other processes bring it about
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self.log.read()
            last = self.log.cycles[-1].view.sentence if self.log.cycles else "no cycle"
            raise AssertionError(f"waited in vain for {what}; {last}") from None


@asynccontextmanager
async def small_stack(
    directory: Path,
    *,
    speed: float,
    replicas: int,
    policy: Mapping[str, Any],
    gateway: bool = True,
    rival: bool = False,
    busy_cores: float = 2.0,
) -> AsyncIterator[SmallStack]:
    """Run it with the shipped configuration, in which `policy` changes keys of the target.

    The daemon has had its first cycle.

    Without `gateway` the daemon is told of no statistics that it could ask. A `rival` is an HPA
    that writes from the first cycle on; `busy_cores` are what a replica at work takes of two.
    """
    settings = load(_changed(directory, policy), {})
    target = settings.targets[0]
    async with AsyncExitStack() as ending:
        dns = DnsResponder()
        await dns.start()
        ending.callback(dns.stop)
        common = StackSettings(
            directory=directory,
            speed=speed,
            profile=PROFILE,
            seed=1,
            dns=dns.address,
            namespace=target.namespace,
            deployment=target.deployment,
            busy_cores=busy_cores,
        )
        lane = ScaledLane(common)
        ending.push_async_callback(lane.stop)
        dns.add(lane.host, REPLICA_PORT, lane.addresses)
        await lane.start(replicas)
        port = free_port()
        monitoring = Monitoring(
            MonitoringSettings(
                directory=directory,
                speed=speed,
                targets={
                    "gateway": lane.gateway.stats_address,
                    "autoscaler": f"{LOOPBACK}:{port}",
                    "kube-state-metrics": lane.exporters.address,
                    "cadvisor": lane.exporters.address,
                },
            )
        )
        ending.push_async_callback(monitoring.stop)
        await monitoring.start()
        await lane.until_ready(replicas)
        places = Places(
            prometheus=monitoring.url,
            statistics=lane.gateway.statistics_url if gateway else "",
            kubeconfig=lane.cluster.kubeconfig_path,
            port=port,
            records=directory / "records.jsonl",
        )
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        session = await ending.enter_async_context(aiohttp.ClientSession(connector=connector))
        stack = SmallStack(
            lane=lane,
            session=session,
            plan=daemon_process.plan(SHIPPED, settings, Changes(speed=speed), places, directory),
            directory=directory,
            log=CycleLog(places.records),
        )
        stack.note_wanted()
        lane.cluster.on_change(stack.note_wanted)
        ending.push_async_callback(stack.kill_daemon)
        await stack.start_daemon()
        await stack.until(lambda: bool(stack.log.read()), "the first cycle")
        if rival:
            await lane.start_rival(target.min_replicas, target.max_replicas)
        yield stack


def _changed(directory: Path, policy: Mapping[str, Any]) -> Path:
    """Write the shipped configuration with some keys of the target changed.

    A daemon that was killed is missed for three seconds, not for fifteen.
    """
    whole = load(SHIPPED, {}).model_dump(mode="json")
    whole["kubernetes"]["timeout"], whole["leadership"]["duration"] = "1s", "3s"
    whole["targets"][0] |= policy
    path = directory / "policy.yaml"
    path.write_text(json.dumps(whole))
    return path

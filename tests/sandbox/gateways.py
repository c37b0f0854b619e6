"""A real gateway in front of real replica processes, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from autoscaler.sandbox.dns import DnsResponder
from autoscaler.sandbox.gateway import Gateway, GatewaySettings, Slots, defaults
from autoscaler.sandbox.kube import Container, PodRun, ProcessRuntime
from autoscaler.sandbox.processes import free_port
from autoscaler.sandbox.timescale import divide_gateway

NAME = "ollama.llm.svc.cluster.local"
REPLICA_SPEED = 40.0
ANSWER = 931
"""Tokens of an answer that takes 0.6 seconds at that speed."""


@dataclass(slots=True, kw_only=True)
class Rig:
    """What a test works with."""

    gateway: Gateway
    session: aiohttp.ClientSession
    runtime: ProcessRuntime
    port: int
    """The replicas'."""
    containers: dict[str, Container] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)
    """What DNS answers."""

    async def replica(self) -> str:
        """Start a replica, not yet known to DNS; answers its address."""
        ip = self.runtime.address()
        self.containers[ip] = await self.runtime.start(PodRun(namespace="llm", name=ip, ip=ip))
        async with asyncio.timeout(10):
            while not await self.containers[ip].is_ready():  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.02)
        return ip

    async def chat(self, tokens: int = ANSWER, words: int = 1, **headers: str) -> int:
        """Ask a question and read the whole answer; answers the status."""
        url = f"{self.gateway.url}/api/chat"
        asked = question(tokens, words)
        async with self.session.post(url, json=asked, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def slots(self, wanted: Callable[[Slots], bool], within_s: float = 5.0) -> Slots:
        """Wait until the gateway's slots are as wanted."""
        async with asyncio.timeout(within_s):
            while True:
                slots = await self.gateway.slots(self.session)
                if slots is not None and wanted(slots):
                    return slots
                await asyncio.sleep(0.02)


@asynccontextmanager
async def rig(
    directory: Path,
    replicas: int = 2,
    speed: float = 10.0,
    replica_speed: float = REPLICA_SPEED,
    **variables: str,
) -> AsyncIterator[Rig]:
    """Start a gateway whose timers are divided by `speed`, and wait for its replicas."""
    port = free_port()
    dns = DnsResponder()
    await dns.start()
    gateway = Gateway(
        GatewaySettings(
            name="test",
            directory=directory,
            environment={
                **divide_gateway(defaults(), speed),
                "GATEWAY_DNS": dns.address,
                **variables,
            },
        )
    )
    runtime = ProcessRuntime(
        ("--speed", str(replica_speed), "--profile", "1b-sbc"), pool="127.79.0.0", port=port
    )
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        ready = Rig(gateway=gateway, session=session, runtime=runtime, port=port)
        dns.add(NAME, port, lambda: ready.addresses)
        try:
            await gateway.start()
            ready.addresses += await asyncio.gather(*(ready.replica() for _ in range(replicas)))
            await ready.slots(lambda slots: slots.up == replicas)
            yield ready
        finally:
            await gateway.stop()
            dns.stop()
            for container in ready.containers.values():
                container.kill()
                await container.exit_code()
            await runtime.close()


def question(tokens: int, words: int = 1) -> dict[str, object]:
    """Return a chat whose answer has that many tokens."""
    return {
        "model": "tinyllama:1.1b",
        "messages": [{"role": "user", "content": "why " * words}],
        "options": {"num_predict": tokens},
    }

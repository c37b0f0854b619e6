"""An emulated cluster for tests: in a thread of its own, with containers that are only objects."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from autoscaler.sandbox.kube import Cluster, PodRun, PodTemplate

T = TypeVar("T")

SPEED = 100.0
"""A probe every 10 ms, a grace period of 330 s within 3.3 s."""
QUICK = PodTemplate(grace=timedelta(seconds=330), drain_delay=timedelta(0))


@dataclass
class FakeContainer:
    """A container whose readiness, load and end the test sets."""

    pod: PodRun
    ready: bool = True
    obedient: bool = True
    """Whether SIGTERM ends it."""
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[str] = field(default_factory=list)
    """What was asked of it, in order."""
    code: int = 0

    async def is_ready(self) -> bool:
        """Answer the probe."""
        return self.ready

    async def drain(self) -> None:
        """Wait until the test says that nothing is in flight."""
        self.told.append("drain")
        await self.drained.wait()

    def terminate(self) -> None:
        """End, where it is obedient."""
        self.told.append("terminate")
        if self.obedient:
            self.end(0)

    def kill(self) -> None:
        """End."""
        if not self.ended.is_set():
            self.told.append("kill")
            self.end(-9)

    def end(self, code: int) -> None:
        """End with an exit code."""
        self.code = code
        self.ended.set()

    async def exit_code(self) -> int:
        """Wait for the end."""
        await self.ended.wait()
        return self.code


@dataclass
class FakeRuntime:
    """Starts containers that are ready and idle unless the test says otherwise."""

    ready: bool = True
    idle: bool = True
    obedient: bool = True
    started: list[FakeContainer] = field(default_factory=list)
    addresses: int = 0

    def address(self) -> str:
        """Give the next address; nobody listens on it."""
        self.addresses += 1
        return f"127.9.0.{self.addresses}"

    async def start(self, pod: PodRun) -> FakeContainer:
        """Start one."""
        container = FakeContainer(pod, ready=self.ready, obedient=self.obedient)
        if self.idle:
            container.drained.set()
        self.started.append(container)
        return container

    async def close(self) -> None:
        """Hold nothing."""

    def of(self, name: str) -> list[FakeContainer]:
        """List the containers that a pod had, in order."""
        return [container for container in self.started if container.pod.name == name]


class ClusterThread:
    """Runs a cluster in a thread, since the official client blocks the one that calls it."""

    def __init__(self, directory: Path, **options: Any) -> None:
        """Start the cluster and wait until it listens."""
        self.runtime = FakeRuntime()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.cluster = self.call(lambda: Cluster(self.runtime, directory, speed=SPEED, **options))
        self.wait(self.cluster.start())

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the cluster's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def call(self, work: Callable[[], T]) -> T:
        """Run a function on the cluster's loop."""

        async def run() -> T:
            return work()

        return self.wait(run())

    def deploy(self, name: str = "ollama", replicas: int = 2) -> None:
        """Create a Deployment in the namespace `llm` and wait until it serves."""
        self.wait(self.cluster.create_deployment("llm", name, replicas, QUICK))
        self.wait(self.cluster.wait_ready("llm", name, replicas, 10))

    def close(self) -> None:
        """Stop everything."""
        self.wait(self.cluster.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

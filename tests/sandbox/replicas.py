"""Replicas for tests: inside the test's own event loop, or as processes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from autoscaler.sandbox.replica import Replica, ReplicaSettings
from autoscaler.sandbox.service import PROFILES
from autoscaler.sandbox.wire import serve

PROFILE = replace(PROFILES["3b-laptop"], start_up_s=0.0)
SETTINGS = ReplicaSettings(pod="ollama-a", profile=PROFILE, speed=200)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for another process or task, which has no event to give; at most 5 seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@asynccontextmanager
async def replica(settings: ReplicaSettings = SETTINGS) -> AsyncIterator[str]:
    """Serve one replica on a free port; yields its base URL."""
    server, connections = await serve(Replica(settings).handle, "127.3.9.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for connection in tuple(connections):
            connection.cut()
        await asyncio.sleep(0)


@asynccontextmanager
async def replica_process(*args: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Start a replica as the sandbox does; yields the process and its base URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "autoscaler.sandbox.replica", "--host", "127.3.9.2"),
        *("--port", "0", "--pod", "ollama-p", "--speed", "200", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        told = json.loads(await process.stdout.readline())
        yield process, f"http://{told['host']}:{told['port']}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()

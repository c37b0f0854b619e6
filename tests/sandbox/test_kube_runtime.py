"""The runtime that starts replica processes, with a small program in the replica's place."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from autoscaler.sandbox.kube import Cluster, PodRun, PodTemplate, ProcessRuntime
from autoscaler.sandbox.processes import SandboxError, free_port

POOL = "127.78.0.0"
PROGRAM = """
import sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("begin", *sys.argv[1:], flush=True)
loaded = time.monotonic() + float(options["--load"])
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/sandbox/drain":
            time.sleep(float(options["--busy"]))
            print("drained", flush=True)
            body = b"{}"
        else:
            body = b'{"models": [{}]}' if time.monotonic() > loaded else b'{"models": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
ThreadingHTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture
def program(tmp_path) -> Path:
    """Write the stand-in for a replica."""
    path = tmp_path / "replica.py"
    path.write_text(PROGRAM)
    return path


def runtime_of(program, port, load=0.0, busy=0.0) -> ProcessRuntime:
    """Run the stand-in, which is loading and then busy for so many seconds."""
    return ProcessRuntime(
        ["--load", str(load), "--busy", str(busy)],
        log_directory=program.parent,
        pool=POOL,
        port=port,
        program=(sys.executable, str(program)),
    )


@pytest.fixture
async def runtime(program) -> AsyncIterator[ProcessRuntime]:
    """Run replicas that take a moment to load and to drain."""
    runtime = runtime_of(program, free_port(), load=0.3, busy=0.2)
    yield runtime
    await runtime.close()


async def test_a_replica_is_started_probed_drained_and_ended(runtime, tmp_path):
    """It gets its address, port and name, and its output a file."""
    run = PodRun(namespace="llm", name="ollama-x", ip=runtime.address())
    container = await runtime.start(run)
    assert not await container.is_ready()
    await asyncio.sleep(0.3)
    async with asyncio.timeout(10):
        while not await container.is_ready():  # noqa: ASYNC110 - a probe: nobody tells
            await asyncio.sleep(0.05)
    await container.drain()
    container.terminate()
    assert await container.exit_code() == -signal.SIGTERM
    port = runtime._port
    assert (tmp_path / "ollama-x.log").read_text().splitlines() == [
        f"begin --host {run.ip} --port {port} --pod ollama-x --load 0.3 --busy 0.2",
        "drained",
    ]


async def test_a_dead_replica_is_not_ready_and_needs_no_drain(runtime):
    """Neither waits for somebody who is not there."""
    container = await runtime.start(PodRun(namespace="llm", name="x", ip=runtime.address()))
    container.kill()
    assert await container.exit_code() == -signal.SIGKILL
    assert not await container.is_ready()
    async with asyncio.timeout(1):
        await container.drain()
    container.terminate()


async def test_a_program_that_is_not_there_is_told(program):
    """One line with its name."""
    runtime = ProcessRuntime(program=(str(program.parent / "none"),), pool=POOL)
    with pytest.raises(SandboxError, match="replica x"):
        await runtime.start(PodRun(namespace="llm", name="x", ip=runtime.address()))
    await runtime.close()


def test_addresses_in_use_are_passed_over():
    """Two sandboxes on one machine do not get into each other's way."""
    port = free_port()
    first = ProcessRuntime(pool=POOL, port=port)
    taken = first.address()
    with socket.socket() as other:
        other.bind((taken, port))
        assert ProcessRuntime(pool=POOL, port=port).address() != taken
    assert first.address() != taken


def test_a_pool_off_loopback_is_refused():
    """Nothing listens where others could reach it."""
    with pytest.raises(SandboxError, match="must be a loopback address"):
        ProcessRuntime(pool="10.0.0.0").address()


async def test_a_whole_cluster_of_processes_comes_and_goes(program, tmp_path):
    """Scaled down, a replica drains; stopped, none is left."""
    cluster = Cluster(runtime_of(program, free_port(), busy=0.2), tmp_path, speed=20)
    await cluster.start()
    template = PodTemplate(drain_delay=timedelta(0))
    await cluster.create_deployment("llm", "ollama", 2, template)
    await cluster.wait_ready("llm", "ollama", 2, 15)
    cluster.scale("llm", "ollama", 1)
    async with asyncio.timeout(10), cluster.changes() as changes:
        async for _ in changes:
            if len(cluster.pods("llm", "ollama")) == 1:
                break
    await cluster.stop()
    logs = sorted(path.read_text().count("drained") for path in tmp_path.glob("*.log"))
    assert logs == [0, 1]
    assert all_gone(program)


def test_replicas_die_with_a_sandbox_that_is_killed(program, tmp_path):
    """SIGKILL gives nobody a chance to clean up: the kernel does."""
    script = f"""
import asyncio, pathlib
from autoscaler.sandbox.kube import Cluster
from tests.sandbox.test_kube_runtime import runtime_of
async def main():
    directory = pathlib.Path({str(tmp_path)!r})
    cluster = Cluster(runtime_of(directory / "replica.py", {free_port()}), directory, speed=20)
    await cluster.start()
    await cluster.create_deployment("llm", "ollama", 2)
    await cluster.wait_ready("llm", "ollama", 2, 15)
    print("up", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as sandbox:
        try:
            assert sandbox.stdout.readline() == b"up\n"
            assert len(running(program)) == 2
        finally:
            os.kill(sandbox.pid, signal.SIGKILL)
        sandbox.wait()
    assert all_gone(program)


def running(program) -> list[str]:
    """List the processes that run the stand-in."""
    found = Path("/proc").glob("[0-9]*/cmdline")
    return [path.parent.name for path in found if _command_line(path)[1:2] == [str(program)]]


def all_gone(program) -> bool:
    """Tell whether none is left, giving those just killed a moment."""
    for _ in range(100):
        if not running(program):
            return True
        time.sleep(0.02)
    return False


def _command_line(path) -> list[str]:
    try:
        return path.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []

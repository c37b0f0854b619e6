"""What runs a pod's container: the port, and the one that starts replica processes."""

import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

import aiohttp

from autoscaler.sandbox.processes import Child, Command, SandboxError

REPLICA_PORT = 11434
_PROBE_SECONDS = 1.0
_ADDRESSES = 60_000
"""As many as a pool goes through before it starts again: none is reused soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRun:
    """The pod whose container is to run."""

    namespace: str
    name: str
    ip: str


class Container(Protocol):
    """One running container."""

    async def is_ready(self) -> bool:
        """Probe it, within a second or so."""

    async def drain(self) -> None:
        """Return when no request is in flight. The caller sets the limit."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""

    async def exit_code(self) -> int:
        """Wait for its end."""


class Runtime(Protocol):
    """Starts containers."""

    def address(self) -> str:
        """Take an address for a new pod."""

    async def start(self, pod: PodRun) -> Container:
        """Start a pod's container. Raises SandboxError where the system refuses."""

    async def close(self) -> None:
        """Release what the runtime itself holds; its containers have ended by then."""


class ProcessRuntime:
    """Runs each pod as a replica process on a loopback address of its own."""

    def __init__(
        self,
        args: Sequence[str] = (),
        *,
        log_directory: Path | None = None,
        pool: str = "127.77.0.0",
        port: int = REPLICA_PORT,
        program: Sequence[str] = (sys.executable, "-m", "autoscaler.sandbox.replica"),
    ) -> None:
        """Start `program` with `--host`, `--port`, `--pod` and then `args`.

        A replica's output goes to `<pod>.log` in `log_directory`. Two pools on one machine need not
        differ: addresses on which something listens are passed over.
        """
        self._args = tuple(args)
        self._log_directory = log_directory
        self._port = port
        self._program = tuple(program)
        self._addresses = _addresses(pool)
        self._session: aiohttp.ClientSession | None = None

    def address(self) -> str:
        """Take the next address on which the replicas' port is free."""
        return next(ip for ip in self._addresses if _is_free(ip, self._port))

    async def start(self, pod: PodRun) -> Container:
        """Start a replica. Raises SandboxError where the system refuses."""
        if self._session is None:
            # Every probe has a connection of its own: none idles on a replica that is counted.
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        where = ("--host", pod.ip, "--port", str(self._port), "--pod", pod.name)
        directory = self._log_directory
        command = Command(
            name=f"replica {pod.name}",
            argv=(*self._program, *where, *self._args),
            log=directory / f"{pod.name}.log" if directory else Path("/dev/null"),
        )
        child = await Child.start(command)
        return _ReplicaProcess(child, f"http://{pod.ip}:{self._port}", self._session)

    async def close(self) -> None:
        """Close the probes' connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class _ReplicaProcess:
    """A replica, probed and drained over its own HTTP port."""

    def __init__(self, child: Child, url: str, session: aiohttp.ClientSession) -> None:
        self._child = child
        self._url = url
        self._session = session

    async def is_ready(self) -> bool:
        limit = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        try:
            async with self._session.get(f"{self._url}/api/ps", timeout=limit) as response:
                body = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return False
        return isinstance(body, dict) and bool(body.get("models"))

    async def drain(self) -> None:
        limit = aiohttp.ClientTimeout(total=None)
        try:
            async with self._session.get(f"{self._url}/sandbox/drain", timeout=limit) as response:
                await response.read()
        except (aiohttp.ClientError, OSError):
            return  # it has ended, or never listened: nothing is in flight

    def terminate(self) -> None:
        self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        self._child.signal(signal.SIGKILL)

    async def exit_code(self) -> int:
        return await self._child.wait()


def _addresses(pool: str) -> Iterator[str]:
    base = int(IPv4Address(pool))
    if not IPv4Address(pool).is_loopback:
        raise SandboxError(f"pool = {pool!r}, must be a loopback address such as 127.77.0.0")
    while True:
        yield from (str(IPv4Address(base + offset)) for offset in range(1, _ADDRESSES))


def _is_free(ip: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((ip, port))
        except OSError:
            return False
    return True

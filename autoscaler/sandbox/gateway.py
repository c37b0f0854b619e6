"""The real HAProxy, run with the very file that the cluster gets."""

import asyncio
import csv
import io
import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from autoscaler.sandbox.processes import LOOPBACK, Child, Command, free_port, until

CONFIG = Path(__file__).parents[2] / "deploy" / "gateway" / "haproxy.cfg"
PROGRAM = os.environ.get("HAPROXY", "haproxy")
"""Another version can be tried: HAPROXY=/path/to/haproxy."""
PROXY = "ollama"
"""The backend that runs models, as its metrics are labelled."""
_NO_REPLICAS = ("FRONTEND", "BACKEND", "full")
"""Rows of a proxy that stand for no replica: its own, and the place where the queue is held."""
_TEMPLATE = re.compile(rf"^\s*server-template {PROXY} (\d+) ", re.MULTILINE)
_DEFAULT = re.compile(r"^\s*presetenv\s+(\S+)\s+(\S+)\s*$", re.MULTILINE)
_START_SECONDS = 10.0
_REQUEST = aiohttp.ClientTimeout(total=2.0)


def defaults(config: Path = CONFIG) -> dict[str, str]:
    """Read the variables of the configuration file and their defaults, from the file itself."""
    return dict(_DEFAULT.findall(config.read_text()))


def most_replicas(config: Path = CONFIG) -> int:
    """Read how many replicas the gateway has a place for, draining ones included."""
    return int(_TEMPLATE.findall(config.read_text())[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """What the gateway sees of its replicas now."""

    queued: int
    running: int
    up: int
    by_address: Mapping[str, int]
    """`ip:port` of a replica that is up to the requests on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """One gateway."""

    name: str
    directory: Path
    """For its log."""
    environment: Mapping[str, str]
    """Variables of the configuration file, addresses apart."""
    port: int = field(default_factory=free_port)
    stats_port: int = field(default_factory=free_port)
    outside_port: int = field(default_factory=free_port)
    """Opened where the environment has GATEWAY_API_KEY."""
    config: Path = CONFIG
    program: str = PROGRAM


class Gateway:
    """One HAProxy and, after a restart, its predecessors until they have finished."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Remember what to run."""
        self._settings = settings
        self._child: Child | None = None
        self._old: list[Child] = []
        self._starts = 0

    @property
    def url(self) -> str:
        """Where clients send their requests."""
        return f"http://{LOOPBACK}:{self._settings.port}"

    @property
    def outside_url(self) -> str:
        """Where clients from outside send theirs, where a key is set."""
        return f"http://{LOOPBACK}:{self._settings.outside_port}"

    @property
    def stats_address(self) -> str:
        """Return `host:port` of /metrics, /stats and /healthz."""
        return f"{LOOPBACK}:{self._settings.stats_port}"

    @property
    def statistics_url(self) -> str:
        """Return where the autoscaler asks how busy each replica is."""
        return f"http://{self.stats_address}/stats;csv"

    async def start(self) -> None:
        """Start it and wait until it listens. Raises SandboxError."""
        self._starts += 1
        settings = self._settings
        own = f"abns@gateway-{os.getpid()}-{settings.port}-{self._starts}"
        command = Command(
            name=f"haproxy ({settings.name})",
            argv=(settings.program, "-db", "-f", str(settings.config)),
            environment={
                **settings.environment,
                "GATEWAY_BIND": f"{LOOPBACK}:{settings.port}",
                "GATEWAY_STATS_BIND": f"{LOOPBACK}:{settings.stats_port}",
                "GATEWAY_OUTSIDE_BIND": f"{LOOPBACK}:{settings.outside_port}",
                "GATEWAY_TASKS_SOCKET": f"{own}-tasks",
                "GATEWAY_HOLD_SOCKET": f"{own}-hold",
            },
            log=settings.directory / f"haproxy-{settings.name}.log",
        )
        self._child = child = await Child.start(command)
        await until(lambda: _listens(child.pid, settings.port), child, _START_SECONDS)

    async def restart(self) -> None:
        """Start another and stop this one softly: its streams finish, new ones go to the other."""
        predecessor = self._child
        await self.start()
        if predecessor is not None:
            predecessor.signal(signal.SIGUSR1)
            self._old.append(predecessor)

    async def stop(self) -> None:
        """End it and its predecessors at once; safe to call twice."""
        children = [*self._old, *([self._child] if self._child else [])]
        await asyncio.gather(*(child.stop() for child in children))
        self._old, self._child = [], None

    async def slots(self, session: aiohttp.ClientSession) -> Slots | None:
        """Ask for the present queue and slots; None where it does not answer."""
        try:
            async with session.get(self.statistics_url, timeout=_REQUEST) as answer:
                return read_slots(await answer.text())
        except (aiohttp.ClientError, TimeoutError):
            return None


def read_slots(text: str) -> Slots:
    """Read HAProxy's CSV statistics (with `show-legends`)."""
    rows = [row for row in csv.DictReader(io.StringIO(text.lstrip("# "))) if row["pxname"] == PROXY]
    whole = next(row for row in rows if row["svname"] == "BACKEND")
    servers = [row for row in rows if row["svname"] not in _NO_REPLICAS]
    up = [row for row in servers if row["status"].startswith("UP")]
    return Slots(
        queued=int(whole["qcur"]) + sum(int(row["qcur"] or 0) for row in servers),
        running=sum(int(row["scur"]) for row in servers),
        up=len(up),
        by_address={row["addr"]: int(row["scur"]) for row in up if row["addr"]},
    )


def _listens(pid: int, port: int) -> bool:
    """Tell whether this very process listens: after a restart its predecessor still does."""
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "0A" and fields[1].endswith(f":{port:04X}")
    }
    try:
        held = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    return any(f"socket:[{inode}]" in held for inode in inodes)

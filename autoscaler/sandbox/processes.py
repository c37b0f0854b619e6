"""Children of the sandbox: free ports, start, stop, and an end that cannot be missed."""

import asyncio
import contextlib
import ctypes
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, Signals

import aiohttp

from autoscaler.errors import AutoscalerError

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02


class SandboxError(AutoscalerError):
    """The sandbox cannot do what was asked; the message is one line."""


class ProgramMissingError(SandboxError):
    """A program that the sandbox runs is not installed; the message names the command to type."""


def require_programs(*names: str) -> None:
    """Refuse to start where a program is absent. Raises ProgramMissingError."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        raise ProgramMissingError(
            f"{' and '.join(missing)} not found on PATH, must be installed",
            next_step=f"apt-get install {' '.join(missing)}",
        )


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Find a port on loopback that nothing listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _inherited() -> dict[str, str]:
    """Leave out settings meant for a daemon or a gateway of the user's own."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AUTOSCALER_", "GATEWAY_"))
    }


def die_with_parent() -> Callable[[], None]:
    """Make what a child runs before its program: the kernel kills it when this process ends.

    Whatever ends the sandbox, kill -9 included, then leaves nothing behind.
    """
    library = ctypes.CDLL(None, use_errno=True)  # loaded here: a forked child must not load it
    parent = os.getpid()

    def prepare() -> None:
        library.prctl(_PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return prepare


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run."""

    name: str
    """As messages call it."""
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """In addition to the sandbox's own, from which AUTOSCALER_* and GATEWAY_* are left out."""
    log: Path
    """Receives its output, appended."""


class Child:
    """One running child. It has a session of its own, so Ctrl-C reaches the sandbox alone."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process) -> None:
        """Take over a process that was started; use `start`."""
        self.command = command
        self._process = process

    @classmethod
    async def start(cls, command: Command) -> "Child":
        """Start it. Raises SandboxError where the system refuses."""
        try:
            with command.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *command.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**_inherited(), **command.environment},
                    start_new_session=True,
                    preexec_fn=die_with_parent(),
                )
        except OSError as error:
            raise SandboxError(f"{command.name}: cannot start {command.argv[0]}: {error}") from None
        return cls(command, process)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.returncode

    def signal(self, number: Signals) -> None:
        """Send a signal; an ended child is left alone."""
        if self.exit_code is None:
            # Not the process object's own method: that one reaps, and the exit code is lost.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for its end."""
        return await self._process.wait()

    async def stop(self, number: Signals = SIGTERM, within_s: float = _STOP_SECONDS) -> int:
        """Ask it to end, and end it where it does not; answers its exit code."""
        self.signal(number)
        self.signal(SIGCONT)  # a stopped process would not see the other one
        try:
            return await asyncio.wait_for(self.wait(), within_s)
        except TimeoutError:
            self.signal(SIGKILL)
            return await self.wait()

    def last_line(self) -> str:
        """Return the last line of its output, for a message."""
        lines = self.command.log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


async def until(ready: Callable[[], bool], child: Child, within_s: float) -> None:
    """Wait until a child has got somewhere. Raises SandboxError where it ends or takes too long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not ready():
        if child.exit_code is not None:
            raise SandboxError(
                f"{child.command.name} ended with {child.exit_code}: {child.last_line()}"
            )
        if loop.time() > deadline:
            raise SandboxError(
                f"{child.command.name} was not ready within {within_s:g} s: {child.last_line()}"
            )
        await asyncio.sleep(_POLL_SECONDS)


async def until_answers(url: str, child: Child, within_s: float) -> None:
    """Wait until `url` answers 200. Raises SandboxError where its server ends or takes too long."""
    answered = False
    limit = aiohttp.ClientTimeout(total=1.0)

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        while not answered:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url, timeout=limit) as answer:
                    answered = answer.status == HTTPStatus.OK
            await asyncio.sleep(_POLL_SECONDS)

    async with aiohttp.ClientSession() as session:
        asking = asyncio.ensure_future(ask(session))
        try:
            await until(lambda: answered, child, within_s)
        finally:
            asking.cancel()

"""`autoscaler sandbox`: the whole stack on this machine, under a load, from start to report."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from autoscaler.errors import AutoscalerError, ConfigError, InputError, told
from autoscaler.sandbox import gateway, monitoring, stack
from autoscaler.sandbox.faults import FAULTS, fault_named
from autoscaler.sandbox.live import Screen, screen
from autoscaler.sandbox.outcome import Ended, tell
from autoscaler.sandbox.processes import LOOPBACK, ProgramMissingError, require_programs
from autoscaler.sandbox.rivals import rival_named
from autoscaler.sandbox.service import Profile, profile_named
from autoscaler.sandbox.stack import Setup, Stack
from autoscaler.sandbox.traffic import HOME_BUSY_SLOTS, Traffic, generate, read_trace, thin
from autoscaler.settings import Settings, find_file, load

__all__ = ["FAULTS", "SandboxOptions", "run_sandbox"]

OUT = Path("demo")
PROFILE = "3b-laptop"
REPORT, RECORDS = "report.html", "records.jsonl"
_GENERATED_S = 900.0
# A run of any length takes about this long, unless that asks for more speed than the daemon's
# shortest interval allows, or than two processor cores carry.
_WALL_SECONDS = 80.0
_FASTEST = 36.0
_SHORTEST_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """What the command line gives; None stands for the default."""

    config: Path | None = None
    speed: float | None = None
    """Times real time; chosen so that the run takes well under two minutes."""
    seed: int = 1
    minutes: float | None = None
    """Of simulated time: 15 of generated traffic, the whole of a trace."""
    profile: str | None = None
    trace: Path | None = None
    busy_slots: float | None = None
    """What a trace is thinned to, on average."""
    fault: str | None = None
    rival: str | None = None
    """Who writes, while the daemon is a shadow."""
    out: Path | None = None
    keep: bool = False
    """Stay up after the load, until Ctrl-C."""
    plain: bool = False
    """Lines instead of the view."""


class StoppedError(AutoscalerError):
    """A signal ended the run before it was over."""


def run_sandbox(options: SandboxOptions, on: Screen | None = None) -> int:
    """Run it; answers 0 where it worked, 1 where it did not, 2 where it cannot be started.

    It is shown `on` another screen than the terminal where one is given.
    """
    try:
        require_programs("haproxy", "prometheus")
        setup = _setup(options)
    except (ConfigError, InputError, ProgramMissingError) as error:
        return _fail(told(error), 2)
    console = Console()
    shown = on or screen(console, plain=options.plain)
    out = options.out or OUT
    try:
        out.mkdir(parents=True, exist_ok=True)
        setup.records.unlink(missing_ok=True)
        ended = asyncio.run(_run(setup, shown, options))
        problems = tell(ended, console, out / REPORT)
    except OSError as error:
        what = f"{error.filename or out}: {error.strerror or error}, must be a folder to write to"
        return _fail(f"{what}; next: autoscaler sandbox --out FOLDER", 1)
    except AutoscalerError as error:
        return _fail(told(error), 1)
    finally:
        shutil.rmtree(setup.directory, ignore_errors=True)
    for problem in problems:
        _fail(problem, 1)
    return 1 if problems else 0


def _setup(options: SandboxOptions) -> Setup:
    """Check everything that can be checked before anything runs."""
    for shipped in (gateway.CONFIG, monitoring.CONFIG):
        if not shipped.exists():
            raise ConfigError(
                f"{shipped}: no such file, the sandbox runs from a checkout alone",
                next_step="make demo, in a checkout",
            )
    config = find_file(options.config)
    settings = load(config, {})
    if len(settings.targets) != 1:
        raise ConfigError(
            f"{config}: targets = {len(settings.targets)}, must be 1 for the sandbox",
            next_step="autoscaler sandbox --config FILE with one target",
        )
    most, places = settings.targets[0].max_replicas, gateway.most_replicas()
    if most > places:
        raise ConfigError(
            f"{config}: targets[0].max_replicas = {most}, must be at most {places}:"
            f" {gateway.CONFIG} has a place for so many replicas",
            next_step=f"autoscaler sandbox --config FILE with max_replicas: {places}",
        )
    profile = profile_named(options.profile or PROFILE)
    traffic = _traffic(options, profile)
    out = options.out or OUT
    return Setup(
        config=config,
        settings=settings,
        traffic=traffic,
        profile=profile,
        speed=_speed(options, settings, traffic),
        seed=options.seed,
        fault=fault_named(options.fault),
        rival=rival_named(options.rival),
        records=(out / RECORDS).absolute(),
        directory=Path(tempfile.mkdtemp(prefix="autoscaler-sandbox-")),
    )


def _traffic(options: SandboxOptions, profile: Profile) -> Traffic:
    limit_s = None if options.minutes is None else 60.0 * options.minutes
    if limit_s is not None and limit_s <= 0:
        raise InputError(
            f"--minutes = {options.minutes:g}, must be above 0",
            next_step="autoscaler sandbox --minutes 15",
        )
    if options.trace is None:
        return generate(profile, options.seed, limit_s or _GENERATED_S)
    busy = HOME_BUSY_SLOTS if options.busy_slots is None else options.busy_slots
    if busy <= 0:
        raise InputError(
            f"--busy-slots = {busy:g}, must be above 0",
            next_step=f"autoscaler sandbox --trace FILE --busy-slots {HOME_BUSY_SLOTS:g}",
        )
    return thin(read_trace(options.trace, limit_s), profile, options.seed, busy)


def _speed(options: SandboxOptions, settings: Settings, traffic: Traffic) -> float:
    fastest = settings.interval.total_seconds() / _SHORTEST_INTERVAL_S
    if options.speed is None:
        return max(1.0, min(traffic.duration_s / _WALL_SECONDS, _FASTEST, fastest))
    if not 1 <= options.speed <= fastest:
        raise InputError(
            f"--speed = {options.speed:g}, must be from 1 to {fastest:g}"
            " (the daemon's interval must not fall below 100ms)",
            next_step=f"autoscaler sandbox --speed {min(fastest, _FASTEST):g}",
        )
    return options.speed


async def _run(setup: Setup, on: Screen, options: SandboxOptions) -> Ended:
    """Start, drive and end everything. Raises StoppedError after a signal."""
    stop = _Stop(asyncio.current_task())
    stop.listen()
    try:
        with on as shown:
            _announce(setup, lambda text: shown.say(None, text))
            async with AsyncExitStack() as ending:
                running = await stack.start(setup, shown, ending)
                await running.drive()
                lateness = running.watch.lateness(setup.settings.interval / setup.speed)
                until_s = running.watch.now_s
                if options.keep:
                    await _stay(running, stop, lambda text: shown.say(None, text))
                code = await running.finish()
        return Ended(stack=running, exit_code=code, until_s=until_s, lateness=lateness)
    except asyncio.CancelledError:
        if stop.by is None:
            raise
        raise StoppedError(f"stopped by {stop.by.name} before its end") from None
    except AutoscalerError:
        _keep_logs(setup)
        raise


def _announce(setup: Setup, say: Callable[[str], None]) -> None:
    traffic, speed = setup.traffic, setup.speed
    say(
        f"{traffic.duration_s / 60:.0f} simulated minutes at {speed:g} times real time,"
        f" {traffic.duration_s / speed:.0f} s here: every duration is divided by {speed:g}"
    )
    say(f"{len(traffic.requests)} requests, {traffic.source}")
    say(f"replicas: {setup.profile.name}, {setup.profile.model}; {setup.profile.grounds}")


async def _stay(running: Stack, stop: "_Stop", say: Callable[[str], None]) -> None:
    """Wait for a signal, which then ends the run in good order."""
    target = running.setup.settings.targets[0]
    say(f"gateway     {running.lane.gateway.url}")
    say(f"prometheus  {running.monitoring.url}")
    say(f"status      http://{LOOPBACK}:{running.plan.places.port}/status")
    kubeconfig = running.plan.places.kubeconfig
    say(f"kubernetes  kubectl --kubeconfig {kubeconfig} -n {target.namespace} get pods")
    say("everything stays up until Ctrl-C")
    await stop.asked()


class _Stop:
    """Turns the first signal into the end of the run; later ones find it ending already."""

    def __init__(self, task: "asyncio.Task[Ended] | None") -> None:
        self._task = task
        self._asked: asyncio.Event | None = None
        self.by: signal.Signals | None = None

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._take, number)

    async def asked(self) -> None:
        self._asked = asyncio.Event()
        await self._asked.wait()

    def _take(self, number: signal.Signals) -> None:
        if self.by is not None:
            return
        self.by = number
        if self._asked is not None:
            self._asked.set()
        elif self._task is not None:
            self._task.cancel()


def _keep_logs(setup: Setup) -> None:
    """Save what the children said: the working folder is about to go."""
    folder = setup.records.parent / "logs"
    folder.mkdir(exist_ok=True)
    for log in setup.directory.glob("*.log"):
        shutil.copy(log, folder)


def _fail(message: str, code: int) -> int:
    print(f"autoscaler sandbox: {message}", file=sys.stderr)  # noqa: T201 - the command's answer
    return code

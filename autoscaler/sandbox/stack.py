"""Everything that runs during a run: started together, driven, and ended together."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from autoscaler.decision.words import Mode
from autoscaler.sandbox import daemon_process
from autoscaler.sandbox.cycles import CycleLog
from autoscaler.sandbox.daemon_process import Changes, Places, Plan
from autoscaler.sandbox.dns import DnsResponder
from autoscaler.sandbox.faults import Fault, Injected, Injector
from autoscaler.sandbox.kube.runtime import REPLICA_PORT
from autoscaler.sandbox.lanes import SLOTS, FixedLane, ScaledLane, StackSettings
from autoscaler.sandbox.live import Frame, PodFrame, Screen
from autoscaler.sandbox.load import Lane, Load, LoadSettings
from autoscaler.sandbox.monitoring import Monitoring, MonitoringSettings
from autoscaler.sandbox.processes import LOOPBACK, Child, SandboxError, free_port, until
from autoscaler.sandbox.rivals import Rival
from autoscaler.sandbox.service import Profile
from autoscaler.sandbox.traffic import Traffic
from autoscaler.sandbox.watch import Watch
from autoscaler.settings import Settings

_FRAME_SECONDS = 0.25
_SCRAPE_SECONDS = 45.0
"""Within this, each job has been scraped once at any speed from 1."""
_SIGHT_SECONDS = 120.0
"""Simulated: within this, every metric has an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What to run."""

    config: Path
    settings: Settings
    traffic: Traffic
    profile: Profile
    speed: float
    seed: int
    fault: Fault | None
    rival: Rival | None = None
    """Who writes in the daemon's place; then the daemon is in shadow mode."""
    records: Path
    directory: Path
    """For working files; whoever made it removes it."""

    @property
    def bounds(self) -> tuple[int, int]:
        """Return the target's least and greatest number of replicas."""
        target = self.settings.targets[0]
        return target.min_replicas, target.max_replicas


@dataclass(slots=True, kw_only=True)
class Stack:
    """The running parts."""

    setup: Setup
    screen: Screen
    plan: Plan
    lane: ScaledLane
    fixed: Sequence[FixedLane]
    monitoring: Monitoring
    daemon: Child
    load: Load
    watch: Watch
    injected: Injected | None = field(default=None, init=False)
    jobs: dict[str, bool] = field(default_factory=dict, init=False)

    async def drive(self) -> None:
        """Run the load to its end. Raises SandboxError where a part is lost on the way."""
        self.watch.start()
        loop = asyncio.get_running_loop()
        sending = loop.create_task(self.load.run())
        injector = self._injector()
        injecting = loop.create_task(injector.run(self.setup.traffic)) if injector else None
        try:
            while not (sending.done() and self.watch.now_s >= self.setup.traffic.duration_s):
                self._require_daemon()
                if injecting is not None and injecting.done():
                    injecting.result()
                self.screen.show(self._frame(), loop.time())
                await asyncio.sleep(_FRAME_SECONDS)
            sending.result()
            self.screen.show(self._frame(), loop.time())
        finally:
            running = [task for task in (sending, injecting) if task is not None]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        self.injected = injector.injected if injector else None
        async with aiohttp.ClientSession() as session:
            self.jobs = await self.monitoring.jobs_up(session)

    async def finish(self) -> int:
        """Stop the daemon and note its last cycles; answers its exit code."""
        code = await daemon_process.stop(self.daemon)
        await self.watch.stop()
        self.watch.catch_up()
        return code

    def _require_daemon(self) -> None:
        if self.daemon.exit_code is not None:
            raise SandboxError(
                f"the daemon ended with {self.daemon.exit_code}: {self.daemon.last_line()}"
            )

    def _injector(self) -> Injector | None:
        if self.setup.fault is None:
            return None
        return Injector(
            fault=self.setup.fault,
            lane=self.lane,
            monitoring=self.monitoring,
            watch=self.watch,
            say=lambda text: self.screen.say(self.watch.now_s, text),
        )

    def _frame(self) -> Frame:
        slots, now_s = self.watch.slots, self.watch.now_s
        known = {} if slots is None else slots.by_address
        by_ip = {address.rpartition(":")[0]: requests for address, requests in known.items()}
        traffic = self.setup.traffic
        phases = [phase.name for phase in traffic.phases if phase.from_s <= now_s < phase.to_s]
        return Frame(
            at_s=now_s,
            duration_s=traffic.duration_s,
            phase=phases[0] if phases else "load" if now_s < traffic.duration_s else "last answers",
            desired=self.lane.desired(),
            slots=SLOTS,
            pods=[
                PodFrame(
                    name=pod.name,
                    state="draining" if pod.deleting else "ready" if pod.ready else "starting",
                    requests=by_ip.get(pod.ip),
                )
                for pod in self.lane.pods()
            ],
            waiting=None if slots is None else slots.queued,
            running=None if slots is None else slots.running,
            lanes=self.load.progress(),
            changes=self.watch.changes,
            last=self.watch.log.cycles[-1].view.sentence,
        )


async def start(setup: Setup, screen: Screen, ending: AsyncExitStack) -> Stack:
    """Start everything, and have it ended with `ending`. Raises SandboxError."""

    def say(text: str) -> None:
        screen.say(None, text)

    dns = DnsResponder()
    await dns.start()
    ending.callback(dns.stop)
    common = _common(setup, dns)
    lane = ScaledLane(common)
    least, most = setup.bounds
    fixed = [
        FixedLane(settings=common, replicas=size, number=number)
        for number, size in enumerate(sorted({least, most} - {0}), start=1)
    ]
    lanes: list[ScaledLane | FixedLane] = [lane, *fixed]
    for one in lanes:
        ending.push_async_callback(one.stop)
        dns.add(one.host, REPLICA_PORT, one.addresses)
    replicas = least + sum(size.replicas for size in fixed)
    say(f"starting {replicas} replicas, {1 + len(fixed)} gateways, Prometheus and the daemon")
    await lane.start(least)
    port = free_port()
    monitoring = _monitoring(setup, lane, port)
    ending.push_async_callback(monitoring.stop)
    # Together: Prometheus takes some five seconds before its first scrape.
    await _all(monitoring.start(), lane.until_ready(least), *(size.start() for size in fixed))
    places = Places(
        prometheus=monitoring.url,
        statistics=lane.gateway.statistics_url,
        kubeconfig=lane.cluster.kubeconfig_path,
        port=port,
        records=setup.records,
    )
    mode = None if setup.rival is None else Mode.SHADOW
    changes = Changes(speed=setup.speed, mode=mode)
    plan = daemon_process.plan(setup.config, setup.settings, changes, places, setup.directory)
    _tell(plan, say)
    daemon = await daemon_process.start(plan, setup.directory, port)
    ending.push_async_callback(daemon.stop)
    await _until_scraped(monitoring)
    log = CycleLog(setup.records)
    await _until_whole(log, daemon, _SIGHT_SECONDS / setup.speed)
    if setup.rival is not None:
        await lane.start_rival(least, most)
        say(f"an emulated HPA writes from now on, {least} to {most} replicas; the daemon watches")
    return Stack(
        setup=setup,
        screen=screen,
        plan=plan,
        lane=lane,
        fixed=fixed,
        monitoring=monitoring,
        daemon=daemon,
        load=Load(
            setup.traffic.requests,
            [Lane(name=one.name, base_url=one.gateway.url) for one in lanes],
            LoadSettings(speed=setup.speed, model=setup.profile.model),
        ),
        watch=Watch(lane=lane, log=log, speed=setup.speed),
    )


def _common(setup: Setup, dns: DnsResponder) -> StackSettings:
    target = setup.settings.targets[0]
    return StackSettings(
        directory=setup.directory,
        speed=setup.speed,
        profile=setup.profile,
        seed=setup.seed,
        dns=dns.address,
        namespace=target.namespace,
        deployment=target.deployment,
    )


def _monitoring(setup: Setup, lane: ScaledLane, daemon_port: int) -> Monitoring:
    return Monitoring(
        MonitoringSettings(
            directory=setup.directory,
            speed=setup.speed,
            targets={
                "gateway": lane.gateway.stats_address,
                "autoscaler": f"{LOOPBACK}:{daemon_port}",
                "kube-state-metrics": lane.exporters.address,
                "cadvisor": lane.exporters.address,
            },
        )
    )


def _tell(plan: Plan, say: Callable[[str], None]) -> None:
    say(f"daemon: autoscaler run --config {plan.config}, with")
    for name, value in plan.environment.items():
        say(f"  {name}={value}")
    if plan.differences:
        say("its configuration is the shipped one but for:")
    for one in plan.differences:
        say(f"  {one.key}: {one.shipped} -> {one.here}")


async def _until_scraped(monitoring: Monitoring) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _SCRAPE_SECONDS
    async with aiohttp.ClientSession() as session:
        while True:
            jobs = await monitoring.jobs_up(session)
            if all(jobs.values()):
                return
            if loop.time() > deadline:
                down = ", ".join(sorted(job for job, up in jobs.items() if not up))
                raise SandboxError(f"prometheus has not scraped {down} in {_SCRAPE_SECONDS:.0f} s")
            await asyncio.sleep(_FRAME_SECONDS)


async def _until_whole(log: CycleLog, daemon: Child, within_s: float) -> None:
    """Wait for the first cycle that saw every metric: a rate needs two samples."""

    def seen() -> bool:
        log.read()
        return bool(log.cycles) and not log.cycles[-1].missing

    try:
        await until(seen, daemon, _SCRAPE_SECONDS + within_s)
    except SandboxError as error:
        last = log.cycles[-1].view.sentence if log.cycles else "no cycle yet"
        raise SandboxError(f"no cycle has seen every metric: {last}; {error}") from error


async def _all(*starts: Coroutine[None, None, None]) -> None:
    """Wait for all; the first error is the one that is told, and ends the others."""
    tasks = [asyncio.ensure_future(one) for one in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

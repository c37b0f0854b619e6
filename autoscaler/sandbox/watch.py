"""What is noted while a run goes on: curves, changes, and how late the machine was."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp

from autoscaler.charts.steps import Point
from autoscaler.sandbox.cycles import Cycle, CycleLog
from autoscaler.sandbox.gateway import Slots
from autoscaler.sandbox.hpa import Rescale
from autoscaler.sandbox.lanes import ScaledLane
from autoscaler.sandbox.report import Change
from autoscaler.sandbox.summary import percentile

CPU_METRIC = "cpu_to_limit"
_LOOK_SECONDS = 0.2
_TICK_SECONDS = 0.02
_LATE_SHARE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How well the machine kept up; simulated seconds, 99 of 100 were no later."""

    load_s: float
    """How late this process' own loop was, and with it the questions that it sends."""
    cycles_s: float
    """How much longer than the interval the daemon's cycles were apart."""
    busy: float
    """Share of the machine's processor time that was used, 0..1."""


@dataclass(slots=True)
class Watch:
    """Notes a run from `start` to `stop`."""

    lane: ScaledLane
    log: CycleLog
    speed: float
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    series: dict[str, list[Point]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    slots: Slots | None = None
    _loop_start: float = 0.0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _late: list[float] = field(default_factory=list)
    _cpu: tuple[int, int] = (0, 0)

    def start(self) -> None:
        """Set second 0 and begin."""
        loop = asyncio.get_running_loop()
        self.started, self._loop_start = datetime.now(UTC), loop.time()
        self._cpu = _processor_time()
        self.log.read()
        self._note_pods()
        self.lane.cluster.on_change(self._note_pods)
        self._tasks = [loop.create_task(self._look()), loop.create_task(self._tick())]

    async def stop(self) -> None:
        """End; the notes stay. Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def now_s(self) -> float:
        """Return the simulated second."""
        return (asyncio.get_running_loop().time() - self._loop_start) * self.speed

    def second_of(self, at: datetime) -> float:
        """Return the simulated second of a time."""
        return (at - self.started).total_seconds() * self.speed

    @property
    def cycles(self) -> Sequence[Cycle]:
        """Return the cycles since the start."""
        return [cycle for cycle in self.log.cycles if cycle.at >= self.started]

    def lateness(self, interval: timedelta) -> Lateness:
        """Judge the machine; `interval` is the daemon's as it runs here."""
        times = [cycle.at for cycle in self.cycles]
        gaps = [
            max(0.0, (later - earlier - interval).total_seconds())
            for earlier, later in pairwise(times)
        ]
        used, total = (
            after - before for after, before in zip(_processor_time(), self._cpu, strict=True)
        )
        return Lateness(
            load_s=(percentile(self._late, _LATE_SHARE) or 0.0) * self.speed,
            cycles_s=(percentile(gaps, _LATE_SHARE) or 0.0) * self.speed,
            busy=used / max(1, total),
        )

    def _note(self, name: str, value: float) -> None:
        points = self.series.setdefault(name, [])
        if not points or points[-1][1] != value:
            points.append((max(0.0, self.now_s), value))

    def _note_pods(self) -> None:
        pods = self.lane.pods()
        self._note("up", len(pods))
        self._note("ready", sum(pod.serves for pod in pods))
        self._note("desired", self.lane.desired())

    async def _look(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                self.slots = await self.lane.gateway.slots(session)
                if self.slots is not None:
                    self._note("waiting", self.slots.queued)
                    self._note("running", self.slots.running)
                self.catch_up()
                await asyncio.sleep(_LOOK_SECONDS)

    def catch_up(self) -> None:
        """Note the cycles that the daemon has recorded since the last look."""
        for cycle in self.log.read():
            self._note_cycle(cycle)
        if self.lane.rival is not None:
            self.changes[:] = [self._change_of(each) for each in self.lane.rival.rescales]

    def _note_cycle(self, cycle: Cycle) -> None:
        at_s = self.second_of(cycle.at)
        value = cycle.value(CPU_METRIC)
        if value is not None:
            self.series.setdefault(CPU_METRIC, []).append((max(0.0, at_s), value))
        if cycle.to != cycle.from_ and self.lane.rival is None:
            self.changes.append(
                Change(
                    at_s=at_s,
                    from_=cycle.from_,
                    to=cycle.to,
                    reason=cycle.view.reason,
                    sentence=cycle.view.sentence,
                )
            )

    def _change_of(self, rescale: Rescale) -> Change:
        """Tell of what the rival wrote."""
        seen = "" if rescale.utilization is None else f" (it saw {rescale.utilization} %)"
        return Change(
            at_s=self.second_of(rescale.at),
            from_=rescale.from_,
            to=rescale.to,
            reason="hpa",
            sentence=f"hpa: {rescale.from_} -> {rescale.to}, {rescale.reason}{seen}",
        )

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            self._late.append(max(0.0, loop.time() - due))


def _processor_time() -> tuple[int, int]:
    """Return used and all processor time of the machine so far, in ticks."""
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)

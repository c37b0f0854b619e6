"""What can be made to go wrong in the middle of a run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import aiohttp

from autoscaler.errors import InputError
from autoscaler.sandbox.lanes import ScaledLane
from autoscaler.sandbox.monitoring import Monitoring
from autoscaler.sandbox.report import Span
from autoscaler.sandbox.traffic import Traffic
from autoscaler.sandbox.watch import Watch

_OUTAGE_S = 120.0
_INTO_PLATEAU_S = 30.0
_PLATEAU = "plateau"
_PATIENCE_S = 120.0
_LOOK_SECONDS = 0.05
_WITHOUT_PHASES = 0.4
"""Where in a trace, which has no phases, the fault comes: as a share of its length."""


class Fault(StrEnum):
    """Named on the command line."""

    PROMETHEUS_OUTAGE = "prometheus-outage"
    REPLICA_CRASH = "replica-crash"
    GATEWAY_RESTART = "gateway-restart"


FAULTS = tuple(str(fault) for fault in Fault)


def fault_named(name: str | None) -> Fault | None:
    """Return a fault by its name. Raises InputError."""
    if name is None:
        return None
    if name not in FAULTS:
        raise InputError(
            f"--fault = {name}, must be one of {', '.join(FAULTS)}",
            next_step=f"autoscaler sandbox --fault {FAULTS[0]}",
        )
    return Fault(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What was done."""

    fault: Fault
    span: Span
    pod: str | None = None
    """The replica that was killed."""


@dataclass(slots=True, kw_only=True)
class Injector:
    """Does one fault at its time."""

    fault: Fault
    lane: ScaledLane
    monitoring: Monitoring
    watch: Watch
    say: Callable[[str], None]
    injected: Injected | None = None

    async def run(self, traffic: Traffic) -> None:
        """Wait for the time, then do it. `injected` tells what was done."""
        await asyncio.sleep(max(0.0, _begin_s(traffic) - self.watch.now_s) / self.watch.speed)
        act: Callable[[], Awaitable[str | None]] = {
            Fault.PROMETHEUS_OUTAGE: self._outage,
            Fault.REPLICA_CRASH: self._crash,
            Fault.GATEWAY_RESTART: self._restart,
        }[self.fault]
        begin_s = self.watch.now_s
        pod = await act()
        self.injected = Injected(
            fault=self.fault,
            span=Span(from_s=begin_s, to_s=self.watch.now_s, name=str(self.fault)),
            pod=pod,
        )

    async def _outage(self) -> None:
        self.say("fault: Prometheus is gone")
        await self.monitoring.stop()
        await asyncio.sleep(_OUTAGE_S / self.watch.speed)
        await self.monitoring.start()
        self.say("fault: Prometheus is back, with the data that it had")

    async def _crash(self) -> str | None:
        """Kill a replica in the middle of an answer, or after a while any."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S / self.watch.speed
        async with aiohttp.ClientSession() as session:
            while True:
                slots = await self.lane.gateway.slots(session)
                busy = (
                    [] if slots is None else [at for at, count in slots.by_address.items() if count]
                )
                if busy or loop.time() > deadline:
                    break
                await asyncio.sleep(_LOOK_SECONDS)
        pod = self.lane.crash([address.rpartition(":")[0] for address in busy])
        self.say(f"fault: replica {pod} was killed" if pod else "fault: no replica to kill")
        return pod

    async def _restart(self) -> None:
        await self.lane.gateway.restart()
        self.say("fault: a new gateway has started, the old one finishes its streams")


def _begin_s(traffic: Traffic) -> float:
    plateau = next((phase for phase in traffic.phases if phase.name == _PLATEAU), None)
    if plateau is None:
        return _WITHOUT_PHASES * traffic.duration_s
    return min(plateau.from_s + _INTO_PLATEAU_S, (plateau.from_s + plateau.to_s) / 2)

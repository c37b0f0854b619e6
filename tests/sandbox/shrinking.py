"""Shrinks a stack again and again while streams run, and counts whom it met."""

import asyncio
import signal
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

import aiohttp

from autoscaler.adapters.kubernetes.annotations import is_marked
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import Stage
from autoscaler.sandbox.kube.resources import PODS
from autoscaler.sandbox.kube.runtime import REPLICA_PORT
from autoscaler.sandbox.kube.store import find
from autoscaler.sandbox.kube.template import is_deleting
from autoscaler.settings.yaml_file import read_yaml
from tests.sandbox.stacks import SHIPPED, SmallStack, small_stack

SPEED = 20.0
LOW, HIGH = 2, 5
"""Streams that always run, and at the height of a round."""
POLICY = {
    "min_replicas": 1,
    "max_replicas": 6,
    # One at a time, as soon as the queue says so: the more often, the better.
    "scale_down": {
        "stabilization_window": "5s",
        "cooldown": "0s",
        "policies": [{"type": "pods", "value": 1, "period": "5s"}],
    },
    "metrics": [
        metric
        for metric in read_yaml(SHIPPED)["targets"][0]["metrics"]
        if metric["name"] == "queue_depth"
    ],
}
"""By the queue alone: what CPU said of the last minute would only make the rounds longer."""


@dataclass(slots=True, kw_only=True)
class Shrinking:
    """What a run met."""

    streams: int = 0
    cut: list[str] = field(default_factory=list)
    """What clients saw that was not a whole answer."""
    deleted: int = 0
    busy: int = 0
    """Of those that were deleted: with a request at that moment, so that they had to drain."""
    shrinks: int = 0
    """Times that a smaller number was asked for."""
    kills: int = 0
    between: int = 0
    """Of the kills: just after a victim had been marked, before the number was set."""
    left_marked: int = 0
    """Pods that stay and carry a mark at the end."""
    reasons: set[str] = field(default_factory=set)
    """What the decisions to shrink say of their choice of victims."""


async def shrink(
    directory: Path, shrinks: int, *, ranked: bool = True, kills: bool = False, seed: int = 1
) -> Shrinking:
    """Run until a smaller number has been asked for so many times.

    Not `ranked`: the daemon has no gateway to ask. `kills`: it is killed at random moments, every
    second time between the marking of a victim and the write, and started again.
    """
    async with small_stack(
        directory, speed=SPEED, replicas=3, policy=POLICY, gateway=ranked
    ) as stack:
        run = _Run(stack, Random(seed))
        return await run.until(shrinks, kills=kills)


@dataclass(slots=True)
class _Run:
    stack: SmallStack
    random: Random
    found: Shrinking = field(default_factory=Shrinking)
    _seen: set[str] = field(default_factory=set)
    _asking: set[asyncio.Task[None]] = field(default_factory=set)
    _armed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, shrinks: int, *, kills: bool) -> Shrinking:
        self.stack.lane.cluster.on_change(self._look)
        enough = asyncio.Event()
        always = [asyncio.create_task(self._keep_asking(enough)) for _ in range(LOW)]
        if kills:
            always.append(asyncio.create_task(self._keep_killing(enough)))
        try:
            while self._shrinks() < shrinks and not any(task.done() for task in always):
                await self._round()
        finally:
            enough.set()
            await asyncio.gather(*always, *self._asking)
        self.found.shrinks = self._shrinks()
        self.found.left_marked = await self._marked()
        self.found.reasons = self._reasons()
        return self.found

    async def _round(self) -> None:
        """Raise the demand for a moment, and wait until the number has followed it down again."""
        grown = asyncio.Event()
        extra = [asyncio.create_task(self._keep_asking(grown)) for _ in range(HIGH - LOW)]
        await self.stack.until(lambda: self.stack.lane.desired() >= HIGH, "more replicas")
        grown.set()
        await asyncio.gather(*extra)
        await self.stack.until(lambda: self.stack.lane.desired() <= LOW + 1, "fewer replicas")

    def _reasons(self) -> set[str]:
        self.stack.log.read()
        return {
            str(step.reason)
            for cycle in self.stack.log.cycles
            for step in cycle.record.steps
            if step.stage is Stage.VICTIMS and cycle.record.outcome is Outcome.SCALED
        }

    def _shrinks(self) -> int:
        return sum(after < before for before, after in pairwise(self.stack.wanted))

    async def _keep_asking(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self._ask()

    async def _ask(self) -> None:
        self.found.streams += 1
        answer = await self.stack.chat(self.random.randint(200, 900))
        if answer != "whole":
            self.found.cut.append(answer)

    # --- who is deleted ---------------------------------------------------------------------

    def _look(self) -> None:
        for pod in self.stack.lane.cluster.store.select(PODS):
            name = pod["metadata"]["name"]
            if is_deleting(pod):
                if name not in self._seen:
                    self._seen.add(name)
                    asking = asyncio.ensure_future(self._ask_victim(find(pod, "status", "podIP")))
                    self._asking.add(asking)
            elif self._armed.is_set() and is_marked(find(pod, "metadata", "annotations") or {}):
                self._armed.clear()
                self.found.between += 1
                self.stack.daemon.signal(signal.SIGKILL)

    async def _ask_victim(self, ip: str | None) -> None:
        self.found.deleted += 1
        if not ip:
            return
        try:
            url = f"http://{ip}:{REPLICA_PORT}/sandbox/stats"
            async with self.stack.session.get(url) as answer:
                self.found.busy += (await answer.json())["in_flight"] > 0
        except aiohttp.ClientError:
            return  # it ended before it could be asked, so it had nothing to do

    async def _marked(self) -> int:
        """Count the marks on pods that stay, once the daemon has had a cycle to take them back."""

        def marked() -> int:
            return sum(
                is_marked(find(pod, "metadata", "annotations") or {})
                for pod in self.stack.lane.cluster.store.select(PODS)
                if not is_deleting(pod)
            )

        for _ in range(100):
            if not marked():
                break
            await asyncio.sleep(0.1)
        return marked()

    # --- the daemon's end -------------------------------------------------------------------

    async def _keep_killing(self, until: asyncio.Event) -> None:
        """Kill and start the daemon, in turns at a random moment and between mark and write."""
        log = self.stack.log
        while not until.is_set():
            log.read()
            acted = len(log.cycles)
            await self.stack.until(
                lambda seen=acted: log.read() or len(log.cycles) > seen, "a cycle"
            )
            await asyncio.sleep(self.random.uniform(0.0, 3.0))
            if self.found.kills % 2:
                self._armed.set()
                ends = [asyncio.ensure_future(each) for each in (self._daemon_ends(), until.wait())]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                self._armed.clear()
                ends[1].cancel()
            await self.stack.kill_daemon()
            self.found.kills += 1
            await self.stack.start_daemon()

    async def _daemon_ends(self) -> None:
        assert self.stack.daemon is not None
        await self.stack.daemon.wait()

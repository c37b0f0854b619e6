"""HPA's loop: every 15 s it reads the target and its pods, and writes through the scale.

It talks to the emulated API as kube-controller-manager does, by that name: a GET and a PUT of the
scale subresource, whose resource version is the only precondition.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from autoscaler.hpa.pods import LONG_AGO, Patience, Pod
from autoscaler.hpa.rules import Behavior, Bounds, Direction
from autoscaler.sandbox.exporters import Reading
from autoscaler.sandbox.hpa.behavior import Memory
from autoscaler.sandbox.hpa.replicas import Moment, NoMetricsError, Proposal, propose
from autoscaler.sandbox.hpa.resource import (
    HpaSettings,
    Verdict,
    autoscaler_object,
    write_status,
)
from autoscaler.sandbox.hpa.usage import MetricsServer
from autoscaler.sandbox.kube import Cluster
from autoscaler.sandbox.kube.resources import AUTOSCALERS, PODS
from autoscaler.sandbox.kube.store import Object, find
from autoscaler.sandbox.kube.template import is_deleting, is_ready

MANAGER = "kube-controller-manager"
SYNC_S = 15.0
RESOLUTION_S = 15.0
"""How often metrics-server looks (its manifest's --metric-resolution)."""
_AGENT = f"{MANAGER}/v1.34.0 (linux/amd64) kubernetes/sandbox/system:horizontal-pod-autoscaler"
_REQUEST = aiohttp.ClientTimeout(total=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale:
    """One write that succeeded."""

    at: datetime
    from_: int
    to: int
    reason: str
    """As the event SuccessfulRescale has it."""
    utilization: int | None
    """Percent, as HPA saw it; None where the bounds alone asked."""


@dataclass(slots=True)
class HpaController:
    """One HPA, from `start` to `stop`."""

    settings: HpaSettings
    cluster: Cluster
    readings: Callable[[], Mapping[str, Reading]]
    """What the kubelet knows of each pod's CPU."""
    rescales: list[Rescale] = field(default_factory=list)
    _server: MetricsServer = field(default_factory=MetricsServer)
    _memory: Memory = field(init=False)
    _moved: dict[str, tuple[bool, float]] = field(default_factory=dict)
    """Pod to its readiness and since when: the API's times are whole seconds."""
    _began: dict[str, float] = field(default_factory=dict)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _stop_looking: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """Divide every time by the speed."""
        self._memory = Memory(_faster(Behavior(), self.settings.speed))

    async def start(self) -> None:
        """Create the object and begin."""
        made = autoscaler_object(self.settings)
        self.cluster.store.create(AUTOSCALERS, self.settings.namespace, made)
        self._look_at_pods()
        self._stop_looking = self.cluster.on_change(self._look_at_pods)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._measure()), loop.create_task(self._sync())]

    async def stop(self) -> None:
        """End; safe to call twice."""
        if self._stop_looking is not None:
            self._stop_looking()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # --- what it sees -----------------------------------------------------------------------

    async def _measure(self) -> None:
        while True:
            self._server.look(self.readings())
            await asyncio.sleep(RESOLUTION_S / self.settings.speed)

    def _look_at_pods(self) -> None:
        now = time.time()
        for held in self.cluster.store.select(PODS, self.settings.namespace):
            name, ready = held["metadata"]["name"], is_ready(held)
            if self._moved.get(name, (None, 0.0))[0] is not ready:
                self._moved[name] = (ready, now)
            if find(held, "status", "startTime"):
                self._began.setdefault(name, now)

    def _pods(self) -> list[Pod]:
        return [
            self._pod(held)
            for held in self.cluster.store.select(PODS, self.settings.namespace)
            if held["metadata"]["labels"].get("app") == self.settings.name
        ]

    def _pod(self, held: Object) -> Pod:
        name = held["metadata"]["name"]
        moved = self._moved.get(name)
        return Pod(
            name=name,
            phase=held["status"]["phase"],
            deleted=is_deleting(held),
            ready=is_ready(held) if moved else None,
            ready_since=moved[1] if moved else LONG_AGO,
            started=self._began.get(name),
            request=_request(held),
        )

    # --- what it does -----------------------------------------------------------------------

    async def _sync(self) -> None:
        async with aiohttp.ClientSession(
            headers={"User-Agent": _AGENT}, timeout=_REQUEST
        ) as session:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError):  # it looks again next time
                    await self._reconcile(session)
                await asyncio.sleep(SYNC_S / self.settings.speed)

    async def _reconcile(self, session: aiohttp.ClientSession) -> None:
        asked = self.settings
        if self.cluster.store.find(AUTOSCALERS, asked.namespace, asked.name) is None:
            return  # somebody has deleted it
        async with session.get(self._scale_url) as answer:
            answer.raise_for_status()
            scale = await answer.json()
        now = time.time()
        verdict = self._decide(scale["spec"].get("replicas", 0), now)
        if verdict.wanted != verdict.current and await self._write(session, scale, verdict.wanted):
            verdict.conditions["AbleToScale"] = (True, "SucceededRescale")
            self._note(verdict, now)
        write_status(self.cluster.store, asked, verdict)

    def _decide(self, current: int, now: float) -> Verdict:
        self._memory.begin(current, now)
        verdict = Verdict(current=current, wanted=current)
        if current == 0:
            verdict.conditions["ScalingActive"] = (False, "ScalingDisabled")
        elif not self.settings.low <= current <= self.settings.high:
            verdict.wanted = min(max(current, self.settings.low), self.settings.high)
            side, bound = ("above", "Max") if verdict.wanted < current else ("below", "Min")
            verdict.reason = f"Current number of replicas {side} Spec.{bound}Replicas"
        else:
            try:
                verdict.proposal = self._propose(current, now)
            except NoMetricsError:
                verdict.conditions["ScalingActive"] = (False, "FailedGetResourceMetric")
            else:
                self._normalize(verdict, verdict.proposal.replicas, now)
        return verdict

    def _propose(self, current: int, now: float) -> Proposal:
        speed, usual = self.settings.speed, Patience()
        patience = Patience(usual.initialization / speed, usual.first_readiness / speed)
        moment = Moment(now=now, patience=patience)
        usage = self._server.usage()
        return propose(current, self.settings.target, self._pods(), usage, moment)

    def _normalize(self, verdict: Verdict, wanted: int, now: float) -> None:
        """Let windows, policies and bounds have their say."""
        above = "cpu resource utilization (percentage of request) above target"
        verdict.reason = above if wanted > verdict.current else "All metrics below target"
        stable = self._memory.stabilize(verdict.current, wanted, now)
        bounds = Bounds(low=self.settings.low, high=self.settings.high)
        limited = self._memory.limit(verdict.current, stable.replicas, bounds, now)
        verdict.wanted = limited.replicas
        verdict.conditions |= {
            "ScalingActive": (True, "ValidMetricFound"),
            "AbleToScale": (True, stable.reason),
            "ScalingLimited": (limited.reason != "DesiredWithinRange", limited.reason),
        }

    async def _write(self, session: aiohttp.ClientSession, scale: Object, wanted: int) -> bool:
        body = {**scale, "spec": {"replicas": wanted}}
        async with session.put(self._scale_url, json=body) as answer:
            return answer.status == HTTPStatus.OK

    def _note(self, verdict: Verdict, now: float) -> None:
        self._memory.rescaled(verdict.current, verdict.wanted, now)
        seen = verdict.proposal
        self.rescales.append(
            Rescale(
                at=datetime.fromtimestamp(now, UTC),
                from_=verdict.current,
                to=verdict.wanted,
                reason=f"New size: {verdict.wanted}; reason: {verdict.reason}",
                utilization=seen.utilization if seen else None,
            )
        )

    @property
    def _scale_url(self) -> str:
        place = f"namespaces/{self.settings.namespace}/deployments/{self.settings.name}"
        return f"{self.cluster.url}/apis/apps/v1/{place}/scale"


def _faster(behavior: Behavior, speed: float) -> Behavior:
    def divided(direction: Direction) -> Direction:
        rates = tuple(replace(rate, period=rate.period / speed) for rate in direction.rates)
        return replace(direction, rates=rates, window=direction.window / speed)

    return Behavior(up=divided(behavior.up), down=divided(behavior.down))


def _request(pod: Mapping[str, Any]) -> int | None:
    """Return what the pod's containers request; a limit stands for a request that is not given."""
    total = 0
    for container in pod["spec"]["containers"]:
        resources = container.get("resources", {})
        asked = find(resources, "requests", "cpu") or find(resources, "limits", "cpu")
        if asked is None:
            return None
        total += int(asked[:-1]) if asked.endswith("m") else round(1000 * float(asked))
    return total

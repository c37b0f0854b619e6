"""The kubelet and scheduler stand-in: places pods on the one node, runs, probes and ends them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from autoscaler.sandbox.kube.resources import PODS
from autoscaler.sandbox.kube.runtime import Container, PodRun, Runtime
from autoscaler.sandbox.kube.store import Change, Key, Object, Store, find, key_of, timestamp
from autoscaler.sandbox.kube.template import NO_IMAGE, NODE, is_deleting, set_condition
from autoscaler.sandbox.processes import SandboxError

# Seconds at speed 1, as Kubernetes has them.
_PROBE_PERIOD = 1.0
_PROBE_FAILURES = 3
_CALM_SECONDS = 0.25
"""What lies between probes of a ready container at any speed: its crash shows without them."""
_BACK_OFF = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)
_BACK_OFF_RESET = 600.0
_LEAST_GRACE = 2.0
"""What a container gets after SIGTERM even where its hook took all of the grace period."""
_NOT_STARTED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What the pods run on."""

    store: Store
    runtime: Runtime
    speed: float = 1.0
    """Every duration is divided by it."""
    max_pods: int | None = None
    """Further pods stay pending."""


@dataclass(slots=True, kw_only=True)
class _Worker:
    """One pod's way from placement to end."""

    key: Key
    task: asyncio.Task[None] | None = None
    placed: bool = False
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Placed, or deleted before that."""
    deleting: asyncio.Event = field(default_factory=asyncio.Event)
    container: Container | None = None


class Kubelet:
    """Runs every pod of the store."""

    def __init__(self, node: Node) -> None:
        """Call `start` inside the loop."""
        self._node = node
        self._store = node.store
        self._workers: dict[Key, _Worker] = {}
        self._unlisten: Callable[[], object] = bool

    def start(self) -> None:
        """Take on every pod that is created from now on."""
        self._unlisten = self._store.listen(self._see)

    async def stop(self) -> None:
        """End every container at once."""
        self._unlisten()
        tasks = [worker.task for worker in self._workers.values() if worker.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._workers.clear()

    def kill(self, key: Key) -> bool:
        """Kill a pod's container, as a crash does; False where none runs."""
        worker = self._workers.get(key)
        if worker is None or worker.container is None:
            return False
        worker.container.kill()
        return True

    # --- scheduling -------------------------------------------------------------------------

    def _see(self, change: Change) -> None:
        if change.resource != PODS:
            return
        key = key_of(change.object)
        if change.type == "ADDED":
            worker = self._workers[key] = _Worker(key=key)
            worker.task = asyncio.get_running_loop().create_task(self._live(worker))
            return
        if change.type == "MODIFIED" and is_deleting(change.object) and key in self._workers:
            self._workers[key].deleting.set()
            self._workers[key].go.set()
            if change.object["metadata"].get("deletionGracePeriodSeconds") == 0:
                self.kill(key)

    def _place(self) -> None:
        """Give waiting pods, oldest first, the room that is left."""
        limit = self._node.max_pods
        for worker in self._workers.values():
            if worker.placed or worker.deleting.is_set():
                continue
            if limit is not None and sum(one.placed for one in self._workers.values()) >= limit:
                self._edit(worker, _set_unschedulable)
                continue
            worker.placed = True
            worker.go.set()

    def _edit(self, worker: _Worker, edit: Callable[[Object], object]) -> Object:
        return self._store.change(PODS, worker.key, edit)

    # --- a pod's life -----------------------------------------------------------------------

    async def _live(self, worker: _Worker) -> None:
        self._place()
        await worker.go.wait()
        if worker.placed:
            await self._run(worker)
        del self._workers[worker.key]
        self._store.remove(PODS, *worker.key)
        self._place()

    async def _run(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        ip = self._node.runtime.address()
        self._edit(worker, partial(_bind, ip=ip))
        if find(self._store.get(PODS, *worker.key)["spec"]["containers"][0], "image") == NO_IMAGE:
            await self._fail_to_pull(worker)
        failures = 0
        while not worker.deleting.is_set():
            started = loop.time()
            code = await self._run_container(worker, ip)
            if worker.deleting.is_set():
                return
            failures = 0 if loop.time() - started > self._scaled(_BACK_OFF_RESET) else failures
            delay = _BACK_OFF[min(failures, len(_BACK_OFF) - 1)]
            failures += 1
            self._edit(worker, partial(_ended, code=code))
            await self._sleep_unless_deleted(worker, delay)

    async def _fail_to_pull(self, worker: _Worker) -> None:
        self._edit(worker, partial(_wait, reason="ErrImagePull"))
        await self._sleep_unless_deleted(worker, _BACK_OFF[1])
        self._edit(worker, partial(_wait, reason="ImagePullBackOff"))
        await worker.deleting.wait()

    async def _run_container(self, worker: _Worker, ip: str) -> int:
        namespace, name = worker.key
        run = PodRun(namespace=namespace, name=name, ip=ip)
        starting = asyncio.ensure_future(self._node.runtime.start(run))
        try:
            container = await asyncio.shield(starting)
        except SandboxError:
            return _NOT_STARTED
        except asyncio.CancelledError:
            container = await starting
            container.kill()  # a process that nobody holds must not be left behind
            await container.exit_code()
            raise
        worker.container = container
        ended = asyncio.ensure_future(container.exit_code())
        probing = asyncio.ensure_future(self._probe(worker, container))
        deleting = asyncio.ensure_future(worker.deleting.wait())
        try:
            self._edit(worker, _running)
            either: set[asyncio.Future[Any]] = {ended, deleting}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await self._end(worker, container, ended)
            return await ended
        finally:
            worker.container = None
            probing.cancel()
            deleting.cancel()
            container.kill()
            await asyncio.gather(probing, deleting, ended, return_exceptions=True)

    async def _probe(self, worker: _Worker, container: Container) -> None:
        failed = 0
        while True:
            failed = 0 if await container.is_ready() else failed + 1
            if failed in (0, _PROBE_FAILURES):
                self._edit(worker, partial(_set_ready, ready=not failed))
            await asyncio.sleep(max(self._scaled(_PROBE_PERIOD), 0.0 if failed else _CALM_SECONDS))

    async def _end(
        self, worker: _Worker, container: Container, ended: "asyncio.Future[int]"
    ) -> None:
        """Drain, SIGTERM, SIGKILL, all inside the grace period."""
        loop = asyncio.get_running_loop()
        pod = self._store.get(PODS, *worker.key)
        grace = self._scaled(pod["metadata"]["deletionGracePeriodSeconds"])
        deadline = loop.time() + grace
        hook = asyncio.ensure_future(self._hook(pod, container))
        try:
            either: set[asyncio.Future[Any]] = {hook, ended}
            await asyncio.wait(either, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hook.cancel()
            await asyncio.gather(hook, return_exceptions=True)
        left = max(deadline - loop.time(), self._scaled(_LEAST_GRACE) if grace else 0.0)
        container.terminate()
        await asyncio.wait({ended}, timeout=left)
        container.kill()

    async def _hook(self, pod: Object, container: Container) -> None:
        command = find(pod["spec"]["containers"][0], "lifecycle", "preStop", "exec", "command")
        if command is None:
            return
        await asyncio.sleep(self._scaled(float(command[1])))
        await container.drain()

    async def _sleep_unless_deleted(self, worker: _Worker, seconds: float) -> None:
        try:
            async with asyncio.timeout(self._scaled(seconds)):
                await worker.deleting.wait()
        except TimeoutError:
            return

    def _scaled(self, seconds: float) -> float:
        return seconds / self._node.speed


def _bind(pod: Object, ip: str) -> None:
    pod["spec"]["nodeName"] = NODE
    pod["status"] |= {"podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "127.0.0.1"}
    pod["status"]["startTime"] = timestamp()
    set_condition(pod, "PodScheduled", holds=True)
    _set_ready(pod, ready=False)


def _set_unschedulable(pod: Object) -> None:
    set_condition(pod, "PodScheduled", holds=False, reason="Unschedulable")


def _container_status(pod: Object) -> Object:
    container = pod["spec"]["containers"][0]
    empty = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "ContainerCreating"}},
    }
    held: Object = pod["status"].setdefault("containerStatuses", [empty])[0]
    return held


def _running(pod: Object) -> None:
    pod["status"]["phase"] = "Running"
    status = _container_status(pod)
    if "terminated" in status.get("lastState", {}):
        status["restartCount"] += 1
    status["state"] = {"running": {"startedAt": timestamp()}}


def _ended(pod: Object, code: int) -> None:
    _set_ready(pod, ready=False)
    status = _container_status(pod)
    reason = "Completed" if code == 0 else "Error"
    # A container that a signal ended exits with 128 and the signal's number.
    shown = 128 - code if code < 0 else code
    status["lastState"] = {
        "terminated": {"exitCode": shown, "reason": reason, "finishedAt": timestamp()}
    }
    _wait(pod, "RunContainerError" if code == _NOT_STARTED else "CrashLoopBackOff")


def _wait(pod: Object, reason: str) -> None:
    _container_status(pod)["state"] = {"waiting": {"reason": reason}}


def _set_ready(pod: Object, *, ready: bool) -> None:
    _container_status(pod)["ready"] = ready
    for kind in ("ContainersReady", "Ready"):
        set_condition(pod, kind, holds=ready, reason="" if ready else "ContainersNotReady")

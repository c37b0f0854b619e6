"""One emulated cluster: API, controller and node together, and what the sandbox asks of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from autoscaler.sandbox.kube.api import Api, AuditEntry
from autoscaler.sandbox.kube.calls import Access
from autoscaler.sandbox.kube.controller import DeploymentController
from autoscaler.sandbox.kube.kubelet import Kubelet, Node
from autoscaler.sandbox.kube.owners import Writer, created_by, note_update
from autoscaler.sandbox.kube.resources import DEPLOYMENTS, PODS
from autoscaler.sandbox.kube.runtime import Runtime
from autoscaler.sandbox.kube.store import Object, Resource, Store, find
from autoscaler.sandbox.kube.template import PodTemplate, deployment, is_deleting, is_ready

_NAME = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One pod as it is now."""

    namespace: str
    name: str
    ip: str
    """Empty until it has a place on the node."""
    phase: str
    ready: bool
    deleting: bool
    restarts: int
    created: datetime
    cpu_limit: str | None

    @property
    def serves(self) -> bool:
        """Whether DNS should answer with it: ready, and not on its way out."""
        return self.ready and not self.deleting


class Cluster:
    """An emulated Kubernetes with one node, inside the running loop."""

    def __init__(
        self,
        runtime: Runtime,
        directory: Path,
        *,
        speed: float = 1.0,
        max_node_pods: int | None = None,
        seed: int | None = None,
    ) -> None:
        """Run pods by `runtime`; put the kubeconfig into `directory`.

        All durations of the node are divided by `speed`; pods beyond `max_node_pods` stay pending;
        `seed` makes the pods' names the same again.
        """
        self.store = Store()
        self.api = Api(self.store)
        self.kubeconfig_path = directory / "kubeconfig"
        self._runtime = runtime
        node = Node(store=self.store, runtime=runtime, speed=speed, max_pods=max_node_pods)
        self._kubelet = Kubelet(node)
        self._controller = DeploymentController(self.store, Random(seed))
        self._controlling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the API on a free port, write the kubeconfig and start to look after pods."""
        await self.api.start()
        self.kubeconfig_path.write_text(json.dumps(_kubeconfig(self.api.url), indent=2) + "\n")
        self._kubelet.start()
        self._controlling = asyncio.get_running_loop().create_task(self._controller.run())

    async def stop(self, *, graceful: bool = False) -> None:
        """Close everything and end every replica, gracefully or at once; safe to call twice."""
        if graceful and self._controlling is not None:
            await self._drain()
        if self._controlling is not None:
            self._controlling.cancel()
            await asyncio.gather(self._controlling, return_exceptions=True)
            self._controlling = None
        await self._kubelet.stop()
        await self.api.stop()
        await self._runtime.close()
        self.kubeconfig_path.unlink(missing_ok=True)

    async def _drain(self) -> None:
        async with self.changes() as changes:
            for held in self.store.select(DEPLOYMENTS):
                self.scale(*_names(held), 0)
            async for _ in changes:
                if not self.store.select(PODS):
                    return

    # --- what there is ----------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The API's address."""
        return self.api.url

    @property
    def audit(self) -> list[AuditEntry]:
        """Every write that a client asked for, in order."""
        return self.api.audit

    @property
    def accesses(self) -> set[Access]:
        """Everything that clients did or tried, each once: what they need rights for."""
        return self.api.accesses

    def replicas(self, namespace: str, name: str) -> int:
        """Replicas asked for now."""
        replicas: int = self.store.get(DEPLOYMENTS, namespace, name)["spec"]["replicas"]
        return replicas

    def pods(self, namespace: str, name: str) -> list[PodView]:
        """List the pods of a Deployment, also those that are going."""
        return [
            _view(pod)
            for pod in self.store.select(PODS, namespace)
            if pod["metadata"]["labels"].get("app") == name
        ]

    def ready_addresses(self, namespace: str, name: str) -> list[str]:
        """List what DNS must answer for a Deployment's headless Service."""
        return [pod.ip for pod in self.pods(namespace, name) if pod.serves]

    # --- what can be done -------------------------------------------------------------------

    async def create_deployment(
        self, namespace: str, name: str, replicas: int = 1, template: PodTemplate | None = None
    ) -> None:
        """Create a Deployment, whose pods start at once; their label `app` is its name.

        The replicas are owned as those of one that was made with `kubectl apply`.
        """
        new = deployment(namespace, name, replicas, template or PodTemplate())
        new["metadata"]["managedFields"] = created_by("kubectl-client-side-apply")
        self.store.create(DEPLOYMENTS, namespace, new)

    def scale(self, namespace: str, name: str, replicas: int, manager: str = "kubectl") -> None:
        """Change the replicas asked for as somebody, past the API."""

        def edit(held: Object) -> None:
            before = deepcopy(held)
            held["spec"]["replicas"] = replicas
            note_update(before, held, Writer(manager, "scale"))

        self.store.change(DEPLOYMENTS, (namespace, name), edit)

    def kill_pod(self, namespace: str, name: str) -> bool:
        """Let a pod's container crash; it is restarted in place. False where none runs."""
        return self._kubelet.kill((namespace, name))

    def deny(self, verb: str, resource: str, subresource: str = "") -> None:
        """Answer 403 from now on; `resource` is the plural, such as `deployments`."""
        self.api.denied.add((verb, "/".join(filter(None, (resource, subresource)))))

    def allow(self, verb: str, resource: str, subresource: str = "") -> None:
        """Take a `deny` back."""
        self.api.denied.discard((verb, "/".join(filter(None, (resource, subresource)))))

    def serve(self, resource: Resource) -> None:
        """Serve one more kind of object."""
        self.api.resources.append(resource)

    # --- changes ----------------------------------------------------------------------------

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back on the loop after every change of any object; answers how to end that."""
        return self.store.listen(lambda _change: callback())

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[AsyncIterator[None]]:
        """Iterate over changes; those that come while the body runs are one."""
        changed = asyncio.Event()
        stop = self.on_change(changed.set)

        async def each() -> AsyncIterator[None]:
            while True:
                await changed.wait()
                changed.clear()
                yield

        try:
            yield each()
        finally:
            stop()

    async def wait_ready(self, namespace: str, name: str, count: int, seconds: float) -> None:
        """Wait until exactly `count` pods serve. Raises TimeoutError after that many seconds."""
        async with asyncio.timeout(seconds), self.changes() as changes:
            if len(self.ready_addresses(namespace, name)) == count:
                return
            async for _ in changes:
                if len(self.ready_addresses(namespace, name)) == count:
                    return


def _names(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _view(pod: Object) -> PodView:
    namespace, name = _names(pod)
    statuses = find(pod, "status", "containerStatuses") or []
    return PodView(
        namespace=namespace,
        name=name,
        ip=find(pod, "status", "podIP") or "",
        phase=pod["status"]["phase"],
        ready=is_ready(pod),
        deleting=is_deleting(pod),
        restarts=sum(status["restartCount"] for status in statuses),
        created=datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).astimezone(UTC),
        cpu_limit=find(pod["spec"]["containers"][0], "resources", "limits", "cpu"),
    )


def _kubeconfig(url: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": _NAME, "cluster": {"server": url}}],
        "users": [{"name": _NAME, "user": {}}],
        "contexts": [{"name": _NAME, "context": {"cluster": _NAME, "user": _NAME}}],
        "current-context": _NAME,
    }

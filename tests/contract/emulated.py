"""The sandbox's emulated API, which has a controller and a kubelet of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from autoscaler.adapters.kubernetes import FIELD_MANAGER
from autoscaler.sandbox.kube.resources import PODS, SCALED_OBJECTS
from tests.contract.world import NAME, Answer, World, is_ready
from tests.sandbox.kube_cluster import QUICK, ClusterThread

_NOT_SHIPPED = (("delete", "pods"),)
"""What the daemon asks for and has no right to, with the Roles as they are shipped."""


class Emulated(World):
    """An emulated cluster of this case alone."""

    namespace = "llm"

    def __init__(self, directory: Path) -> None:
        """Call `deploy`."""
        self._directory = directory
        self._kube = ClusterThread(directory)
        self.pool = urllib3.PoolManager()
        self._use(self._kube)

    def _use(self, kube: ClusterThread) -> None:
        self._kube = kube
        self.kubeconfig = kube.cluster.kubeconfig_path
        self.server = kube.cluster.url
        for verb, resource in _NOT_SHIPPED:
            kube.cluster.deny(verb, resource)

    def deploy(self, replicas=2, *, ready=True, places=None) -> None:
        if places is not None:
            self._kube.close()
            self._use(ClusterThread(self._directory, max_node_pods=places))
        self._kube.runtime.ready = ready
        self._kube.wait(self._kube.cluster.create_deployment(self.namespace, NAME, replicas, QUICK))
        running = replicas if places is None else min(replicas, places)
        self.until(lambda: len(self.pods()) == replicas and self._running() == running)
        if ready:
            self._kube.wait(self._kube.cluster.wait_ready(self.namespace, NAME, running, 10))
            self.until(lambda: self.deployment()["status"].get("readyReplicas", 0) == running)

    def _running(self) -> int:
        return sum(pod["status"]["phase"] == "Running" for pod in self.pods().values())

    def hold(self) -> None:
        self._kube.runtime.idle = False
        for container in self._kube.runtime.started:
            container.drained.clear()

    def set_ready(self, pod, *, ready) -> None:
        for container in self._kube.runtime.of(pod):
            container.ready = ready
        self.until(lambda: is_ready(self.pods()[pod]) is ready)

    def take_right(self, verb, resource, group="") -> None:
        self._kube.cluster.deny(verb, resource)

    def give_right(self, verb, resource, group="") -> None:
        self._kube.cluster.allow(verb, resource)

    def raw(self, *args, **options) -> Answer:
        # The emulation knows no users: who may do everything is not asked for a right.
        api = self._kube.cluster.api
        denied, api.denied = api.denied, set()
        try:
            return super().raw(*args, **options)
        finally:
            api.denied = denied

    def writes(self) -> list[tuple[str, str, int]]:
        ours = [entry for entry in self._kube.cluster.audit if entry.who == FIELD_MANAGER]
        return [(entry.verb, _resource(entry.path), entry.code) for entry in ours]

    def make_pod(self, pod) -> None:
        store = self._kube.cluster.store
        made = {**pod, "status": {"phase": "Pending"}}
        made["spec"] = {"terminationGracePeriodSeconds": 30, **pod["spec"]}
        self._kube.call(lambda: store.create(PODS, self.namespace, made))

    @contextmanager
    def scaled_objects(self) -> Iterator[None]:
        self._kube.cluster.serve(SCALED_OBJECTS)
        yield
        self._kube.cluster.api.resources.remove(SCALED_OBJECTS)

    def close(self) -> None:
        self._kube.close()
        self.pool.clear()


def _resource(path: str) -> str:
    *_, rest = path.partition("/namespaces/")
    _, plural, *more = rest.split("/")
    return "/".join((plural, *more[1:]))

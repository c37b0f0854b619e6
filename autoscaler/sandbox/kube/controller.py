"""The Deployment controller: as many pods as asked for, and a status that says so."""

import asyncio
from datetime import UTC, datetime
from random import Random

from autoscaler.sandbox.kube.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from autoscaler.sandbox.kube.store import Change, Object, Store, find, key_of
from autoscaler.sandbox.kube.template import (
    is_deleting,
    is_ready,
    mark_deleted,
    pod,
    replica_set,
    set_condition,
)
from autoscaler.sandbox.kube.victims import deletion_order

_MOST_UNAVAILABLE = 0.25
_ENDED = {"Succeeded", "Failed"}


class DeploymentController:
    """Keeps one ReplicaSet per Deployment; a changed template is not rolled out."""

    def __init__(self, store: Store, random: Random) -> None:
        """Look after every Deployment of `store`; `random` makes the pods' names."""
        self._store = store
        self._random = random
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Reconcile whenever something changed; cancel to end."""

        def wake(_change: Change) -> None:
            self._wake.set()

        stop = self._store.listen(wake)
        try:
            while True:
                for deployment in self._store.select(DEPLOYMENTS):
                    self._reconcile(deployment)
                await self._wake.wait()
                self._wake.clear()
        finally:
            stop()

    def _reconcile(self, deployment: Object) -> None:
        owner = self._replica_set(deployment)
        active = self._active(owner)
        wanted = deployment["spec"]["replicas"]
        for _ in range(wanted - len(active)):
            self._store.create(PODS, owner["metadata"]["namespace"], pod(owner, self._random))
        # As the real one, it lets pods that are going finish while new ones start.
        for victim in deletion_order(active, datetime.now(UTC))[: max(0, len(active) - wanted)]:
            self._store.change(PODS, key_of(victim), mark_deleted)
        self._write_status(deployment, owner)

    def _replica_set(self, deployment: Object) -> Object:
        namespace, _ = key_of(deployment)
        uid = deployment["metadata"]["uid"]
        for held in self._store.select(REPLICA_SETS, namespace):
            if any(owner["uid"] == uid for owner in held["metadata"]["ownerReferences"]):
                return held
        return self._store.create(REPLICA_SETS, namespace, replica_set(deployment))

    def _active(self, owner: Object) -> list[Object]:
        namespace, _ = key_of(owner)
        uid = owner["metadata"]["uid"]
        return [
            held
            for held in self._store.select(PODS, namespace)
            if any(reference["uid"] == uid for reference in held["metadata"]["ownerReferences"])
            and not is_deleting(held)
            and held["status"]["phase"] not in _ENDED
        ]

    def _write_status(self, deployment: Object, owner: Object) -> None:
        active = self._active(owner)
        wanted = deployment["spec"]["replicas"]
        ready = sum(is_ready(held) for held in active)
        counts = {"replicas": len(active), "readyReplicas": ready, "availableReplicas": ready}
        available = ready >= wanted - int(wanted * _MOST_UNAVAILABLE)

        def write_owner(obj: Object) -> None:
            obj["spec"]["replicas"] = wanted
            obj["status"] = {"replicas": len(active)} | _without_zeros(counts)

        def write_deployment(obj: Object) -> None:
            updated = {
                "updatedReplicas": len(active),
                "unavailableReplicas": max(0, wanted - ready),
            }
            conditions = find(obj, "status", "conditions") or []
            generation = obj["metadata"]["generation"]
            obj["status"] = _without_zeros(counts | updated) | {"observedGeneration": generation}
            obj["status"]["conditions"] = conditions
            reason = f"MinimumReplicas{'Available' if available else 'Unavailable'}"
            set_condition(obj, "Available", holds=available, reason=reason)

        self._store.change(REPLICA_SETS, key_of(owner), write_owner)
        self._store.change(DEPLOYMENTS, key_of(deployment), write_deployment)


def _without_zeros(counts: dict[str, int]) -> dict[str, int]:
    # A real server leaves them out, and clients have to cope with that.
    return {key: count for key, count in counts.items() if count}

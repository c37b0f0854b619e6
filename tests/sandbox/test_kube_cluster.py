"""The controller and the kubelet stand-in, with containers that are only objects."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from autoscaler.sandbox.kube import Cluster, PodTemplate
from autoscaler.sandbox.kube.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from autoscaler.sandbox.kube.store import find
from autoscaler.sandbox.kube.template import NO_IMAGE
from autoscaler.sandbox.kube.victims import DELETION_COST
from autoscaler.sandbox.processes import SandboxError
from tests.sandbox.kube_cluster import QUICK, SPEED, FakeRuntime

NS, NAME = "llm", "ollama"


@pytest.fixture
def runtime() -> FakeRuntime:
    """Start containers that are ready and idle at once."""
    return FakeRuntime()


@pytest.fixture
async def cluster(runtime, tmp_path) -> AsyncIterator[Cluster]:
    """Run a cluster with room for four pods."""
    cluster = Cluster(runtime, tmp_path, speed=SPEED, max_node_pods=4, seed=1)
    await cluster.start()
    yield cluster
    await cluster.stop()


async def until(cluster, holds, seconds=5.0):
    """Wait until something holds."""
    async with asyncio.timeout(seconds), cluster.changes() as changes:
        while not holds():
            await anext(changes)


async def deploy(cluster, replicas, template=QUICK):
    """Create the Deployment and wait until it serves."""
    await cluster.create_deployment(NS, NAME, replicas, template)
    await cluster.wait_ready(NS, NAME, replicas, 5)


def pods(cluster):
    """List the Deployment's pods."""
    return cluster.pods(NS, NAME)


def status(cluster) -> dict:
    """Read the Deployment's status."""
    return cluster.store.get(DEPLOYMENTS, NS, NAME)["status"]


def annotate(cluster, name, cost):
    """Give a pod a deletion cost."""
    cluster.store.change(
        PODS, (NS, name), lambda pod: pod["metadata"]["annotations"].update({DELETION_COST: cost})
    )


# --- up -----------------------------------------------------------------------------------------


async def test_pods_start_and_become_ready(cluster, runtime):
    """As many as asked for, each with an address of its own."""
    await deploy(cluster, 2)
    held = pods(cluster)
    assert {pod.phase for pod in held} == {"Running"}
    assert sorted(cluster.ready_addresses(NS, NAME)) == sorted({pod.ip for pod in held})
    assert {container.pod.ip for container in runtime.started} == {pod.ip for pod in held}
    assert status(cluster)["readyReplicas"] == status(cluster)["availableReplicas"] == 2


async def test_a_pod_serves_only_once_its_probe_says_so(cluster, runtime):
    """A running pod that is not ready has no address in DNS, and no place in the ready count."""
    runtime.ready = False
    await cluster.create_deployment(NS, NAME, 1, QUICK)
    await until(cluster, lambda: [pod.phase for pod in pods(cluster)] == ["Running"])
    assert cluster.ready_addresses(NS, NAME) == []
    assert "readyReplicas" not in status(cluster)
    runtime.started[0].ready = True
    await cluster.wait_ready(NS, NAME, 1, 5)


async def test_readiness_is_lost_after_three_failed_probes(cluster, runtime):
    """And comes back with the first good one."""
    await deploy(cluster, 1)
    runtime.started[0].ready = False
    await cluster.wait_ready(NS, NAME, 0, 5)
    runtime.started[0].ready = True
    await cluster.wait_ready(NS, NAME, 1, 5)
    assert pods(cluster)[0].restarts == 0


async def test_one_replica_set_stands_between(cluster):
    """Growing and shrinking use the same one, and its counts follow."""
    await deploy(cluster, 1)
    cluster.scale(NS, NAME, 3)
    await cluster.wait_ready(NS, NAME, 3, 5)
    (owner,) = cluster.store.select(REPLICA_SETS)
    assert owner["spec"]["replicas"] == owner["status"]["readyReplicas"] == 3
    assert cluster.store.get(DEPLOYMENTS, NS, NAME)["status"]["observedGeneration"] == 2


async def test_a_full_node_leaves_pods_pending(cluster):
    """They are Unschedulable, and start when there is room."""
    await cluster.create_deployment(NS, NAME, 6, QUICK)
    await cluster.wait_ready(NS, NAME, 4, 5)
    waiting = [pod for pod in cluster.store.select(PODS) if pod["status"]["phase"] == "Pending"]
    assert len(waiting) == 2
    for pod in waiting:
        (condition,) = pod["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("PodScheduled", "False")
        assert condition["reason"] == "Unschedulable"
    assert status(cluster)["unavailableReplicas"] == 2
    running = next(pod.name for pod in pods(cluster) if pod.serves)
    annotate(cluster, running, "-1")
    cluster.scale(NS, NAME, 5)  # takes a pending one
    await until(cluster, lambda: len(pods(cluster)) == 5)
    assert running in {pod.name for pod in pods(cluster)}
    cluster.scale(NS, NAME, 4)
    await until(cluster, lambda: len(pods(cluster)) == 4)
    assert {pod.phase for pod in pods(cluster)} == {"Running"}


async def test_a_pod_that_goes_makes_room(cluster, runtime):
    """Going pods count until they are gone: their replacement waits for the place."""
    runtime.idle = False
    await deploy(cluster, 4)
    runtime.idle = True
    first = runtime.started[0]
    cluster.store.change(PODS, (NS, first.pod.name), _delete)
    await until(cluster, lambda: any(pod.phase == "Pending" for pod in pods(cluster)))
    assert len(runtime.started) == 4
    first.drained.set()
    await until(cluster, lambda: len(runtime.started) == 5)


def _delete(pod):
    pod["metadata"]["deletionTimestamp"] = "2026-11-23T10:00:00Z"
    pod["metadata"]["deletionGracePeriodSeconds"] = 330


# --- down ---------------------------------------------------------------------------------------


async def test_a_going_pod_leaves_dns_at_once_and_drains_before_it_is_told_to_end(cluster, runtime):
    """Drain, then SIGTERM; nothing is cut as long as the grace period lasts."""
    runtime.idle = False
    await deploy(cluster, 1)
    (container,) = runtime.started
    cluster.scale(NS, NAME, 0)
    await until(cluster, lambda: pods(cluster)[0].deleting)
    assert pods(cluster)[0].ready
    assert cluster.ready_addresses(NS, NAME) == []
    await asyncio.sleep(0.1)
    assert container.told == ["drain"]
    container.drained.set()
    await until(cluster, lambda: not pods(cluster))
    assert container.told == ["drain", "terminate"]


async def test_the_grace_period_ends_what_will_not_drain(cluster, runtime):
    """SIGTERM comes at its end, and SIGKILL after two seconds more."""
    runtime.idle = runtime.obedient = False
    await deploy(cluster, 1, PodTemplate(grace=timedelta(seconds=20), drain_delay=timedelta(0)))
    (container,) = runtime.started
    began = asyncio.get_running_loop().time()
    cluster.scale(NS, NAME, 0)
    await until(cluster, lambda: not pods(cluster))
    assert container.told == ["drain", "terminate", "kill"]
    assert 0.2 <= asyncio.get_running_loop().time() - began < 2


async def test_the_hook_waits_for_dns_before_it_looks_for_requests(cluster, runtime):
    """The drain delay comes first: new requests may still arrive."""
    await deploy(cluster, 1, PodTemplate(drain_delay=timedelta(seconds=20)))
    (container,) = runtime.started
    cluster.scale(NS, NAME, 0)
    await until(cluster, lambda: pods(cluster)[0].deleting)
    await asyncio.sleep(0.05)
    assert container.told == []
    await until(cluster, lambda: not pods(cluster))
    assert container.told == ["drain", "terminate"]


async def test_the_cheapest_pods_go_first(cluster):
    """`pod-deletion-cost` decides among ready pods."""
    await deploy(cluster, 4)
    names = [pod.name for pod in pods(cluster)]
    for name, cost in zip(names, ("3", "-7", "0", "-2"), strict=True):
        annotate(cluster, name, cost)
    cluster.scale(NS, NAME, 2)
    await until(cluster, lambda: len(pods(cluster)) == 2)
    assert {pod.name for pod in pods(cluster)} == {names[0], names[2]}


async def test_growing_again_does_not_wait_for_what_goes(cluster, runtime):
    """A deleted pod is not taken back: a new one starts beside it."""
    runtime.idle = False
    await deploy(cluster, 2)
    cluster.scale(NS, NAME, 1)
    await until(cluster, lambda: any(pod.deleting for pod in pods(cluster)))
    cluster.scale(NS, NAME, 2)
    await cluster.wait_ready(NS, NAME, 2, 5)
    assert len(pods(cluster)) == 3


# --- crashes ------------------------------------------------------------------------------------


async def test_a_crashed_container_is_restarted_in_place(cluster, runtime):
    """The pod keeps its name and address, and counts the restart."""
    await deploy(cluster, 1)
    (before,) = pods(cluster)
    assert cluster.kill_pod(NS, before.name)
    await until(cluster, lambda: pods(cluster)[0].restarts == 1 and pods(cluster)[0].serves)
    (after,) = pods(cluster)
    assert (after.name, after.ip) == (before.name, before.ip)
    (container,) = cluster.store.get(PODS, NS, after.name)["status"]["containerStatuses"]
    assert container["lastState"]["terminated"]["exitCode"] == 137
    assert len(runtime.of(before.name)) == 2


async def test_a_crash_takes_the_pod_out_of_dns_at_once(cluster):
    """No probe has to fail first."""
    await deploy(cluster, 1)
    cluster.kill_pod(NS, pods(cluster)[0].name)
    await cluster.wait_ready(NS, NAME, 0, 5)


async def test_a_container_that_keeps_crashing_is_backed_off_from(cluster, runtime):
    """Restarts come after 0, 10 and 20 seconds, here a hundredth of it."""
    await deploy(cluster, 1)
    times = []
    for restart in range(1, 4):
        runtime.started[-1].end(1)
        began = asyncio.get_running_loop().time()
        await until(cluster, lambda wanted=restart: pods(cluster)[0].restarts == wanted)
        times.append(asyncio.get_running_loop().time() - began)
    assert times[0] < times[1]
    assert times[1] >= 0.1
    assert times[2] >= 0.2


async def test_a_pod_that_backs_off_can_be_deleted(cluster, runtime):
    """It does not wait for its next start."""
    await deploy(cluster, 1)
    for count in (1, 2):
        await until(cluster, lambda wanted=count: len(runtime.started) == wanted)
        runtime.started[-1].end(1)
    await asyncio.sleep(0.02)
    cluster.scale(NS, NAME, 0)
    await until(cluster, lambda: not pods(cluster), 0.5)


# --- the whole ----------------------------------------------------------------------------------


async def test_stopping_ends_every_container_and_removes_the_kubeconfig(runtime, tmp_path):
    """At once, twice if one likes, and whatever is draining."""
    runtime.idle = False
    cluster = Cluster(runtime, tmp_path, speed=SPEED)
    await cluster.start()
    await deploy(cluster, 3)
    cluster.scale(NS, NAME, 2)
    await until(cluster, lambda: any(pod.deleting for pod in pods(cluster)))
    await cluster.stop()
    await cluster.stop()
    assert all(held.ended.is_set() for held in runtime.started)
    assert not cluster.kubeconfig_path.exists()


async def test_a_graceful_stop_drains(runtime, tmp_path):
    """Every container is asked before it ends."""
    cluster = Cluster(runtime, tmp_path, speed=SPEED)
    await cluster.start()
    await deploy(cluster, 2)
    await cluster.stop(graceful=True)
    assert [held.told for held in runtime.started] == [["drain", "terminate"]] * 2


async def test_names_are_the_same_for_the_same_seed(tmp_path):
    """A run can be told from its seed."""
    names = []
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        cluster = Cluster(FakeRuntime(), tmp_path / directory, speed=SPEED, seed=7)
        await cluster.start()
        await deploy(cluster, 3)
        names.append(sorted(pod.name for pod in pods(cluster)))
        await cluster.stop()
    assert names[0] == names[1]


def waiting(cluster) -> set[str | None]:
    """Return why containers wait."""
    return {
        find(status, "state", "waiting", "reason")
        for pod in cluster.store.select(PODS, NS)
        for status in find(pod, "status", "containerStatuses") or []
    }


async def test_an_image_that_is_nowhere_keeps_its_pod_pending(cluster):
    """The kubelet says so, first in one word and then in another, until the pod is deleted."""
    seen = []
    cluster.on_change(lambda: seen.extend(waiting(cluster)))
    template = PodTemplate(image=NO_IMAGE)
    await cluster.create_deployment(NS, NAME, 1, template)
    await until(cluster, lambda: waiting(cluster) == {"ImagePullBackOff"})
    assert "ErrImagePull" in seen
    (pod,) = pods(cluster)
    assert (pod.phase, pod.ready) == ("Pending", False)
    cluster.scale(NS, NAME, 0)
    await until(cluster, lambda: not pods(cluster))


async def test_a_container_that_cannot_be_started_is_told_apart(cluster, runtime, monkeypatch):
    """It never ran, so it did not crash."""

    async def refuses(pod):
        raise SandboxError("no")

    monkeypatch.setattr(runtime, "start", refuses)
    await cluster.create_deployment(NS, NAME, 1, QUICK)
    await until(cluster, lambda: waiting(cluster) == {"RunContainerError"})


async def test_a_container_that_crashes_again_waits(cluster, runtime):
    """Each time longer, in the word of the kubelet."""
    await deploy(cluster, 1)
    (pod,) = pods(cluster)
    cluster.kill_pod(NS, pod.name)
    await until(cluster, lambda: len(runtime.of(pod.name)) == 2 and waiting(cluster) == {None})
    cluster.kill_pod(NS, pod.name)
    await until(cluster, lambda: waiting(cluster) == {"CrashLoopBackOff"})

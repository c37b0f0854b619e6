"""The emulated HPA: its arithmetic by known cases, and what its writes leave in the API."""

import asyncio
import time
from dataclasses import replace

import pytest

from autoscaler.hpa.pods import Pod, Sample
from autoscaler.hpa.rules import DOWN, Behavior, Bounds, Rate
from autoscaler.sandbox.exporters import Reading
from autoscaler.sandbox.hpa import MANAGER, HpaController, HpaSettings
from autoscaler.sandbox.hpa.behavior import Memory
from autoscaler.sandbox.hpa.replicas import Moment, NoMetricsError, propose
from autoscaler.sandbox.hpa.usage import MetricsServer
from autoscaler.sandbox.kube import Cluster, PodTemplate
from autoscaler.sandbox.kube.resources import AUTOSCALERS
from tests.sandbox.kube_cluster import FakeRuntime

NOW = Moment(now=10_000.0)
OLD = {"request": 2000, "started": 0.0, "ready_since": 30.0}


def old(*names, **changes):
    """Return pods that have been ready for hours."""
    return [Pod(name=name, **(OLD | changes)) for name in names]


def used(**milli):
    """Return what pods used over the last 15 s."""
    return {name: Sample(value, at=9_995.0, window=15.0) for name, value in milli.items()}


@pytest.mark.parametrize(
    ("milli", "replicas", "utilization"),
    [
        ((2000, 2000), 4, 100),
        ((2000, 0), 2, 50),
        ((1100, 1100), 2, 55),  # 1.10 is inside the tolerance
        ((1120, 1120), 3, 56),
        ((900, 900), 2, 45),  # 0.90 as well
        ((880, 880), 2, 44),  # ceil(0.88 x 2)
        ((400, 400), 1, 20),
        ((0, 0), 0, 0),
    ],
)
def test_the_number_is_the_ratio_times_the_ready_pods(milli, replicas, utilization):
    """Utilization in whole percent of the requests, target 50, tolerance 0.1 edges included."""
    found = propose(2, 50, old("a", "b"), used(a=milli[0], b=milli[1]), NOW)
    assert (found.replicas, found.utilization) == (replicas, utilization)


def test_a_pod_without_metrics_counts_as_full_when_shrinking():
    """One idle pod and one unknown: 50 % together, so nothing moves, where 0 % alone would."""
    assert propose(2, 50, old("a", "b"), used(a=0), NOW).replicas == 2
    assert propose(3, 50, old("a", "b", "c"), used(a=0, b=0), NOW).replicas == 2


def test_a_pod_without_metrics_counts_as_idle_when_growing():
    """One full pod and one unknown: 50 % together, inside the tolerance."""
    assert propose(2, 50, old("a", "b"), used(a=2000), NOW).replicas == 2
    assert propose(3, 50, old("a", "b", "c"), used(a=2000, b=2000), NOW).replicas == 4


def test_starting_pods_hold_back_growth_and_not_shrinking():
    """Two full pods and two pending ones are 50 %; an idle pod shrinks beside a pending one."""
    pending = old("c", "d", phase="Pending", ready=None, started=None)
    assert propose(4, 50, [*old("a", "b"), *pending], used(a=2000, b=2000), NOW).replicas == 4
    assert propose(3, 50, [*old("a", "b"), *pending[:1]], used(a=200, b=200), NOW).replicas == 1


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"started": 9_900.0, "ready_since": 9_970.0}, True),
        ({"started": 9_900.0, "ready_since": 9_985.0}, False),  # the window reaches before it
        ({"started": 9_900.0, "ready_since": 9_920.0, "ready": False}, False),
        ({"started": 0.0, "ready_since": 10.0, "ready": False}, False),  # never was ready
        ({"started": 0.0, "ready_since": 5_000.0, "ready": False}, True),
    ],
    ids=["settled", "just-ready", "unready-young", "never-ready", "unready-later"],
)
def test_a_young_pods_use_counts_once_a_window_has_passed(changes, counts):
    """What it takes to start is no load; later only a pod that never was ready is out."""
    pods = [*old("a"), *old("b", **changes)]
    found = propose(2, 50, pods, used(a=1000, b=0), NOW)
    assert found.utilization == (25 if counts else 50)


def test_pods_that_go_and_failed_ones_are_no_pods():
    """Their use is left out, and they are not counted."""
    pods = [*old("a"), *old("b", deleted=True), *old("c", phase="Failed")]
    found = propose(2, 50, pods, used(a=2000, b=0, c=0), NOW)
    assert (found.replicas, found.utilization) == (2, 100)


def test_without_any_metric_or_request_nothing_is_computed():
    """HPA says so and scales nothing."""
    with pytest.raises(NoMetricsError, match="did not receive metrics"):
        propose(2, 50, old("a", "b"), {}, NOW)
    with pytest.raises(NoMetricsError, match="missing request"):
        propose(2, 50, old("a", request=None), used(a=1), NOW)


# --- windows and policies -----------------------------------------------------------------------

BOUNDS = Bounds(low=2, high=20)


def test_shrinking_waits_for_the_highest_proposal_of_five_minutes():
    """A proposal exactly as old as the window has left it; growing waits for nothing."""
    memory = Memory(Behavior())
    memory.begin(4, 0.0)
    assert memory.stabilize(4, 2, 15.0).replicas == 4
    assert memory.stabilize(4, 3, 299.9).replicas == 4
    assert memory.stabilize(4, 2, 300.0).replicas == 3
    assert memory.stabilize(3, 6, 315.0).replicas == 6


def test_growth_is_four_pods_or_a_doubling_each_quarter_minute():
    """Whichever is more; what was written within the period counts."""
    memory = Memory(Behavior())
    assert memory.limit(2, 20, BOUNDS, 0.0).replicas == 6
    memory.rescaled(2, 6, 0.0)
    assert memory.limit(6, 20, BOUNDS, 14.0).replicas == 6
    assert memory.limit(6, 20, BOUNDS, 15.0).replicas == 12
    assert memory.limit(12, 30, BOUNDS, 60.0).reason == "TooManyReplicas"


def test_shrinking_is_limited_by_its_policy_and_the_minimum():
    """By default all may go at once, down to the minimum."""
    assert Memory(Behavior()).limit(9, 1, BOUNDS, 0.0).replicas == 2
    slow = Behavior(down=replace(DOWN, rates=(Rate("percent", 50, 60.0),)))
    assert Memory(slow).limit(9, 1, BOUNDS, 0.0).replicas == 4


# --- metrics-server -----------------------------------------------------------------------------


def reading(cpu, at, before=0.0):
    """Return what the kubelet shows of a pod."""
    return Reading(cpu_seconds=cpu, before=before, at=at, in_flight=0)


def test_use_is_the_rate_between_two_looks():
    """One look is none; the same look again is no new one; a restart begins anew."""
    server = MetricsServer()
    server.look({"a": reading(10.0, 100.0)})
    assert server.usage() == {}
    server.look({"a": reading(25.0, 110.0)})
    server.look({"a": reading(25.0, 110.0)})
    assert server.usage() == {"a": Sample(1500, at=110.0, window=10.0)}
    server.look({"a": reading(1.0, 120.0, before=25.0)})
    assert server.usage() == {}


# --- in the emulated API ------------------------------------------------------------------------


async def test_it_writes_by_its_own_name_and_tells_of_it_in_its_object(tmp_path):
    """The scale is put by kube-controller-manager, and the object shows numbers and conditions."""
    cluster = Cluster(FakeRuntime(), tmp_path, speed=100.0)
    readings = {}
    await cluster.start()
    hpa = HpaController(
        HpaSettings(namespace="llm", name="ollama", low=2, high=6, speed=100.0),
        cluster,
        lambda: readings,
    )
    try:
        await cluster.create_deployment("llm", "ollama", 2, PodTemplate())
        await cluster.wait_ready("llm", "ollama", 2, 5.0)
        await hpa.start()
        busy = asyncio.create_task(_keep_busy(cluster, readings))
        async with asyncio.timeout(10):
            while not hpa.rescales:  # noqa: ASYNC110 - its own task brings it about
                await asyncio.sleep(0.02)
        busy.cancel()
        assert (hpa.rescales[0].from_, hpa.rescales[0].to) == (2, 4)
        assert hpa.rescales[0].utilization == 100
        write = cluster.audit[0]
        assert (write.who, write.verb, write.code) == (MANAGER, "update", 200)
        assert write.path.endswith("/deployments/ollama/scale")
        found = cluster.store.get(AUTOSCALERS, "llm", "ollama")
        assert found["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"] > 0
        told = {each["type"]: each["status"] for each in found["status"]["conditions"]}
        assert told["ScalingActive"] == "True"
    finally:
        await hpa.stop()
        await cluster.stop()


async def _keep_busy(cluster, readings):
    """Let every pod use all of its two cores."""
    began = time.time()
    while True:
        now = time.time()
        for pod in cluster.pods("llm", "ollama"):
            readings[pod.name] = reading(2.0 * (now - began), now)
        await asyncio.sleep(0.01)

"""The cluster that `python -m tests.cluster.run` has started, and what the tests tell of it."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.cluster.figures import Figures
from tests.cluster.kube.machine import Existing, Machine
from tests.cluster.scene import PEOPLE, WANTED, WORDS, Scene, Watch
from tests.cluster.stack import Stack
from tests.cluster.traffic import Traffic


@pytest.fixture(scope="session")
def cluster():
    """The cluster."""
    return Existing() if os.environ.get("CLUSTER") == "existing" else Machine()


@pytest.fixture(scope="session")
def machine(cluster):
    """The cluster as a machine of ours, parts of which can be stopped."""
    if not cluster.own:
        pytest.skip("stops parts of the cluster, which is somebody's own: make test-cluster")
    return cluster


@pytest.fixture(scope="session")
def stack(cluster):
    """The stack, as it was applied."""
    return Stack(cluster)


@pytest.fixture(scope="session")
def traffic(cluster):
    """People who ask the gateway."""
    return Traffic(cluster)


@pytest.fixture(scope="module")
def patience(cluster):
    """How long the replicas may take to follow the load: elsewhere by the policy that ships."""
    return 120 if cluster.own else 1200


@pytest.fixture(scope="module")
def whole_scene(cluster, stack, traffic, patience):
    """People who chat from the first test to the last."""
    watch = Watch(cluster)
    people = traffic.start(PEOPLE, words=WORDS, name="faults")
    yield Scene(stack, traffic, watch, people)
    traffic.stop(people)
    stack.wait_replicas(2, timeout_s=patience)
    watch.stop()


@pytest.fixture
def scene(stack, whole_scene, patience):
    """Begin with as many replicas as the people need, and no others."""
    stack.wait_replicas(WANTED, timeout_s=patience)
    return whole_scene


@pytest.fixture
def figures(request):
    """What a test has measured, for the table at the end: `figures["cut streams"] = 0`."""
    found = Figures()
    yield found
    request.node.figures = found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep what a test came to, for the table at the end."""
    report = yield
    if call.when == "teardown":
        _keep(item, report)
    elif report.outcome != "passed" or call.when == "call":
        item.outcome, item.seconds = report.outcome, call.duration
    return report


def _keep(item, report):
    if not (place := os.environ.get("CLUSTER_FIGURES")):
        return
    line = {
        "test": item.nodeid.partition("tests/cluster/")[2] or item.nodeid,
        "about": (item.function.__doc__ or "").strip(),
        "outcome": "failed" if report.failed else getattr(item, "outcome", "failed"),
        "seconds": round(getattr(item, "seconds", 0.0), 1),
        "figures": getattr(item, "figures", {}),
        "at": time.time(),
    }
    with Path(place).open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")

"""Writes through the fence are a leader's, up to the last step before their bytes leave."""

from contextlib import closing

import pytest

from autoscaler.adapters import cutter
from autoscaler.adapters.kubernetes import KubernetesTarget, fenced, load_client
from autoscaler.errors import TargetWriteError, UnknownWriteError
from tests.sandbox.kube_cluster import ClusterThread


class Leader:
    """Leads as long as a test says."""

    def __init__(self):
        self.asked = 0
        self.last = None
        """After so many questions it leads no more; None: it does for ever."""

    def leads(self):
        """Answer."""
        self.asked += 1
        return self.last is None or self.asked <= self.last


@pytest.fixture
def leader():
    """Return one that leads."""
    return Leader()


@pytest.fixture
def kube(tmp_path):
    """Run a cluster with two replicas."""
    with closing(ClusterThread(tmp_path)) as kube:
        kube.deploy()
        yield kube


@pytest.fixture
def target(kube, leader):
    """Return the Deployment behind a fence."""
    client = fenced(load_client(str(kube.cluster.kubeconfig_path)), leader.leads)
    target = KubernetesTarget(namespace="llm", name="ollama", client=client)
    target.read()
    return target


def test_a_leader_writes_and_anybody_reads(kube, target, leader):
    """The fence is asked for the write alone: as it is made, and as its bytes leave."""
    assert leader.asked == 0
    target.scale(2, 3)
    assert kube.cluster.replicas("llm", "ollama") == 3
    assert leader.asked > 1
    leader.last = 0
    assert target.read().current == 3


def test_who_does_not_lead_writes_nothing(kube, target, leader):
    """And knows that nothing was written."""
    leader.last = 0
    with pytest.raises(TargetWriteError, match="the leadership has been lost") as refused:
        target.scale(2, 3)
    assert not isinstance(refused.value, UnknownWriteError)
    assert kube.cluster.audit == []


def test_a_leadership_that_ends_on_the_way_ends_the_write(kube, target, leader):
    """Between any two questions: up to the last one nothing has left that has an effect."""
    target.scale(2, 3)
    questions = leader.asked
    assert questions >= 2
    for last in range(questions):
        leader.asked, leader.last = 0, last
        with pytest.raises(TargetWriteError, match="the leadership has been lost"):
            target.scale(3, 4)
    assert len(kube.cluster.audit) == 1
    leader.last = None
    target.scale(3, 4)


def test_a_shrink_is_fenced_at_each_of_its_requests(kube, target, leader):
    """The victims' marks and the number: what was begun is left to the next leader."""
    first, second = [pod.name for pod in target.read().pods]
    target.scale(2, 1, [first])
    questions, writes = leader.asked, len(kube.cluster.audit)
    assert writes == 2
    leader.asked, leader.last = 0, questions - 1
    with pytest.raises(TargetWriteError, match="the leadership has been lost"):
        target.scale(1, 0, [second])
    assert kube.cluster.replicas("llm", "ollama") == 1
    assert [entry.path.rpartition("/")[2] for entry in kube.cluster.audit[writes:]] == [second]
    assert target.read().marked == (second,)


def test_what_was_cut_sends_nothing_more(monkeypatch):
    """A thread that was asleep when its time was over finds that before it sends."""
    cut = cutter.Cutter()
    cut.cut()
    with pytest.raises(TimeoutError):
        cut.let_out()

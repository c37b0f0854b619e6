"""The Lease in the emulated API: written only where nobody else wrote in between."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kubernetes.client import CoordinationV1Api

from autoscaler.adapters.kubernetes import LeaseClient, load_client, own_namespace
from autoscaler.adapters.kubernetes.lease import STATE, Claim
from autoscaler.errors import ConflictError, ForbiddenError, TargetReadError
from autoscaler.sandbox.kube.resources import LEASES
from tests.sandbox.kube_cluster import ClusterThread

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
"""Without microseconds, which the API insists on all the same."""
MINE = Claim(holder="me", duration=timedelta(seconds=15), transitions=3, state="abc")


@pytest.fixture(scope="module")
def kube(tmp_path_factory):
    """Run a cluster."""
    with closing(ClusterThread(tmp_path_factory.mktemp("kube"))) as kube:
        yield kube


@pytest.fixture
def client(kube):
    """Connect as the daemon does."""
    return load_client(str(kube.cluster.kubeconfig_path))


@pytest.fixture
def lease(kube, client, request):
    """Return a Lease of this test's own, which is not there yet."""
    name = "lease-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())
    return LeaseClient(namespace="llm", name=name, client=client, timeout=timedelta(seconds=5))


def stored(kube, lease):
    """Return the object as the API keeps it."""
    return kube.call(lambda: kube.cluster.store.get(LEASES, "llm", lease._name))


def test_there_is_none_at_first(lease):
    """That is an answer, and no failure."""
    assert lease.read() is None


def test_what_is_written_is_read(kube, lease):
    """By us, and by whoever else knows what a Lease is."""
    written = lease.write(MINE, None, NOW)
    assert written.claim == MINE
    assert lease.read() == written
    assert stored(kube, lease)["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-23T10:00:00.000001Z",
        "renewTime": "2026-11-23T10:00:00.000001Z",
        "leaseTransitions": 3,
    }


def test_a_renewal_keeps_the_rest(kube, lease, client):
    """The time since when it is held, labels, and annotations of others."""
    lease.write(MINE, None, NOW)
    labels = {"metadata": {"labels": {"app": "x"}, "annotations": {"note": "by hand"}}}
    CoordinationV1Api(client).patch_namespaced_lease(lease._name, "llm", labels)
    later = NOW + timedelta(seconds=3)
    renewed = Claim(holder="me", duration=MINE.duration, transitions=3, state="def")
    lease.write(renewed, lease.read(), later)
    kept = stored(kube, lease)
    assert kept["metadata"]["labels"] == {"app": "x"}
    assert kept["metadata"]["annotations"] == {"note": "by hand", STATE: "def"}
    assert kept["spec"]["acquireTime"] == "2026-11-23T10:00:00.000001Z"
    assert kept["spec"]["renewTime"] == "2026-11-23T10:00:03.000001Z"


def test_a_new_holder_has_it_since_now(lease):
    """And what the one before has left is in the very answer."""
    mine = lease.write(MINE, None, NOW)
    theirs = Claim(holder="you", duration=MINE.duration, transitions=4, state=mine.claim.state)
    taken = lease.write(theirs, mine, NOW + timedelta(minutes=1))
    assert taken.claim == theirs
    assert taken.acquired == NOW + timedelta(minutes=1, microseconds=1)


def test_one_that_is_given_back_can_be_told_from_one_that_was_emptied(lease, client):
    """The first has no time since when it is held."""
    mine = lease.write(MINE, None, NOW)
    empty = {"spec": {"holderIdentity": ""}}
    CoordinationV1Api(client).patch_namespaced_lease(lease._name, "llm", empty)
    emptied = lease.read()
    assert (emptied.claim.holder, emptied.claim.given_back) == ("", False)
    back = Claim(holder="", duration=MINE.duration, given_back=True)
    assert lease.write(back, emptied, NOW).claim.given_back
    assert lease.read().acquired is None
    assert mine.acquired is not None


def test_a_lease_made_by_hand_is_nobodys(lease, client):
    """Whatever it lacks."""
    body = {"metadata": {"name": lease._name}}
    CoordinationV1Api(client).create_namespaced_lease("llm", body)
    found = lease.read()
    assert found.claim == Claim(holder="", duration=timedelta(0), given_back=True)
    assert lease.write(MINE, found, NOW).claim == MINE


def test_whoever_comes_second_is_refused(lease):
    """Be it to create, to update, or to write to one that was removed and made again."""
    first = lease.write(MINE, None, NOW)
    with pytest.raises(ConflictError, match="cannot create leases"):
        lease.write(MINE, None, NOW)
    lease.write(MINE, first, NOW + timedelta(seconds=1))
    with pytest.raises(ConflictError, match="cannot update leases"):
        lease.write(MINE, first, NOW + timedelta(seconds=2))


def test_one_that_was_removed_is_not_written(lease, client):
    """The update says that it is not the one that was read."""
    first = lease.write(MINE, None, NOW)
    CoordinationV1Api(client).delete_namespaced_lease(lease._name, "llm")
    with pytest.raises(ConflictError, match="Precondition failed: UID"):
        lease.write(MINE, first, NOW)
    assert lease.read() is None


def test_a_right_that_is_missing_is_told(kube, lease):
    """As of any other object."""
    kube.call(lambda: kube.cluster.deny("get", "leases"))
    kube.call(lambda: kube.cluster.deny("create", "leases"))
    try:
        with pytest.raises(TargetReadError, match="403"):
            lease.read()
        with pytest.raises(ForbiddenError, match="403"):
            lease.write(MINE, None, NOW)
    finally:
        kube.call(lambda: kube.cluster.allow("get", "leases"))
        kube.call(lambda: kube.cluster.allow("create", "leases"))


def test_the_pods_own_namespace(tmp_path):
    """As a ServiceAccount's token brings it; none where this is no pod."""
    file = tmp_path / "namespace"
    file.write_text("monitoring\n")
    assert own_namespace(file) == "monitoring"
    assert own_namespace(Path("/nowhere/namespace")) == ""

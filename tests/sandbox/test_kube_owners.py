"""Whose the replica count is, as the unmodified official client writes and reads it."""

import json
from collections.abc import Iterator

import pytest
from kubernetes import client as k
from kubernetes import config
from kubernetes.client.exceptions import ApiException

from autoscaler.sandbox.kube.resources import DEPLOYMENTS
from tests.sandbox.kube_cluster import ClusterThread

NS = "llm"
APPLY = {"_content_type": "application/apply-patch+yaml"}


@pytest.fixture
def kube(tmp_path) -> Iterator[ClusterThread]:
    """Run a cluster with the Deployment `ollama` of two ready pods."""
    thread = ClusterThread(tmp_path)
    thread.deploy()
    yield thread
    thread.close()


@pytest.fixture
def apps(kube) -> k.AppsV1Api:
    """Connect by the kubeconfig that the cluster wrote."""
    return k.AppsV1Api(config.new_client_from_config(str(kube.cluster.kubeconfig_path)))


def scale(apps, replicas, manager) -> None:
    """Patch the scale as somebody."""
    body = {"spec": {"replicas": replicas}}
    apps.patch_namespaced_deployment_scale("ollama", NS, body, field_manager=manager)


def apply(apps, spec, manager, **options) -> k.V1Deployment:
    """Apply a Deployment on the server's side."""
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "ollama"}}
    signed = {"field_manager": manager} if manager else {}
    return apps.patch_namespaced_deployment(
        "ollama", NS, body | {"spec": spec}, **signed, **options, **APPLY
    )


def owners(apps) -> set[tuple[str, str, str | None]]:
    """Return who has the count: manager, operation, subresource."""
    found = apps.read_namespaced_deployment("ollama", NS).metadata.managed_fields or []
    return {
        (entry.manager, entry.operation, entry.subresource)
        for entry in found
        if "f:replicas" in entry.fields_v1.get("f:spec", {})
    }


def times(apps) -> list[bool]:
    """Tell of everybody who has the count whether the API says since when."""
    found = apps.read_namespaced_deployment("ollama", NS).metadata.managed_fields or []
    return [entry.time is not None for entry in found]


def count(apps) -> int:
    """Read the replicas asked for."""
    return apps.read_namespaced_deployment("ollama", NS).spec.replicas


def test_whoever_changes_the_count_takes_it(apps):
    """By the scale or by the Deployment; one who writes the same does not."""
    scale(apps, 3, "hpa")
    assert owners(apps) == {("hpa", "Update", "scale")}
    scale(apps, 3, "other")
    assert owners(apps) == {("hpa", "Update", "scale")}
    body = {"spec": {"replicas": 4}}
    apps.patch_namespaced_deployment("ollama", NS, body, field_manager="kubectl-edit")
    assert owners(apps) == {("kubectl-edit", "Update", None)}


def test_a_replaced_deployment_notes_its_writer(apps):
    """What the client sends back of the managed fields does not count."""
    scale(apps, 3, "hpa")
    found = apps.read_namespaced_deployment("ollama", NS)
    found.spec.replicas, found.metadata.managed_fields = 5, None
    found.metadata.resource_version = None  # its status changes all the time
    apps.replace_namespaced_deployment("ollama", NS, found, field_manager="helm")
    assert owners(apps) == {("helm", "Update", None)}


def test_an_apply_of_the_same_count_shares_it(apps):
    """Two have it then; whoever changes it next has it alone."""
    scale(apps, 3, "ours")
    apply(apps, {"replicas": 3}, "argocd")
    assert owners(apps) == {("ours", "Update", "scale"), ("argocd", "Apply", None)}
    scale(apps, 4, "ours")
    assert owners(apps) == {("ours", "Update", "scale")}


def test_only_a_change_of_the_deployment_itself_has_a_time(apps):
    """A write through the scale has none, and neither has an apply of what is there."""
    scale(apps, 3, "ours")
    apply(apps, {"replicas": 3}, "argocd")
    assert times(apps) == [False, False]
    apply(apps, {"replicas": 4}, "argocd", force=True)
    assert times(apps) == [True]
    body = {"spec": {"replicas": 5}}
    apps.patch_namespaced_deployment("ollama", NS, body, field_manager="kubectl-edit")
    assert times(apps) == [True]


def test_nobody_has_a_count_of_zero_that_came_by_the_scale(apps):
    """And whoever goes by the scale after that has none either, until the Deployment is written."""
    scale(apps, 0, "ours")
    assert owners(apps) == set()
    scale(apps, 3, "hpa")
    assert (count(apps), owners(apps)) == (3, set())
    body = {"spec": {"replicas": 0}}
    apps.patch_namespaced_deployment("ollama", NS, body, field_manager="kubectl-edit")
    assert owners(apps) == {("kubectl-edit", "Update", None)}
    scale(apps, 2, "ours")
    assert owners(apps) == {("ours", "Update", "scale")}


def test_a_new_deployment_has_an_owner(apps):
    """Also of a count that is there by default."""
    assert owners(apps) == {("kubectl-client-side-apply", "Update", None)}
    assert times(apps) == [True]


def test_an_apply_of_another_count_is_a_conflict_unless_forced(apps):
    """It is refused in the words of a real server."""
    scale(apps, 3, "ours")
    with pytest.raises(ApiException) as refused:
        apply(apps, {"replicas": 2}, "argocd")
    status = json.loads(refused.value.body)
    told = 'conflict with "ours" with subresource "scale" using apps/v1'
    assert (refused.value.status, status["reason"]) == (409, "Conflict")
    assert status["message"] == f"Apply failed with 1 conflict: {told}: .spec.replicas"
    assert [cause["reason"] for cause in status["details"]["causes"]] == ["FieldManagerConflict"]
    assert count(apps) == 3
    apply(apps, {"replicas": 2}, "argocd", force=True)
    assert (count(apps), owners(apps)) == (2, {("argocd", "Apply", None)})


def test_an_apply_without_the_count_gives_it_up(apps):
    """With nobody left who wants one, it is what it is by default."""
    apply(apps, {"replicas": 4}, "argocd", force=True)
    scale(apps, 5, "ours")
    apply(apps, {"paused": False}, "argocd")
    assert (count(apps), owners(apps)) == (5, {("ours", "Update", "scale")})
    apply(apps, {"replicas": 5}, "argocd")
    apply(apps, {"paused": False}, "argocd")
    assert count(apps) == 5
    apply(apps, {"replicas": 2}, "argocd", force=True)
    apply(apps, {"paused": False}, "argocd")
    assert (count(apps), owners(apps)) == (1, set())


def test_an_apply_must_be_signed(apps):
    """Without a field manager it is refused."""
    with pytest.raises(ApiException) as refused:
        apply(apps, {"replicas": 2}, "")
    assert refused.value.status == 422
    assert "is required for apply patch" in refused.value.body


def test_an_entry_keeps_what_else_it_has(apps, kube):
    """Only the count is taken from it."""
    fields = {"f:spec": {"f:replicas": {}, "f:paused": {}}, "f:metadata": {}}
    entry = {"manager": "helm", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}

    def edit(obj):
        obj["metadata"]["managedFields"] = [entry]

    kube.call(lambda: kube.cluster.store.change(DEPLOYMENTS, (NS, "ollama"), edit))
    scale(apps, 3, "ours")
    first, second = apps.read_namespaced_deployment("ollama", NS).metadata.managed_fields
    assert first.fields_v1 == {"f:spec": {"f:paused": {}}, "f:metadata": {}}
    assert (second.manager, second.fields_v1) == ("ours", {"f:spec": {"f:replicas": {}}})


def test_a_change_past_the_api_has_an_owner_too(apps, kube):
    """As somebody who types `kubectl scale`, or as whom a test names."""
    kube.call(lambda: kube.cluster.scale(NS, "ollama", 3))
    assert owners(apps) == {("kubectl", "Update", "scale")}
    kube.call(lambda: kube.cluster.scale(NS, "ollama", 4, "keda-operator"))
    assert owners(apps) == {("keda-operator", "Update", "scale")}

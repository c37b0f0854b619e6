"""A Deployment itself: its counts, its generations, and a count that nobody names."""

from datetime import timedelta

import pytest

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.kubernetes import FIELD_MANAGER, LastDecisions
from autoscaler.adapters.kubernetes.annotations import LAST_DECISION
from tests.contract.world import APPLY, JSON, MERGE, STRATEGIC

DEPLOYMENT = "deployments/ollama"
SOON = timedelta(seconds=10)


def test_its_status_follows(world):
    """The counts are those of its pods, and zeros are left out."""
    status = world.deployment()["status"]
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (2, 2, 2)
    assert "unavailableReplicas" not in status
    world.patch(f"{DEPLOYMENT}/scale", {"spec": {"replicas": 0}})
    world.until(lambda: "replicas" not in world.deployment()["status"])
    assert "readyReplicas" not in world.deployment()["status"]


def test_its_generation_is_of_what_is_asked_for(world):
    """It moves with spec and annotations, and the controller says which one it has seen."""
    first = world.deployment()["metadata"]["generation"]
    world.patch(DEPLOYMENT, {"metadata": {"labels": {"note": "x"}}})
    assert world.deployment()["metadata"]["generation"] == first
    assert world.annotate(DEPLOYMENT, {"note": "x"}).code == 200
    world.patch(DEPLOYMENT, {"spec": {"replicas": 3}})
    assert world.deployment()["metadata"]["generation"] == first + 2
    world.until(lambda: world.deployment()["status"]["observedGeneration"] == first + 2)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"spec": {"replicas": None}}, MERGE),
        ({"spec": {"replicas": None}}, STRATEGIC),
        ([{"op": "remove", "path": "/spec/replicas"}], JSON),
    ],
    ids=["merge", "strategic", "json"],
)
def test_a_count_that_nobody_names_is_one(world, body, kind):
    """Unlike in a scale, where it is zero."""
    assert world.patch(DEPLOYMENT, body, kind)["spec"]["replicas"] == 1
    assert world.replicas() == 1


def test_a_put_without_a_count_is_one(world):
    """As a file that leaves the count to others is, where it is put and not applied."""
    body = world.deployment()
    del body["spec"]["replicas"]
    assert world.raw("PUT", DEPLOYMENT, body).body["spec"]["replicas"] == 1


def test_a_count_of_zero_is_told(world):
    """Here it is not left out, as it is from the scale."""
    world.patch(DEPLOYMENT, {"spec": {"replicas": 0}})
    assert world.deployment()["spec"]["replicas"] == 0


def test_a_negative_count_names_its_field(world):
    """As in a scale, under the Deployment's kind."""
    answer = world.raw("PATCH", DEPLOYMENT, {"spec": {"replicas": -1}}, MERGE)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes == [("spec.replicas", "FieldValueInvalid")]
    details = answer.body["details"]
    assert (details["name"], details["group"], details["kind"]) == ("ollama", "apps", "Deployment")


@pytest.mark.parametrize(
    ("kind", "value"),
    # A strategic patch of a larger number is cut to 32 bits, which nobody should rely on.
    [*((kind, value) for kind in (MERGE, STRATEGIC) for value in ("3", 2.5, True)), (MERGE, 2**31)],
)
def test_what_is_no_count_is_told_of_the_patch(still, kind, value):
    """As in a scale."""
    answer = still.raw("PATCH", DEPLOYMENT, {"spec": {"replicas": value}}, kind)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes == [("patch", "FieldValueInvalid")]
    assert still.replicas() == 2


def test_its_uid_stays(still):
    """A patch of it is invalid, a put for another object a conflict."""
    patched = still.raw("PATCH", DEPLOYMENT, {"metadata": {"uid": "0"}}, MERGE)
    assert (patched.code, patched.causes) == (422, [("metadata.uid", "FieldValueInvalid")])
    other = still.deployment()
    other["metadata"]["uid"] = "0"
    put = still.raw("PUT", DEPLOYMENT, other)
    assert (put.code, put.reason) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: 0" in put.body["message"]


def test_an_old_version_is_a_conflict(world):
    """For a patch and for a put."""
    old = world.deployment()
    world.patch(DEPLOYMENT, {"spec": {"replicas": 3}})
    for answer in (
        world.raw("PUT", DEPLOYMENT, old),
        world.raw("PATCH", DEPLOYMENT, {"metadata": {"resourceVersion": "1"}}, MERGE),
    ):
        assert (answer.code, answer.reason) == (409, "Conflict")
        assert answer.body["details"] == {"name": "ollama", "group": "apps", "kind": "deployments"}


# --- the annotation with the last decision ------------------------------------------------------


def tell(world, target, sentence) -> list[str]:
    """Have the daemon write an annotation, and return what it complains of."""
    complaints: list[str] = []
    last = LastDecisions(world.client()["client"], SystemClock(), complaints.append)
    last.tell(target.about, sentence)
    last.close(SOON)
    return complaints


def annotations(world) -> dict[str, str]:
    """Return those of the Deployment."""
    return world.deployment()["metadata"].get("annotations") or {}


def test_a_decision_is_told_by_an_annotation(world):
    """By one patch, and no rollout comes of it: template, ReplicaSets and pods stay."""
    target = world.target()
    target.read()
    before, pods = world.deployment(), world.pods().keys()
    sets = {each["metadata"]["uid"] for each in world.get("replicasets")}
    assert tell(world, target, "2026-11-23T10:00:00Z 2 -> 4, AboveTarget (é)") == []
    after = world.deployment()
    assert annotations(world)[LAST_DECISION] == "2026-11-23T10:00:00Z 2 -> 4, AboveTarget (é)"
    assert after["spec"] == before["spec"]
    generation = before["metadata"]["generation"] + 1
    assert after["metadata"]["generation"] == generation
    world.until(lambda: world.deployment()["status"].get("observedGeneration") == generation)
    assert {each["metadata"]["uid"] for each in world.get("replicasets")} == sets
    assert world.pods().keys() == pods
    assert world.writes() == [("patch", "deployments", 200)]


def test_an_annotation_of_ours_is_no_write_of_the_replicas(world):
    """Whoever wrote them last stays who did, and our entry does not claim them."""
    target = world.target()
    world.patch(f"{DEPLOYMENT}?fieldManager=kubectl-edit", {"spec": {"replicas": 3}})
    before = target.read().writer
    assert tell(world, target, "holds 3") == []
    assert target.read().writer == before
    assert (before.manager, before.is_us) == ("kubectl-edit", False)
    target.scale(3, 4)
    assert tell(world, target, "3 -> 4") == []
    writer = target.read().writer
    assert (writer.manager, writer.is_us, writer.at) == (FIELD_MANAGER, True, None)
    world.patch(f"{DEPLOYMENT}/scale", {"spec": {"replicas": 2}}, agent="kubectl")
    assert tell(world, target, "holds 2, Conflict") == []
    assert target.read().writer.manager == "kubectl"


def test_a_scale_goes_on_after_an_annotation(world):
    """The version of the Deployment has moved on, and no test of ours is on that."""
    target = world.target()
    target.read()
    assert tell(world, target, "holds 2") == []
    target.scale(2, 3)
    assert world.replicas() == 3


def test_an_apply_leaves_the_annotation(world):
    """On the client's side and on the server's: it is nothing that they own."""
    target = world.target()
    assert tell(world, target, "holds 2") == []
    world.patch(f"{DEPLOYMENT}?fieldManager=kubectl-client-side-apply", {"spec": {"replicas": 3}})
    found = world.deployment()
    body = {key: found[key] for key in ("apiVersion", "kind")}
    body["metadata"] = {"name": "ollama", "annotations": {"note": "x"}}
    body["spec"] = {key: found["spec"][key] for key in ("selector", "template")}
    world.patch(f"{DEPLOYMENT}?fieldManager=kubectl&force=true", body, APPLY)
    assert annotations(world)[LAST_DECISION] == "holds 2"
    assert annotations(world)["note"] == "x"


def test_an_annotation_without_its_right_is_told_of_and_harmless(world):
    """Nothing else comes of it."""
    target = world.target()
    target.read()
    world.take_right("patch", "deployments", "apps")
    (complaint,) = tell(world, target, "holds 2")
    assert complaint.startswith("annotations of Deployments are not written: HTTP 403: ")
    assert LAST_DECISION not in annotations(world)
    target.scale(2, 3)
    assert world.replicas() == 3

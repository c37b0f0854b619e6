"""A Deployment itself: its counts, its generations, and a count that nobody names."""

import pytest

from tests.contract.world import JSON, MERGE, STRATEGIC

DEPLOYMENT = "deployments/ollama"


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

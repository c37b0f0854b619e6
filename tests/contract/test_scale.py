"""The scale of a Deployment: what each form of a write does, and how a wrong one is refused."""

import pytest

from tests.contract.world import JSON, MERGE, STRATEGIC

SCALE = "deployments/ollama/scale"
REFUSED = "the server rejected our request due to an error in our request"


def operation(op, value=None) -> dict:
    """Write one operation on the count."""
    return {"op": op, "path": "/spec/replicas", "value": value}


def test_a_scale_has_the_counts_and_the_selector(still):
    """It is an object of another group than the Deployment's."""
    scale = still.get(SCALE)
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"] == {"replicas": 2, "selector": "app=ollama"}
    metadata = still.deployment()["metadata"]
    for key in ("name", "namespace", "uid", "resourceVersion"):
        assert scale["metadata"][key] == metadata[key]


def test_a_patch_whose_test_holds_scales(world):
    """The answer is the new scale, and the Deployment is of a new generation."""
    before = world.deployment()["metadata"]
    answer = world.raw("PATCH", SCALE, [operation("test", 2), operation("replace", 3)], JSON)
    assert (answer.code, answer.body["kind"], answer.body["spec"]) == (
        200,
        "Scale",
        {"replicas": 3},
    )
    after = world.deployment()
    assert after["spec"]["replicas"] == 3
    assert after["metadata"]["generation"] == before["generation"] + 1


@pytest.mark.parametrize(
    "patch",
    [
        [operation("test", 9), operation("replace", 3)],
        [operation("test", None), operation("replace", 3)],
        [operation("test", 2), operation("replace", 3), operation("test", 2)],
        [{"op": "replace", "path": "/spec/none/of/it", "value": 3}],
        [{"op": "remove", "path": "/spec/none"}],
        [operation("huh", 3)],
        [{"path": "/spec/replicas", "value": 3}],
    ],
    ids=["number", "null", "last", "way", "remove", "unknown", "none"],
)
def test_a_patch_that_does_not_apply_changes_nothing(still, patch):
    """It is Invalid, names nothing, and so can be told from a number that cannot be."""
    answer = still.raw("PATCH", SCALE, patch, JSON)
    assert (answer.code, answer.reason, answer.causes) == (422, "Invalid", [])
    assert answer.body["message"] == REFUSED
    assert still.replicas() == 2


def test_a_scale_of_zero_has_no_count(world):
    """A test for 0 fails there and one for null holds, with which either way of writing does."""
    world.patch(SCALE, [operation("test", 2), operation("replace", 0)], JSON)
    assert world.get(SCALE)["spec"] == {}
    assert world.replicas() == 0
    for wrong in (operation("test", 0), operation("remove")):
        answer = world.raw("PATCH", SCALE, [wrong, operation("add", 1)], JSON)
        assert (answer.code, answer.causes) == (422, [])
    for write in ("add", "replace"):
        world.patch(SCALE, [operation("test", None), operation(write, 1)], JSON)
        assert world.replicas() == 1
        world.patch(SCALE, [operation("replace", 0)], JSON)


@pytest.mark.parametrize(
    ("body", "kind", "count"),
    [
        ({"spec": {"replicas": 4}}, MERGE, 4),
        ({"spec": {"replicas": 4}}, STRATEGIC, 4),
        ({"spec": {"replicas": None}}, MERGE, 0),
        ({"spec": None}, MERGE, 0),
        ({}, MERGE, 2),
        ([operation("remove")], JSON, 0),
        ([operation("replace", None)], JSON, 0),
        ([operation("add", 5)], JSON, 5),
    ],
    ids=["merge", "strategic", "null", "no-spec", "nothing", "remove", "json-null", "add"],
)
def test_every_form_of_a_patch_scales(world, body, kind, count):
    """A scale without a count is one of zero."""
    answer = world.patch(SCALE, body, kind)
    assert answer["spec"].get("replicas", 0) == count
    assert world.replicas() == count


def test_the_same_number_is_no_new_generation(still):
    """Nothing is asked for that was not before."""
    before = still.deployment()
    still.patch(SCALE, [operation("test", 2), operation("replace", 2)], JSON)
    after = still.deployment()
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["spec"] == before["spec"]


def test_a_scale_is_put_over_the_version_that_was_read(world):
    """A second writer of the same version is refused, in the Deployment's name."""
    scale = world.get(SCALE)
    scale["spec"]["replicas"] = 3
    assert world.raw("PUT", SCALE, scale).code == 200
    scale["spec"]["replicas"] = 4
    answer = world.raw("PUT", SCALE, scale)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert answer.body["details"] == {"name": "ollama", "group": "apps", "kind": "deployments"}
    assert world.replicas() == 3


def test_a_scale_without_a_version_is_put_over_any(world):
    """Who does not say what was read overwrites."""
    scale = {"metadata": {"name": "ollama"}, "spec": {"replicas": 5}}
    assert world.raw("PUT", SCALE, scale).code == 200
    assert world.replicas() == 5


def test_a_patch_with_an_old_version_is_a_conflict(still):
    """As a put is."""
    old = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}}
    answer = still.raw("PATCH", SCALE, old, MERGE)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "the object has been modified" in answer.body["message"]
    assert still.replicas() == 2


def test_a_patch_for_another_object_of_the_name_is_a_conflict(still):
    """The uid says which one is meant."""
    other = {"metadata": {"uid": "00000000-0000"}, "spec": {"replicas": 3}}
    answer = still.raw("PATCH", SCALE, other, MERGE)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "UID in precondition: 00000000-0000" in answer.body["message"]


@pytest.mark.parametrize("kind", [JSON, MERGE])
def test_a_negative_count_names_its_field(still, kind):
    """It is Invalid as a patch is that does not apply, and told apart by its cause."""
    body = [operation("replace", -1)] if kind == JSON else {"spec": {"replicas": -1}}
    answer = still.raw("PATCH", SCALE, body, kind)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes == [("spec.replicas", "FieldValueInvalid")]
    assert "must be greater than or equal to 0" in answer.body["message"]


@pytest.mark.parametrize(
    "value", [2**31, -(2**31) - 1, 2**63, "3", 2.5, 3.0, True, [3], {"a": 1}], ids=str
)
@pytest.mark.parametrize("kind", [JSON, MERGE])
def test_what_is_no_count_is_told_of_the_patch(still, kind, value):
    """No number is cut or rounded, and the cause is there, so it is no conflict."""
    body = [operation("replace", value)] if kind == JSON else {"spec": {"replicas": value}}
    answer = still.raw("PATCH", SCALE, body, kind)
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes == [("patch", "FieldValueInvalid")]
    assert still.replicas() == 2


@pytest.mark.parametrize("value", [2**31, "3", 2.5])
def test_what_is_no_count_is_a_bad_request_where_it_is_put(still, value):
    """There the body itself cannot be read."""
    body = {"metadata": {"name": "ollama"}, "spec": {"replicas": value}}
    answer = still.raw("PUT", SCALE, body)
    assert (answer.code, answer.reason) == (400, "BadRequest")


def test_the_largest_count_is_taken(still):
    """Not kept: two thousand million pods are not what a case is about."""
    answer = still.raw("PATCH", f"{SCALE}?dryRun=All", [operation("replace", 2**31 - 1)], JSON)
    assert (answer.code, answer.body["spec"]["replicas"]) == (200, 2**31 - 1)
    assert still.replicas() == 2


@pytest.mark.parametrize(
    ("method", "body", "kind", "code"),
    [
        ("PATCH", {"a": 1}, JSON, 400),
        ("PATCH", [1], MERGE, 400),
        ("PATCH", b"{", MERGE, 400),
        ("PATCH", b"[{", JSON, 400),
        ("PUT", b"{", None, 400),
        ("PUT", {"spec": {"replicas": 3}}, None, 400),
        ("PATCH", {"metadata": {"name": "other"}}, MERGE, 400),
        ("PATCH", {"spec": {"replicas": 3}}, "text/plain", 415),
        ("POST", {}, None, 405),
        ("DELETE", None, None, 405),
    ],
)
def test_what_cannot_be_read_changes_nothing(still, method, body, kind, code):
    """Each is refused with a Status."""
    answer = still.raw(method, SCALE, body, kind)
    assert (answer.code, answer.body["kind"], answer.body["code"]) == (code, "Status", code)
    assert still.replicas() == 2

"""The pods of a Deployment: whose they are, how they are listed, which of them go first."""

import re
from urllib.parse import quote

import pytest

from autoscaler.adapters.kubernetes.annotations import COST
from tests.contract.world import MERGE, NAME, is_ready

NAMED = re.compile(rf"{NAME}-[a-z0-9]{{8,10}}-[a-z0-9]{{5}}")


def scale(world, count) -> None:
    """Ask for so many pods, as somebody."""
    world.patch(f"deployments/{NAME}/scale", {"spec": {"replicas": count}})


def gone(world, count) -> set[str]:
    """Scale down and name the pods that went for it."""
    before = world.staying()
    scale(world, count)
    world.until(lambda: len(world.staying()) == count)
    return before - world.staying()


# --- whose they are -----------------------------------------------------------------------------


def test_a_pod_says_whose_it_is(still):
    """Its owner's name is the Deployment's with the hash that the pod is labelled with."""
    (owner,) = still.get("replicasets")
    assert owner["metadata"]["ownerReferences"][0]["name"] == NAME
    pods = still.pods()
    assert len(pods) == 2
    for name, pod in pods.items():
        metadata = pod["metadata"]
        (reference,) = metadata["ownerReferences"]
        assert NAMED.fullmatch(name)
        assert (reference["kind"], reference["controller"]) == ("ReplicaSet", True)
        assert reference["uid"] == owner["metadata"]["uid"]
        assert reference["name"] == owner["metadata"]["name"]
        assert reference["name"] == f"{NAME}-{metadata['labels']['pod-template-hash']}"
        assert name.startswith(f"{reference['name']}-")


def test_a_pod_that_serves_says_so(still):
    """With a phase, a condition, an address and a time of creation with a zone."""
    for pod in still.pods().values():
        assert (pod["status"]["phase"], is_ready(pod)) == ("Running", True)
        assert re.fullmatch(r"127(\.\d+){3}", pod["status"]["podIP"])
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", pod["metadata"]["creationTimestamp"]
        )
        assert pod["metadata"]["uid"]


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ("app=ollama", 2),
        ("app==ollama,pod-template-hash", 2),
        ("app!=ollama", 0),
        ("other!=ollama", 2),
        ("app in (a,ollama)", 2),
        ("app notin (ollama)", 0),
        ("other notin (ollama)", 2),
        ("app", 2),
        ("!app", 0),
        ("!other,app", 2),
        ("app=none", 0),
        ("", 2),
    ],
)
def test_pods_are_listed_by_their_labels(still, selector, count):
    """In every form that a Deployment's selector can be written in."""
    answer = still.raw("GET", f"pods?labelSelector={quote(selector)}")
    assert (answer.body["kind"], answer.body["apiVersion"]) == ("PodList", "v1")
    assert len(answer.body["items"]) == count


def test_a_selector_that_is_none_is_a_bad_request(still):
    """It never lists all."""
    for selector in ("a b c", "a in x"):
        answer = still.raw("GET", f"pods?labelSelector={quote(selector)}")
        assert (answer.code, answer.reason) == (400, "BadRequest")


# --- what is written to them --------------------------------------------------------------------


def test_annotations_are_merged_and_taken_back(world):
    """The answer is the pod, and null removes what may not even be there."""
    name = min(world.pods())
    first = world.patch(f"pods/{name}", {"metadata": {"annotations": {"a": "1", "b": "2"}}})
    assert {"a": "1", "b": "2"}.items() <= first["metadata"]["annotations"].items()
    second = world.patch(f"pods/{name}", {"metadata": {"annotations": {"a": None, "c": None}}})
    assert second["metadata"]["annotations"]["b"] == "2"
    assert not {"a", "c"} & second["metadata"]["annotations"].keys()


@pytest.mark.parametrize(
    ("cost", "taken"),
    [
        ("0", True),
        ("-0", True),
        ("-01", True),
        ("-1000", True),
        ("2147483647", True),
        ("-2147483648", True),
        ("2147483648", False),
        ("-2147483649", False),
        ("01", False),
        ("+1", False),
        ("", False),
        (" 1", False),
        ("1.5", False),
        ("1e3", False),
        ("abc", False),
    ],
)
def test_a_cost_is_a_whole_number(still, cost, taken):
    """Of 32 bits; any other is refused, and the field named."""
    answer = still.annotate(f"pods/{min(still.pods())}", {COST: cost})
    assert answer.code == (200 if taken else 422)
    if not taken:
        assert answer.causes == [(f"metadata.annotations[{COST}]", "FieldValueInvalid")]


@pytest.mark.parametrize(
    ("metadata", "code", "cause"),
    [
        ({"annotations": {"a": 1}}, 422, "patch"),
        ({"annotations": {"a": "x" * 2**18}}, 422, "metadata.annotations"),
        ({"resourceVersion": "1"}, 409, None),
        ({"uid": "0"}, 422, "metadata.uid"),
        ({"name": "other"}, 400, None),
    ],
    ids=["number", "long", "version", "uid", "name"],
)
def test_a_wrong_patch_of_a_pod_is_refused(still, metadata, code, cause):
    """With the field that it is about, where it is about one."""
    answer = still.raw("PATCH", f"pods/{min(still.pods())}", {"metadata": metadata}, MERGE)
    assert answer.code == code
    assert answer.causes[:1] == ([(cause, answer.causes[0][1])] if cause else [])


# --- which of them go ---------------------------------------------------------------------------


def test_the_lowest_cost_goes_first(empty):
    """Whoever is the oldest, and however many go."""
    empty.deploy(4)
    names = sorted(empty.pods())
    for name, cost in zip(names, ("-1000", "5", "-999", "-998"), strict=True):
        assert empty.annotate(f"pods/{name}", {COST: cost}).code == 200
    assert gone(empty, 3) == {names[0]}
    assert gone(empty, 1) == {names[2], names[3]}


def test_a_cost_below_none_goes_before_those_without(empty):
    """No cost is one of zero."""
    empty.deploy(3)
    names = sorted(empty.pods())
    assert empty.annotate(f"pods/{names[1]}", {COST: "1"}).code == 200
    assert empty.annotate(f"pods/{names[2]}", {COST: "-1"}).code == 200
    assert gone(empty, 2) == {names[2]}
    assert gone(empty, 1) == {names[0]}


def test_what_is_not_ready_goes_before_any_cost(empty):
    """The cost is only looked at among those that are alike otherwise."""
    empty.deploy(3)
    names = sorted(empty.pods())
    assert empty.annotate(f"pods/{names[0]}", {COST: "-1000"}).code == 200
    assert empty.annotate(f"pods/{names[1]}", {COST: "1000"}).code == 200
    empty.set_ready(names[1], ready=False)
    assert gone(empty, 2) == {names[1]}


def test_what_has_no_place_goes_before_all(empty):
    """Also before one that is not ready."""
    empty.deploy(3, places=2)
    pods = empty.pods()
    (waiting,) = [name for name, pod in pods.items() if "nodeName" not in pod["spec"]]
    (unready, *_) = sorted(pods.keys() - {waiting})
    empty.set_ready(unready, ready=False)
    assert empty.annotate(f"pods/{waiting}", {COST: "1000"}).code == 200
    assert gone(empty, 2) == {waiting}


def test_a_pod_without_a_place_says_so(empty):
    """It is pending, has no address, and is told to be unschedulable."""
    empty.deploy(2, places=1)
    (waiting,) = [pod for pod in empty.pods().values() if "nodeName" not in pod["spec"]]
    assert waiting["status"]["phase"] == "Pending"
    assert "podIP" not in waiting["status"]
    held = {each["type"]: each["status"] for each in waiting["status"]["conditions"]}
    assert held["PodScheduled"] == "False"


# --- on their way out ---------------------------------------------------------------------------


def test_a_pod_that_goes_is_listed_until_it_has_gone(world):
    """With the time when its grace period ends, and another one in its place at once."""
    world.hold()
    name = min(world.pods())
    answer = world.raw("DELETE", f"pods/{name}")
    assert (answer.code, answer.body["kind"]) == (200, "Pod")
    world.until(lambda: len(world.staying()) == 2)
    metadata = world.pods()[name]["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 330
    assert metadata["deletionTimestamp"] > metadata["creationTimestamp"]


def test_a_pod_that_goes_is_deleted_once_more_and_written_to(world):
    """Neither is an error."""
    world.hold()
    name = min(world.pods())
    first = world.raw("DELETE", f"pods/{name}").body["metadata"]["deletionTimestamp"]
    again = world.raw("DELETE", f"pods/{name}")
    assert (again.code, again.body["metadata"]["deletionTimestamp"]) == (200, first)
    assert world.annotate(f"pods/{name}", {"note": "x"}).code == 200


def test_those_that_go_do_not_count_for_the_next_scale(world):
    """So a shrink and a growth after it make new ones while the old ones still go."""
    world.hold()
    first = set(world.pods())
    scale(world, 0)
    world.until(lambda: not world.staying())
    scale(world, 1)
    world.until(lambda: len(world.staying()) == 1)
    assert first < set(world.pods())


@pytest.mark.parametrize("key", ["uid", "resourceVersion"])
def test_a_pod_is_deleted_as_the_one_that_was_read(world, key):
    """Another of its name is left alone, and the refusal names the kind and not the resource."""
    world.hold()
    name, pod = min(world.pods().items())
    refused = world.raw("DELETE", f"pods/{name}", {"preconditions": {key: "1"}})
    assert (refused.code, refused.reason) == (409, "Conflict")
    assert refused.body["details"] == {"name": name, "kind": "Pod"}
    assert "does not match" in refused.body["message"]
    assert world.staying() == set(world.pods())
    same = {key: pod["metadata"][key]}
    options = {"preconditions": same, "propagationPolicy": "Background"}
    assert world.raw("DELETE", f"pods/{name}", options).code == 200

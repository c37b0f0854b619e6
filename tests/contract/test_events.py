"""Events: what the API takes, and what `kubectl describe` and `kubectl get events` find."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from autoscaler.adapters.kubernetes import FIELD_MANAGER, Events, ObjectRef
from tests.contract.world import NAME
from tests.cycles import START, FakeClock

SOON = timedelta(seconds=10)


@pytest.fixture
def complaints() -> list[str]:
    """Keep what is complained of."""
    return []


@pytest.fixture
def events(empty, complaints) -> Iterator[Events]:
    """Tell the API as the daemon does."""
    events = Events(empty.client()["client"], FakeClock(), complaints.append, timeout=SOON)
    yield events
    events.close(SOON)


def about(world, **changed) -> ObjectRef:
    """Name the Deployment."""
    named = {
        "api_version": "apps/v1",
        "kind": "Deployment",
        "namespace": world.namespace,
        "name": NAME,
        "uid": "c1b2a3d4-0000-4000-8000-000000000000",
    }
    return ObjectRef(**{**named, **changed})


def body(world, **changed) -> dict:
    """Write an event by hand."""
    return {
        "metadata": {"generateName": "ollama."},
        "involvedObject": {"kind": "Deployment", "name": NAME, "namespace": world.namespace},
        "reason": "AboveTarget",
        "message": "2 to 3",
        "type": "Normal",
        **changed,
    }


def test_an_event_has_what_kubectl_shows(empty, events):
    """Who, when, why and how often are in their columns."""
    events.tell(about(empty), "AboveTarget", "llm/ollama: 2 -> 4")
    events.close(SOON)
    (event,) = empty.get("events")
    assert event["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": NAME,
        "namespace": empty.namespace,
        "uid": "c1b2a3d4-0000-4000-8000-000000000000",
    }
    assert (event["reason"], event["message"]) == ("AboveTarget", "llm/ollama: 2 -> 4")
    assert (event["type"], event["count"]) == ("Normal", 1)
    assert event["source"] == {"component": FIELD_MANAGER}
    assert event["reportingComponent"] == FIELD_MANAGER
    for key in ("firstTimestamp", "lastTimestamp"):
        assert datetime.fromisoformat(event[key]) == START
    assert event["metadata"]["name"].startswith(f"{NAME}.")
    assert empty.writes() == [("create", "events", 201)]


def test_describe_finds_it_by_its_object(empty, events):
    """With the fields that it selects by."""
    events.tell(about(empty), "AboveTarget", "told")
    events.tell(about(empty, uid="", name="other"), "AboveTarget", "of another")
    events.close(SOON)
    selected = "%2C".join(
        f"involvedObject.{key}%3D{value}"
        for key, value in {
            "kind": "Deployment",
            "name": NAME,
            "uid": "c1b2a3d4-0000-4000-8000-000000000000",
        }.items()
    )
    assert [each["message"] for each in empty.get(f"events?fieldSelector={selected}")] == ["told"]


def test_a_warning_about_a_lease_without_a_uid(empty, events):
    """Not every object has been read."""
    ref = about(empty, api_version="coordination.k8s.io/v1", kind="Lease", name="a", uid="")
    events.tell(ref, "NotLeader", "lost", warning=True)
    events.close(SOON)
    (event,) = empty.get("events")
    assert (event["type"], event["involvedObject"]["kind"]) == ("Warning", "Lease")
    assert "uid" not in event["involvedObject"]


@pytest.mark.parametrize("note", ["x" * 5000, "ü" * 5000, "\n".join("y" * 100 for _ in range(50))])
def test_a_note_of_any_length_is_taken(empty, events, complaints, note):
    """What is too long is cut, by bytes, and is one line."""
    events.tell(about(empty), "R" * 300, note)
    events.close(SOON)
    (event,) = empty.get("events")
    assert len(event["message"].encode()) <= 1024
    assert "\n" not in event["message"]
    assert event["reason"] == "R" * 128
    assert complaints == []


def test_a_number_of_them_have_names_of_their_own(empty, events):
    """Made by the API from the beginning of one."""
    for count in range(5):
        events.tell(about(empty), "AboveTarget", f"no {count}")
    events.close(SOON)
    told = empty.get("events")
    assert sorted(each["message"] for each in told) == [f"no {count}" for count in range(5)]
    assert len({each["metadata"]["name"] for each in told}) == 5


def test_a_missing_right_is_complained_of(empty, events, complaints):
    """Once, with what the API says."""
    empty.take_right("create", "events")
    for count in range(3):
        events.tell(about(empty), "AboveTarget", f"no {count}")
    events.close(SOON)
    assert len(complaints) == 1
    assert "HTTP 403: events is forbidden" in complaints[0]
    assert 'cannot create resource "events" in API group ""' in complaints[0]
    assert empty.get("events") == []


@pytest.mark.parametrize("where", ["elsewhere", None])
def test_an_event_stands_beside_its_object(empty, where):
    """In the namespace of another it is invalid, also where its object names none."""
    reference = {"kind": "Deployment", "name": NAME, **({"namespace": where} if where else {})}
    answer = empty.raw("POST", "events", body(empty, involvedObject=reference))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.causes == [("involvedObject.namespace", "FieldValueInvalid")]


def test_an_event_needs_a_name_or_the_beginning_of_one(empty):
    """As every object does."""
    answer = empty.raw("POST", "events", body(empty, metadata={}))
    assert (answer.code, answer.causes) == (422, [("metadata.name", "FieldValueRequired")])

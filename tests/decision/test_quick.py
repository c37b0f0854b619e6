"""The quick way to read JSON: never another answer than the one that tells what is wrong."""

import json
from datetime import UTC, datetime

import pytest

from autoscaler.decision.model import Observation, Sample, ScalingState
from autoscaler.decision.quick import StumbledError, plan
from autoscaler.decision.record import Record, _read, from_json, to_json
from tests.explain.edits import edited
from tests.explain.material import scenario


@pytest.mark.parametrize(
    "name",
    [
        "the_wrong_pod_goes",
        "a_stuck_replica_is_replaced_during_a_conflict",
        "at_night_the_machine_belongs_to_somebody_else",
        "pending_pods_keep_the_number_high",
    ],
)
def test_whatever_it_reads_is_what_the_careful_way_reads(name):
    """Whole records, and records with one leaf of another kind."""
    record = to_json(scenario(name)[-1])
    assert plan(Record)(record) == _read(Record, record, "")
    for other in edited(record, [None, True, 1, 1.5, "x", [], {}, "NaN", "2026-11-23T10:00:00"]):
        try:
            quick = plan(Record)(other)
        except Exception:  # noqa: BLE001 - then the careful way has its say
            continue
        assert quick == _read(Record, other, ""), json.dumps(other)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Observation, []),
        (ScalingState, {"recommendations": {}}),
        (ScalingState, {"holds": []}),
        (Observation, {"metrics": {"x": {"neither": 1}}}),
        (int, True),
        (float, float("inf")),
    ],
)
def test_it_stumbles_over_what_is_another_kind(kind, data):
    """And says nothing more."""
    with pytest.raises(StumbledError):
        plan(kind)(data)


def test_it_stumbles_over_what_is_not_known_or_not_given():
    """The careful way says which."""
    for data in ({"strange": 1}, {}):
        with pytest.raises((KeyError, TypeError)):
            plan(Sample)(data)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2026-11-23T10:00:00Z", "UTC"),
        ("2026-11-23T10:00:00+00:00", "UTC"),
        ("2026-11-23T11:00:00+01:00", "UTC+01:00"),
    ],
)
def test_times_keep_their_zone(text, zone):
    """And one that is UTC in other words is UTC."""
    at = from_json(datetime, text)
    assert (at, at.tzname()) == (datetime(2026, 11, 23, 10, tzinfo=UTC), zone)

"""The order in which a ReplicaSet gives up its pods."""

from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.sandbox.kube.victims import DELETION_COST, deletion_order

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def pod(
    name, *, node="n", phase="Running", ready=True, cost=None, ready_for=600, restarts=0, age=900
):
    """Write as much of a pod as the order looks at; times in seconds before NOW."""

    def ago(seconds):
        return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": ago(ready_for)}
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": ago(age),
            "annotations": {} if cost is None else {DELETION_COST: cost},
        },
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": phase,
            "conditions": [condition],
            "containerStatuses": [{"restartCount": restarts}],
        },
    }


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"node": "", "phase": "Pending"}, {"phase": "Pending"}, id="unassigned"),
        pytest.param({"phase": "Pending"}, {"phase": "Unknown"}, id="pending"),
        pytest.param({"phase": "Unknown"}, {"cost": "-9"}, id="unknown"),
        pytest.param({"ready": False, "cost": "9"}, {"cost": "-9"}, id="unready before its cost"),
        pytest.param({"cost": "-1"}, {}, id="lower cost"),
        pytest.param({}, {"cost": "1"}, id="no cost is zero"),
        pytest.param({"cost": "x"}, {"cost": "1"}, id="an unreadable cost is zero"),
        pytest.param({"ready_for": 10}, {"ready_for": 600}, id="ready for a shorter time"),
        pytest.param({"ready_for": 10, "age": 9000}, {"restarts": 5}, id="readiness over restarts"),
        pytest.param({"restarts": 2}, {"restarts": 1}, id="more restarts"),
        pytest.param({"age": 10}, {"age": 900}, id="newer"),
        pytest.param({"cost": "-1", "ready_for": 9000}, {"ready_for": 10}, id="cost over age"),
    ],
)
def test_the_more_dispensable_pod_goes_first(first, second):
    """Each criterion decides where those before it do not, whatever the names."""
    for names in (("a", "b"), ("b", "a")):
        pods = [pod(names[0], **first), pod(names[1], **second)]
        for given in (pods, pods[::-1]):
            assert [held["metadata"]["name"] for held in deletion_order(given, NOW)] == [*names]


def test_about_the_same_age_does_not_decide():
    """Ages are compared by their magnitude, then by uid, as the real controller does."""
    pods = [pod("b", ready_for=600), pod("a", ready_for=700)]
    assert [held["metadata"]["name"] for held in deletion_order(pods, NOW)] == ["a", "b"]

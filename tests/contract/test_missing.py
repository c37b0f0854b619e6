"""What is not there: an object, a resource, a group; each has a 404 of its own shape."""

import pytest

from tests.contract.world import JSON, MERGE

COUNT = [{"op": "replace", "path": "/spec/replicas", "value": 1}]


@pytest.mark.parametrize(
    ("method", "path", "body", "details"),
    [
        ("GET", "deployments/none", None, ("none", "apps", "deployments")),
        ("GET", "deployments/none/scale", None, ("none", "apps", "deployments")),
        ("PATCH", "deployments/none/scale", COUNT, ("none", "apps", "deployments")),
        ("PATCH", "pods/none", {"metadata": {}}, ("none", "", "pods")),
        ("DELETE", "pods/none", None, ("none", "", "pods")),
        ("GET", "leases/none", None, ("none", "coordination.k8s.io", "leases")),
    ],
)
def test_a_missing_object_is_named(still, method, path, body, details):
    """Its resource stands where its kind should, and a core group is left out."""
    answer = still.raw(method, path, body, JSON if body == COUNT else MERGE)
    assert (answer.code, answer.reason) == (404, "NotFound")
    name, group, plural = details
    named = {"name": name, "group": group, "kind": plural}
    assert answer.body["details"] == {key: value for key, value in named.items() if value}
    resource = f"{plural}.{group}" if group else plural
    assert answer.body["message"] == f'{resource} "none" not found'


@pytest.mark.parametrize(
    "path",
    [
        "/apis/apps/v1/namespaces/llm/nothings",
        "/apis/apps/v9/namespaces/llm/deployments",
        "/api/v1/namespaces/llm/nothings",
        "/apis/apps/v1/namespaces/llm/deployments/ollama/nothing",
    ],
)
def test_a_missing_resource_of_a_group_is_a_status(still, path):
    """It names nothing."""
    answer = still.raw("GET", path)
    assert (answer.code, answer.reason, answer.body["details"]) == (404, "NotFound", {})
    assert answer.body["message"] == "the server could not find the requested resource"


@pytest.mark.parametrize(
    "path", ["/apis/keda.sh/v1alpha1/namespaces/llm/scaledobjects", "/apis/none.io/v1", "/nothing"]
)
def test_a_missing_group_is_a_line_of_text(still, path):
    """No JSON at all."""
    answer = still.raw("GET", path)
    assert (answer.code, answer.kind, answer.body) == (
        404,
        "text/plain",
        "404 page not found\n",
    )

"""The emulated API as the unmodified official client meets it.

Every test talks to `api` alone, so the same expectations can be held against a real API server.
"""

import json
from collections.abc import Iterator

import pytest
from kubernetes import client as k
from kubernetes import config, watch
from kubernetes.client.exceptions import ApiException

from autoscaler.sandbox.kube.resources import SCALED_OBJECTS
from tests.sandbox.kube_cluster import ClusterThread

NS = "llm"
SCALE_TEST = {"op": "test", "path": "/spec/replicas"}


@pytest.fixture
def kube(tmp_path) -> Iterator[ClusterThread]:
    """Run a cluster with the Deployment `ollama` of two ready pods."""
    thread = ClusterThread(tmp_path)
    thread.deploy()
    yield thread
    thread.close()


@pytest.fixture
def api(kube) -> k.ApiClient:
    """Connect by the kubeconfig that the cluster wrote."""
    return config.new_client_from_config(str(kube.cluster.kubeconfig_path))


def status_of(refusal) -> dict:
    """Read the Status object of a refusal."""
    return json.loads(refusal.value.body)


def patch_scale(api, patch, **options):
    """Patch the Deployment's scale."""
    return k.AppsV1Api(api).patch_namespaced_deployment_scale("ollama", NS, patch, **options)


def replicas(api) -> int:
    """Read the replica count asked for."""
    return k.AppsV1Api(api).read_namespaced_deployment("ollama", NS).spec.replicas


# --- reading ------------------------------------------------------------------------------------


def test_a_deployment_is_read_with_its_status(api):
    """A Deployment carries the counts and the generation that its controller saw."""
    found = k.AppsV1Api(api).read_namespaced_deployment("ollama", NS)
    assert (found.spec.replicas, found.status.replicas, found.status.ready_replicas) == (2, 2, 2)
    assert found.status.observed_generation == found.metadata.generation == 1


def test_deployments_are_listed(api):
    """A list has the kind, a version and the items."""
    found = k.AppsV1Api(api).list_namespaced_deployment(NS)
    assert [item.metadata.name for item in found.items] == ["ollama"]
    assert int(found.metadata.resource_version) > 0
    assert len(k.AppsV1Api(api).list_deployment_for_all_namespaces().items) == 1


def test_pods_belong_to_the_deployment_through_its_replica_set(api):
    """Names, owners and the hash label are as a real Deployment's."""
    (owner,) = k.AppsV1Api(api).list_namespaced_replica_set(NS).items
    pods = k.CoreV1Api(api).list_namespaced_pod(NS).items
    assert owner.metadata.owner_references[0].name == "ollama"
    for pod in pods:
        assert pod.metadata.name.startswith(f"{owner.metadata.name}-")
        assert pod.metadata.owner_references[0].uid == owner.metadata.uid
        assert owner.metadata.name == f"ollama-{pod.metadata.labels['pod-template-hash']}"
    assert len(pods) == owner.status.ready_replicas == 2


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ("app=ollama", 2),
        ("app==ollama,pod-template-hash", 2),
        ("app!=ollama", 0),
        ("app in (a, ollama)", 2),
        ("app notin (ollama)", 0),
        ("!app", 0),
        ("!other,app", 2),
    ],
)
def test_pods_are_selected_by_labels(api, selector, count):
    """Every form of a label selector is understood."""
    found = k.CoreV1Api(api).list_namespaced_pod(NS, label_selector=selector)
    assert len(found.items) == count


def test_pods_are_selected_by_fields(api):
    """Dotted paths can be compared."""
    read = k.CoreV1Api(api).list_namespaced_pod
    name = read(NS).items[0].metadata.name
    assert len(read(NS, field_selector="status.phase=Running").items) == 2
    assert len(read(NS, field_selector=f"metadata.name!={name}").items) == 1


def test_one_pod_is_read(api):
    """A pod shows its address, its node and that it is ready."""
    name = k.CoreV1Api(api).list_namespaced_pod(NS).items[0].metadata.name
    pod = k.CoreV1Api(api).read_namespaced_pod(name, NS)
    assert pod.status.phase == "Running"
    assert pod.status.pod_ip.startswith("127.")
    assert {"Ready", "PodScheduled"} <= {held.type for held in pod.status.conditions}
    assert pod.spec.containers[0].resources.limits == {"cpu": "2"}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda api: k.AppsV1Api(api).read_namespaced_deployment("none", NS),
            'deployments.apps "none" not found',
        ),
        (
            lambda api: k.CoreV1Api(api).read_namespaced_pod("none", NS),
            'pods "none" not found',
        ),
        (
            lambda api: k.CustomObjectsApi(api).list_namespaced_custom_object(
                "apps", "v1", NS, "scaledobjects"
            ),
            "the server could not find the requested resource",
        ),
    ],
)
def test_what_is_absent_is_not_found(api, read, message):
    """A missing object and a missing resource are 404 with a Status."""
    with pytest.raises(ApiException) as refusal:
        read(api)
    status = status_of(refusal)
    assert (refusal.value.status, status["reason"], status["message"]) == (404, "NotFound", message)


# --- scale --------------------------------------------------------------------------------------


def test_scale_is_read(api):
    """The scale has the count asked for, the count there is, and the pods' selector."""
    scale = k.AppsV1Api(api).read_namespaced_deployment_scale("ollama", NS)
    assert (scale.spec.replicas, scale.status.replicas) == (2, 2)
    assert scale.status.selector == "app=ollama"


def test_a_json_patch_whose_test_holds_scales(api):
    """The count changes, with its generation and its owner."""
    patch = [{**SCALE_TEST, "value": 2}, {**SCALE_TEST, "op": "replace", "value": 3}]
    scale = patch_scale(api, patch, field_manager="tester")
    found = k.AppsV1Api(api).read_namespaced_deployment("ollama", NS)
    (owner,) = found.metadata.managed_fields
    assert scale.spec.replicas == found.spec.replicas == 3
    assert found.metadata.generation == 2
    assert (owner.manager, owner.operation, owner.subresource) == ("tester", "Update", "scale")
    assert owner.fields_v1 == {"f:spec": {"f:replicas": {}}}


def test_a_json_patch_whose_test_fails_changes_nothing(api):
    """It is answered 422 Invalid, without causes and without a word about the test."""
    patch = [{**SCALE_TEST, "value": 5}, {**SCALE_TEST, "op": "replace", "value": 6}]
    with pytest.raises(ApiException) as refusal:
        patch_scale(api, patch)
    status = status_of(refusal)
    assert (refusal.value.status, status["reason"], status["details"]) == (422, "Invalid", {})
    assert status["message"] == "the server rejected our request due to an error in our request"
    assert replicas(api) == 2


def test_a_scale_of_zero_has_no_count(api):
    """It is left out: `test` with 0 fails, `test` with null holds, and `add` sets it."""
    patch_scale(api, [{**SCALE_TEST, "op": "replace", "value": 0}])
    assert k.AppsV1Api(api).read_namespaced_deployment_scale("ollama", NS).spec.replicas is None
    assert replicas(api) == 0
    with pytest.raises(ApiException):
        patch_scale(api, [{**SCALE_TEST, "value": 0}, {**SCALE_TEST, "op": "replace", "value": 1}])
    patch_scale(api, [{**SCALE_TEST, "value": None}, {**SCALE_TEST, "op": "add", "value": 1}])
    assert replicas(api) == 1


def test_a_merge_patch_scales(api):
    """The plain form works as well, and its writer is told by the user agent."""
    patch_scale(api, {"spec": {"replicas": 4}}, _content_type="application/merge-patch+json")
    (owner,) = k.AppsV1Api(api).read_namespaced_deployment("ollama", NS).metadata.managed_fields
    assert replicas(api) == 4
    assert owner.manager == "OpenAPI-Generator"


def test_a_put_of_the_scale_needs_its_version(api):
    """What was read before another write is refused with 409."""
    apps = k.AppsV1Api(api)
    scale = apps.read_namespaced_deployment_scale("ollama", NS)
    scale.spec.replicas = 3
    apps.replace_namespaced_deployment_scale("ollama", NS, scale)
    with pytest.raises(ApiException) as refusal:
        apps.replace_namespaced_deployment_scale("ollama", NS, scale)
    assert (refusal.value.status, status_of(refusal)["reason"]) == (409, "Conflict")


def test_a_negative_scale_is_invalid(api):
    """It is 422 Invalid too, and names the field."""
    with pytest.raises(ApiException) as refusal:
        patch_scale(api, [{**SCALE_TEST, "op": "replace", "value": -1}])
    status = status_of(refusal)
    assert (refusal.value.status, status["reason"]) == (422, "Invalid")
    assert status["details"]["causes"][0]["field"] == "spec.replicas"


def test_a_dry_run_changes_nothing(api):
    """The answer shows what would be."""
    answer = patch_scale(api, [{**SCALE_TEST, "op": "replace", "value": 5}], dry_run="All")
    assert (answer.spec.replicas, replicas(api)) == (5, 2)


def test_a_denied_verb_is_forbidden(api, kube):
    """It is 403 with the words of a real refusal, and the review says so beforehand."""
    kube.cluster.deny("patch", "deployments", "scale")
    with pytest.raises(ApiException) as refusal:
        patch_scale(api, [{**SCALE_TEST, "op": "replace", "value": 3}])
    assert (refusal.value.status, status_of(refusal)["reason"]) == (403, "Forbidden")
    told = status_of(refusal)["message"]
    assert 'cannot patch resource "deployments/scale" in API group "apps"' in told
    assert not may(api, "patch", "scale")
    assert may(api, "get", "scale")


def may(api, verb, subresource) -> bool:
    """Ask for a review of a right to Deployments."""
    attributes = k.V1ResourceAttributes(
        namespace=NS, verb=verb, group="apps", resource="deployments", subresource=subresource
    )
    spec = k.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    review = k.V1SelfSubjectAccessReview(spec=spec)
    return k.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed


# --- other writes -------------------------------------------------------------------------------


def test_a_deployment_is_annotated(api):
    """A patch of the Deployment itself; its annotations are of its generation too."""
    body = {"metadata": {"annotations": {"autoscaler/paused": "true"}}}
    found = k.AppsV1Api(api).patch_namespaced_deployment("ollama", NS, body)
    assert found.metadata.annotations["autoscaler/paused"] == "true"
    assert found.metadata.generation == 2


@pytest.mark.parametrize(
    "content_type",
    ["application/merge-patch+json", "application/strategic-merge-patch+json"],
)
def test_a_pod_is_annotated_and_the_annotation_taken_back(api, content_type):
    """A map is merged, and null removes a key."""
    core = k.CoreV1Api(api)
    name = core.list_namespaced_pod(NS).items[0].metadata.name
    for value in ("-5", None):
        body = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": value}}}
        pod = core.patch_namespaced_pod(name, NS, body, _content_type=content_type)
        held = (pod.metadata.annotations or {}).get("controller.kubernetes.io/pod-deletion-cost")
        assert held == value


def test_a_strategic_patch_merges_containers_by_name(api):
    """Only the named container changes."""
    limits = {"name": "ollama", "resources": {"limits": {"cpu": "3"}}}
    body = {"spec": {"template": {"spec": {"containers": [limits]}}}}
    found = k.AppsV1Api(api).patch_namespaced_deployment("ollama", NS, body)
    (container,) = found.spec.template.spec.containers
    assert (container.resources.limits["cpu"], container.image) == ("3", "sandbox/replica")


def test_a_deleted_pod_is_replaced(api, kube):
    """Its object goes after the grace period, and another takes its place."""
    core = k.CoreV1Api(api)
    name = core.list_namespaced_pod(NS).items[0].metadata.name
    gone = core.delete_namespaced_pod(name, NS)
    assert gone.metadata.deletion_timestamp is not None
    kube.wait(kube.cluster.wait_ready(NS, "ollama", 2, 10))
    assert name not in {pod.name for pod in kube.cluster.pods(NS, "ollama") if pod.serves}


@pytest.mark.parametrize("cost", ["much", "+5", "007", "", "2147483648", "1.5"])
def test_a_cost_of_deletion_is_a_number(api, cost):
    """As a real server insists."""
    core = k.CoreV1Api(api)
    name = core.list_namespaced_pod(NS).items[0].metadata.name
    body = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}}}
    with pytest.raises(ApiException) as refusal:
        core.patch_namespaced_pod(name, NS, body)
    assert refusal.value.status == 422
    assert "must be a 32bit integer" in status_of(refusal)["message"]


@pytest.mark.parametrize("key", ["uid", "resource_version"])
def test_a_pod_is_deleted_if_it_is_the_one_that_is_meant(api, key):
    """By its uid or its version; otherwise it is 409, and nothing happens."""
    core = k.CoreV1Api(api)
    pod = core.list_namespaced_pod(NS).items[0].metadata

    def delete(value):
        same = k.V1Preconditions(**{key: value})
        return core.delete_namespaced_pod(
            pod.name,
            NS,
            body=k.V1DeleteOptions(preconditions=same, propagation_policy="Foreground"),
        )

    with pytest.raises(ApiException) as refusal:
        delete("other")
    assert (refusal.value.status, status_of(refusal)["reason"]) == (409, "Conflict")
    told = f'Operation cannot be fulfilled on Pod "{pod.name}": '
    assert status_of(refusal)["message"].startswith(told)
    assert "in the precondition (other) does not match" in status_of(refusal)["message"]
    assert core.read_namespaced_pod(pod.name, NS).metadata.deletion_timestamp is None
    assert delete(getattr(pod, key)).metadata.deletion_timestamp is not None


def test_events_are_created_and_listed(api):
    """A generated name is filled in."""
    about = k.V1ObjectReference(kind="Deployment", name="ollama", namespace=NS)
    body = k.CoreV1Event(
        metadata=k.V1ObjectMeta(generate_name="ollama."),
        involved_object=about,
        reason="AboveTarget",
        message="2 to 3",
        type="Normal",
    )
    k.CoreV1Api(api).create_namespaced_event(NS, body)
    listed = k.CoreV1Api(api).list_namespaced_event(NS, field_selector="involvedObject.name=ollama")
    assert [event.reason for event in listed.items] == ["AboveTarget"]
    assert listed.items[0].metadata.name.startswith("ollama.")


def test_an_event_is_counted_by_a_patch(api):
    """As the client of Kubernetes' own controllers does it."""
    core = k.CoreV1Api(api)
    about = k.V1ObjectReference(kind="Deployment", name="ollama", namespace=NS)
    body = k.CoreV1Event(metadata=k.V1ObjectMeta(name="one"), involved_object=about, count=1)
    core.create_namespaced_event(NS, body)
    core.patch_namespaced_event("one", NS, {"count": 2})
    assert core.read_namespaced_event("one", NS).count == 2


@pytest.mark.parametrize("namespace", ["other", None])
def test_an_event_stands_beside_its_object(api, namespace):
    """In any other namespace it is refused."""
    about = k.V1ObjectReference(kind="Deployment", name="ollama", namespace=namespace)
    body = k.CoreV1Event(metadata=k.V1ObjectMeta(name="one"), involved_object=about)
    with pytest.raises(ApiException) as refusal:
        k.CoreV1Api(api).create_namespaced_event(NS, body)
    assert refusal.value.status == 422
    assert status_of(refusal)["details"]["causes"][0]["field"] == "involvedObject.namespace"


def test_a_lease_is_not_replaced_blindly(api):
    """Whoever replaces it says which one it has read."""
    leases = k.CoordinationV1Api(api)
    body = k.V1Lease(metadata=k.V1ObjectMeta(name="autoscaler"), spec=k.V1LeaseSpec())
    leases.create_namespaced_lease(NS, body)
    with pytest.raises(ApiException) as refusal:
        leases.replace_namespaced_lease("autoscaler", NS, body)
    assert refusal.value.status == 422
    assert "must be specified for an update" in status_of(refusal)["message"]


@pytest.mark.parametrize(
    ("spec", "code", "told"),
    [
        ({"leaseDurationSeconds": 0}, 422, "Invalid value: 0: must be greater than 0"),
        ({"leaseTransitions": -1}, 422, "Invalid value: -1: must be greater than or equal to 0"),
        ({"renewTime": "2026-11-23T10:00:00Z"}, 400, "cannot be handled as a Lease"),
        ({"acquireTime": "2026-11-23T10:00:00Z"}, 400, "cannot be handled as a Lease"),
    ],
)
def test_a_lease_has_numbers_and_times_of_its_own_kind(api, spec, code, told):
    """A time without six digits is none, whoever writes it."""
    with pytest.raises(ApiException) as refusal:
        k.CoordinationV1Api(api).create_namespaced_lease(
            NS, {"metadata": {"name": "autoscaler"}, "spec": spec}
        )
    assert refusal.value.status == code
    assert told in status_of(refusal)["message"]


def test_a_lease_that_is_gone_is_not_replaced_by_who_has_read_it(api):
    """Only a body that names no object of before is taken for a new one."""
    leases = k.CoordinationV1Api(api)
    body = k.V1Lease(metadata=k.V1ObjectMeta(name="autoscaler"), spec=k.V1LeaseSpec())
    made = leases.replace_namespaced_lease("autoscaler", NS, body)
    leases.delete_namespaced_lease("autoscaler", NS)
    with pytest.raises(ApiException) as refusal:
        leases.replace_namespaced_lease("autoscaler", NS, made)
    assert (refusal.value.status, status_of(refusal)["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID" in status_of(refusal)["message"]


def test_an_object_keeps_its_name(api):
    """A body with the name of another is refused, and a new object needs one."""
    leases = k.CoordinationV1Api(api)
    with pytest.raises(ApiException) as refusal:
        patch_scale(api, {"metadata": {"name": "other"}, "spec": {"replicas": 3}})
    assert refusal.value.status == 400
    assert "does not match the name on the URL" in status_of(refusal)["message"]
    with pytest.raises(ApiException) as refusal:
        leases.create_namespaced_lease(NS, {"metadata": {}, "spec": {}})
    assert refusal.value.status == 422
    assert "name or generateName is required" in status_of(refusal)["message"]


def test_a_lease_is_held_by_one(api):
    """A second creation and an update of an old version are refused with 409."""
    leases = k.CoordinationV1Api(api)
    body = k.V1Lease(
        metadata=k.V1ObjectMeta(name="autoscaler"), spec=k.V1LeaseSpec(holder_identity="one")
    )
    lease = leases.create_namespaced_lease(NS, body)
    with pytest.raises(ApiException) as twice:
        leases.create_namespaced_lease(NS, body)
    lease.spec.holder_identity = "two"
    leases.replace_namespaced_lease("autoscaler", NS, lease)
    with pytest.raises(ApiException) as late:
        leases.replace_namespaced_lease("autoscaler", NS, lease)
    assert (twice.value.status, status_of(twice)["reason"]) == (409, "AlreadyExists")
    assert (late.value.status, status_of(late)["reason"]) == (409, "Conflict")
    assert leases.read_namespaced_lease("autoscaler", NS).spec.holder_identity == "two"


def test_autoscalers_are_created_and_listed(api):
    """An HPA can be put beside the Deployment."""
    aim = k.V2CrossVersionObjectReference(kind="Deployment", name="ollama", api_version="apps/v1")
    body = k.V2HorizontalPodAutoscaler(
        metadata=k.V1ObjectMeta(name="hpa"),
        spec=k.V2HorizontalPodAutoscalerSpec(max_replicas=5, scale_target_ref=aim),
    )
    hpas = k.AutoscalingV2Api(api)
    hpas.create_namespaced_horizontal_pod_autoscaler(NS, body)
    (found,) = hpas.list_namespaced_horizontal_pod_autoscaler(NS).items
    assert found.spec.max_replicas == 5


def test_a_custom_resource_can_be_added(api, kube):
    """What a cluster may or may not have is served once it is asked for."""
    kube.cluster.serve(SCALED_OBJECTS)
    custom = k.CustomObjectsApi(api)
    listed = custom.list_namespaced_custom_object("keda.sh", "v1alpha1", NS, "scaledobjects")
    assert listed["items"] == []


def test_what_is_not_offered_is_refused(api):
    """A method that a resource lacks is 405."""
    with pytest.raises(ApiException) as refusal:
        k.AppsV1Api(api).delete_namespaced_deployment("ollama", NS)
    assert refusal.value.status == 405


def test_an_unreadable_patch_is_a_bad_request(api):
    """A patch of the wrong shape is 400, an operation that is none does not apply."""
    with pytest.raises(ApiException) as refusal:
        patch_scale(api, [{"spec": {}}], _content_type="application/merge-patch+json")
    assert refusal.value.status == 400
    for operation in ({"path": "/spec/replicas"}, {"op": "set", "path": "/spec/replicas"}):
        with pytest.raises(ApiException) as refusal:
            patch_scale(api, [operation])
        assert (refusal.value.status, status_of(refusal)["details"]) == (422, {})


# --- watching -----------------------------------------------------------------------------------


def test_a_watch_tells_of_every_change_since_a_version(api):
    """From a list's version on, nothing is missed and nothing told twice."""
    core = k.CoreV1Api(api)
    listed = core.list_namespaced_pod(NS)
    name = listed.items[0].metadata.name
    for value in ("1", "2"):
        core.patch_namespaced_pod(name, NS, {"metadata": {"annotations": {"cost": value}}})
    stream = watch.Watch().stream(
        core.list_namespaced_pod,
        NS,
        resource_version=listed.metadata.resource_version,
        timeout_seconds=1,
    )
    seen = [(event["type"], event["object"].metadata.annotations["cost"]) for event in stream]
    assert seen == [("MODIFIED", "1"), ("MODIFIED", "2")]


def test_a_watch_without_a_version_begins_with_what_there_is(api):
    """Every pod is told as added."""
    stream = watch.Watch().stream(
        k.CoreV1Api(api).list_namespaced_pod, NS, label_selector="app=ollama", timeout_seconds=1
    )
    assert [event["type"] for event in stream] == ["ADDED", "ADDED"]


# --- what the sandbox sees ----------------------------------------------------------------------


def test_every_write_is_audited(api, kube):
    """Who, what and with which result, refused ones included."""
    patch = [{**SCALE_TEST, "value": 7}]
    with pytest.raises(ApiException):
        patch_scale(api, patch, field_manager="tester")
    replicas(api)
    (entry,) = kube.cluster.audit
    assert (entry.who, entry.verb, entry.code, entry.body) == ("tester", "patch", 422, patch)
    assert entry.path == f"/apis/apps/v1/namespaces/{NS}/deployments/ollama/scale"


def test_the_audit_tells_whose_token_it_was(kube):
    """Two that write under one name are told apart by it; here a token is a name."""
    for user in ("daemon-a", "daemon-b"):
        one = config.new_client_from_config(str(kube.cluster.kubeconfig_path))
        one.configuration.api_key["BearerToken"] = f"Bearer {user}"
        patch_scale(one, {"spec": {"replicas": 3}}, field_manager="tester")
    assert [(entry.who, entry.user) for entry in kube.cluster.audit] == [
        ("tester", "daemon-a"),
        ("tester", "daemon-b"),
    ]


def test_every_access_is_noted_in_the_words_of_a_role(api, kube):
    """Reads too, and what is not served or refused: each needs a right in a real cluster."""
    kube.cluster.accesses.clear()
    replicas(api)
    patch_scale(api, {"spec": {"replicas": 3}})
    k.CoreV1Api(api).list_pod_for_all_namespaces()
    may(api, "get", "scale")
    with pytest.raises(ApiException):
        k.CustomObjectsApi(api).list_namespaced_custom_object("keda.sh", "v1alpha1", NS, "jobs")
    k.VersionApi(api).get_code()
    assert {
        (held.verb, held.group, held.resource, held.namespace, held.name)
        for held in kube.cluster.accesses
    } == {
        ("get", "apps", "deployments", NS, "ollama"),
        ("patch", "apps", "deployments/scale", NS, "ollama"),
        ("list", "", "pods", "", ""),
        ("create", "authorization.k8s.io", "selfsubjectaccessreviews", "", ""),
        ("list", "keda.sh", "jobs", NS, ""),
    }


def test_discovery_names_what_is_served(api):
    """Dynamic clients find resources, scale included."""
    resources = k.AppsV1Api(api).get_api_resources().resources
    names = {resource.name for resource in resources}
    assert names == {"deployments", "deployments/scale", "replicasets"}
    assert k.VersionApi(api).get_code().major == "1"

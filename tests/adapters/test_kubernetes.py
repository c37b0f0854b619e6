"""The Kubernetes adapter against the emulated API, and against servers that misbehave."""

import inspect
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import certifi
import pytest
import urllib3.exceptions
from kubernetes import client as k
from kubernetes.client import exceptions as client_exceptions
from kubernetes.config import config_exception, incluster_config

from autoscaler.adapters.kubernetes import (
    RIGHTS,
    KubernetesChecks,
    KubernetesTarget,
    OtherScaler,
    Right,
    load_client,
)
from autoscaler.decision.words import PodPhase
from autoscaler.errors import (
    ConfigError,
    ConflictError,
    ForbiddenError,
    TargetReadError,
    TargetWriteError,
)
from autoscaler.sandbox.kube.resources import AUTOSCALERS, PODS, SCALED_OBJECTS
from tests.sandbox.kube_cluster import ClusterThread

NS = "llm"
NAME = "ollama"


@pytest.fixture
def kube(tmp_path) -> Iterator[ClusterThread]:
    """Run a cluster with the Deployment `ollama` of two ready pods."""
    thread = ClusterThread(tmp_path)
    thread.deploy()
    yield thread
    thread.close()


@pytest.fixture
def client(kube) -> k.ApiClient:
    """Connect as the daemon does."""
    return load_client(str(kube.cluster.kubeconfig_path))


@pytest.fixture
def target(client) -> KubernetesTarget:
    """Look at the Deployment as the loop does."""
    return KubernetesTarget(namespace=NS, deployment=NAME, client=client)


@pytest.fixture
def checks(client) -> KubernetesChecks:
    """Look at the Deployment as `check` does."""
    return KubernetesChecks(namespace=NS, deployment=NAME, client=client)


def edit_pod(kube, name, edit):
    """Change a pod behind everybody's back."""
    kube.call(lambda: kube.cluster.store.change(PODS, (NS, name), edit))


# --- reading ------------------------------------------------------------------------------------


def test_replicas_and_pods_are_read(kube, target):
    """Current replicas, ready replicas and every pod with its state."""
    state = target.read()
    assert (state.current, state.ready) == (2, 2)
    assert {pod.name for pod in state.pods} == {pod.name for pod in kube.cluster.pods(NS, NAME)}
    for pod in state.pods:
        assert (pod.phase, pod.ready, pod.deleting) == (PodPhase.RUNNING, True, False)
        assert abs(datetime.now(UTC) - pod.created) < timedelta(minutes=1)


def test_a_pod_that_is_being_deleted_is_not_ready_any_more(kube, target):
    """It is told, as ready as it still is, and does not count."""
    kube.runtime.started[0].drained.clear()
    name = kube.runtime.started[0].pod.name
    k.CoreV1Api(target._client).delete_namespaced_pod(name, NS)
    state = target.read()
    (going,) = [pod for pod in state.pods if pod.name == name]
    assert (going.ready, going.deleting) == (True, True)
    assert state.ready == sum(pod.ready for pod in state.pods if not pod.deleting)


def test_pending_and_unready_pods_are_told_apart(kube, target):
    """A phase that nobody knows is Unknown, and a pod without conditions is not ready."""
    first, second = (pod.name for pod in kube.cluster.pods(NS, NAME))
    edit_pod(kube, first, lambda pod: pod["status"].update(phase="Odd"))
    kube.runtime.of(second)[0].ready = False
    deadline = time.monotonic() + 10
    while target.read().ready != 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    phases = {pod.name: (pod.phase, pod.ready) for pod in target.read().pods}
    assert phases == {first: (PodPhase.UNKNOWN, True), second: (PodPhase.RUNNING, False)}


def test_only_own_pods_count(kube, target):
    """Pods of a Deployment whose name begins alike, of no owner, or of a Job are not ours."""
    pods = [pod.name for pod in kube.cluster.pods(NS, NAME)]
    kube.deploy("ollama-big", 1)
    (foreign,) = [pod.name for pod in kube.cluster.pods(NS, "ollama-big")]
    edit_pod(kube, foreign, lambda pod: pod["metadata"]["labels"].update(app=NAME))
    for name, owners in (("bare", []), ("job", [{"kind": "Job"}])):
        references = [{"apiVersion": "v1", "name": NAME, "uid": "u", **owner} for owner in owners]
        pod = {
            "metadata": {"name": name, "labels": {"app": NAME}, "ownerReferences": references},
            "spec": {
                "containers": [{"name": "x", "image": "x"}],
                "terminationGracePeriodSeconds": 1,
            },
            "status": {"phase": "Running"},
        }
        kube.call(lambda pod=pod: kube.cluster.store.create(PODS, NS, pod))
    assert sorted(pod.name for pod in target.read().pods) == sorted(pods)


def test_a_read_costs_two_requests(kube, target, monkeypatch):
    """One for the Deployment and one for its pods."""
    asked = []
    request = target._client.rest_client.request

    def count(method, url, **options):
        asked.append((method, url.removeprefix(kube.cluster.url)))
        return request(method, url, **options)

    monkeypatch.setattr(target._client.rest_client, "request", count)
    target.read()
    assert asked == [
        ("GET", "/apis/apps/v1/namespaces/llm/deployments/ollama"),
        ("GET", "/api/v1/namespaces/llm/pods?labelSelector=app%3Dollama"),
    ]


def test_expressions_of_a_selector_are_passed_on(kube, target):
    """A Deployment may select by more than equality."""
    expressions = [
        {"key": "app", "operator": "In", "values": [NAME, "x"]},
        {"key": "app", "operator": "NotIn", "values": ["y"]},
        {"key": "pod-template-hash", "operator": "Exists"},
        {"key": "other", "operator": "DoesNotExist"},
    ]
    body = {"spec": {"selector": {"matchExpressions": expressions}}}
    k.AppsV1Api(target._client).patch_namespaced_deployment(NAME, NS, body)
    assert target.read().ready == 2


def test_a_missing_deployment_cannot_be_read(client):
    """The message says what was asked and what the API answered."""
    target = KubernetesTarget(namespace=NS, deployment="none", client=client)
    with pytest.raises(TargetReadError) as error:
        target.read()
    assert str(error.value) == (
        'llm/none: cannot get deployments.apps: HTTP 404: deployments.apps "none" not found'
    )


@pytest.mark.parametrize("right", [("get", "deployments"), ("list", "pods")])
def test_a_denied_read_names_the_right(kube, target, right):
    """A 403 is no different in kind, and says which right is missing."""
    kube.cluster.deny(*right)
    with pytest.raises(TargetReadError, match=f"cannot {right[0]} {right[1]}.*HTTP 403"):
        target.read()


# --- writing ------------------------------------------------------------------------------------


def test_replicas_are_scaled_under_our_name(kube, target):
    """The write is one JSON patch of the scale, with the observed count as its test."""
    target.scale(2, 3)
    (entry,) = kube.cluster.audit
    assert kube.cluster.replicas(NS, NAME) == 3
    assert entry.who == "ollama-autoscaler"
    assert entry.path.endswith("/deployments/ollama/scale")
    assert entry.body == [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
    ]


def test_replicas_go_to_zero_and_come_back(kube, target):
    """A scale of zero has no count at all, which is tested for as well."""
    target.scale(2, 0)
    with pytest.raises(ConflictError):
        target.scale(2, 3)
    target.scale(0, 2)
    with pytest.raises(ConflictError):
        target.scale(0, 5)
    assert kube.cluster.replicas(NS, NAME) == 2


def test_another_writers_change_is_a_conflict(kube, target):
    """Nothing is written where the count is not what was observed."""
    kube.call(lambda: kube.cluster.scale(NS, NAME, 4))
    with pytest.raises(ConflictError, match="llm/ollama: cannot scale from 2 to 3: HTTP 422"):
        target.scale(2, 3)
    assert kube.cluster.replicas(NS, NAME) == 4


def test_an_impossible_count_is_no_conflict(target):
    """A refusal that names its field is a failed write."""
    with pytest.raises(TargetWriteError, match="must be greater than or equal to 0"):
        target.scale(2, -1)


def test_a_denied_write_is_forbidden(kube, target):
    """A 403 has a class of its own."""
    kube.cluster.deny("patch", "deployments", "scale")
    with pytest.raises(ForbiddenError, match="HTTP 403"):
        target.scale(2, 3)


def test_a_missing_deployment_cannot_be_scaled(client):
    """A 404 is a failed write."""
    with pytest.raises(TargetWriteError, match="HTTP 404"):
        KubernetesTarget(namespace=NS, deployment="none", client=client).scale(1, 2)


# --- servers that misbehave ---------------------------------------------------------------------


@contextmanager
def answering(code, body, content_type="application/json") -> Iterator[k.ApiClient]:
    """Serve one and the same answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PATCH = do_POST = answer  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield client_for(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client_for(port) -> k.ApiClient:
    """Connect to a port without a kubeconfig."""
    configuration = k.Configuration(host=f"http://127.0.0.1:{port}", retries=False)
    return k.ApiClient(configuration)


def target_of(client, timeout=2.0) -> KubernetesTarget:
    """Make a target with a short timeout."""
    limit = timedelta(seconds=timeout)
    return KubernetesTarget(namespace=NS, deployment=NAME, client=client, timeout=limit)


STATUS = {"kind": "Status", "message": "etcdserver: request timed out"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, TargetWriteError),
        (401, TargetWriteError),
        (403, ForbiddenError),
        (404, TargetWriteError),
        (409, ConflictError),
        (422, ConflictError),
        (429, TargetWriteError),
        (500, TargetWriteError),
        (503, TargetWriteError),
        (302, TargetWriteError),
    ],
)
def test_each_refusal_has_its_class(code, kind):
    """Writes tell conflicts and denials apart, reads do not; the server's words are told."""
    with answering(code, json.dumps(STATUS).encode()) as client:
        with pytest.raises(kind, match=f"HTTP {code}: etcdserver: request timed out") as error:
            target_of(client).scale(2, 3)
        assert type(error.value) is kind
        with pytest.raises(TargetReadError, match=f"HTTP {code}"):
            target_of(client).read()


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{", b"[]", b"{}", b'"text"', b'{"spec": null}', b"\xff\xfe", b'{"spec": 7}'],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
def test_an_answer_of_the_wrong_shape_is_refused(body, content_type):
    """Whatever comes with a 200, a read is a read or a TargetReadError."""
    with answering(200, body, content_type) as client, pytest.raises(TargetReadError) as error:
        target_of(client).read()
    assert "\n" not in str(error.value)


def test_a_refusal_that_is_no_status_is_told_by_its_reason():
    """A proxy's error page ends in one line as well."""
    with (
        answering(502, b"<html>\nbad\n</html>", "text/html") as client,
        pytest.raises(TargetWriteError) as error,
    ):
        target_of(client).scale(2, 3)
    assert str(error.value) == "llm/ollama: cannot scale from 2 to 3: HTTP 502: Bad Gateway"


def test_a_refused_connection_is_told():
    """Nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = target_of(client_for(unused.getsockname()[1]))
        with pytest.raises(TargetReadError, match="refused"):
            target.read()
        with pytest.raises(TargetWriteError, match="refused"):
            target.scale(2, 3)


@pytest.mark.parametrize("call", [lambda t: t.read(), lambda t: t.scale(2, 3)])
def test_a_hung_server_is_given_up_after_the_timeout(tmp_path, call):
    """The connection stands, and nothing comes: one timeout and no retry."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig(silent.getsockname()[1])))
        target = target_of(load_client(str(path)), timeout=0.5)
        began = time.monotonic()
        with pytest.raises((TargetReadError, TargetWriteError), match="timed out"):
            call(target)
        assert 0.4 < time.monotonic() - began < 1.0


def test_a_closed_connection_is_told():
    """The server hangs up in the middle of its answer."""
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def hang_up():
            connection, _ = rude.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(TargetReadError):
            target_of(client_for(rude.getsockname()[1])).read()
        thread.join()


# --- every foreign exception --------------------------------------------------------------------


def foreign_exceptions():
    """List all that the client, urllib3 and the standard library can raise on the way."""
    modules = (client_exceptions, config_exception, urllib3.exceptions, ssl, socket)
    found = {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Exception)
        and not issubclass(member, Warning)
        and not member.__name__.startswith("_")
    }
    return sorted(found - {Exception}, key=lambda kind: (kind.__module__, kind.__qualname__))


class RaisingRest:
    """Stands in for the client's transport: every request raises."""

    def __init__(self, error):
        self.error = error

    def request(self, *args, **kwargs):
        """Fail."""
        raise self.error


@pytest.mark.parametrize("kind", foreign_exceptions(), ids=lambda kind: kind.__qualname__)
def test_every_foreign_exception_is_translated(kind):
    """Whatever the client and what it stands on can raise becomes ours, with its cause."""
    error = kind.__new__(kind)
    # What their constructors would set, as far as telling them needs it.
    if issubclass(kind, client_exceptions.ApiException):
        vars(error).update(dict.fromkeys(("status", "reason", "body", "headers", "data")))
    if issubclass(kind, HTTPException):
        partial = 0 if issubclass(kind, urllib3.exceptions.HTTPError) else b""
        vars(error).update(partial=partial, expected=0, length=b"")
    client = k.ApiClient(k.Configuration(host="http://127.0.0.1:1"))
    client.rest_client = RaisingRest(error)
    for call, ours in (
        (lambda t: t.read(), TargetReadError),
        (lambda t: t.scale(1, 2), TargetWriteError),
    ):
        with pytest.raises(ours) as caught:
            call(target_of(client))
        assert caught.value.__cause__ is error


# --- connecting ---------------------------------------------------------------------------------


def kubeconfig(port, name="here") -> dict:
    """Write a kubeconfig of one cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


@pytest.mark.parametrize("content", [None, "", "{", "{}", '{"kind": "Config"}'])
def test_an_unusable_kubeconfig_is_refused_with_the_next_step(tmp_path, content):
    """One line: the file, what is wrong with it, what to do."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match="set KUBECONFIG") as error:
        load_client(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_context_is_refused(tmp_path):
    """The name is told."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig(1)))
    with pytest.raises(ConfigError, match="there"):
        load_client(str(path), "there")


def test_a_context_is_chosen(tmp_path):
    """The named one, not the current one."""
    path = tmp_path / "kubeconfig"
    both = kubeconfig(1)
    for key in ("clusters", "users", "contexts"):
        both[key] += kubeconfig(2, "there")[key]
    path.write_text(json.dumps(both))
    assert load_client(str(path)).configuration.host == "http://127.0.0.1:1"
    assert load_client(str(path), "there").configuration.host == "http://127.0.0.1:2"


def test_a_pod_connects_by_its_service_account_and_follows_its_token(tmp_path, monkeypatch):
    """A kubeconfig is not needed there, and a rotated token is read again."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("first")
    shutil.copy(certifi.where(), authority)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    loader = incluster_config.InClusterConfigLoader
    read_token = loader._read_token_file

    def read_and_expire(self):
        read_token(self)
        self.token_expires_at = datetime.min  # noqa: DTZ901 - the loader's own have no zone

    monkeypatch.setattr(loader, "_read_token_file", read_and_expire)
    configuration = load_client().configuration
    assert configuration.host == "https://127.0.0.1:443"
    assert configuration.get_api_key_with_prefix("BearerToken") == "bearer first"
    token.write_text("second")
    assert configuration.get_api_key_with_prefix("BearerToken") == "bearer second"


# --- what check asks ----------------------------------------------------------------------------


def test_rights_are_complete_where_nothing_is_denied(checks):
    """Nothing is missing."""
    assert checks.missing_rights() == ()


def test_missing_rights_are_told(kube, checks):
    """Those that are denied, in the words of a role."""
    kube.cluster.deny("patch", "deployments", "scale")
    kube.cluster.deny("list", "pods")
    told = [str(right) for right in checks.missing_rights()]
    assert told == ["list pods", "patch deployments/scale.apps"]
    assert checks.missing_rights([Right(verb="patch", resource="pods")]) == ()


def test_the_rights_are_all_that_a_target_needs(kube, target):
    """With everything else denied, it reads and writes."""
    granted = {(right.verb, right.resource, right.subresource) for right in RIGHTS}
    for resource, subresource in (
        ("deployments", ""),
        ("deployments", "scale"),
        ("pods", ""),
        ("replicasets", ""),
    ):
        for verb in ("get", "list", "watch", "patch", "update", "create", "delete"):
            if (verb, resource, subresource) not in granted:
                kube.cluster.deny(verb, resource, subresource)
    assert target.read().current == 2
    target.scale(2, 3)


def test_other_scalers_are_found(kube, checks):
    """HPAs and ScaledObjects at our Deployment, without the HPA that KEDA made."""
    create = kube.cluster.store.create
    kube.cluster.serve(SCALED_OBJECTS)
    owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "so", "uid": "u"}
    for name, aim, owners in (("mine", NAME, []), ("other", "x", []), ("keda-hpa", NAME, [owner])):
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": aim}
        spec = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 9}
        body = {"metadata": {"name": name, "ownerReferences": owners}, "spec": spec}
        kube.call(lambda body=body: create(AUTOSCALERS, NS, body))
    for name, spec in (
        ("so", {"scaleTargetRef": {"name": NAME}, "maxReplicaCount": 7}),
        ("set", {"scaleTargetRef": {"name": NAME, "kind": "StatefulSet"}}),
    ):
        body = {"metadata": {"name": name}, "spec": spec}
        kube.call(lambda body=body: create(SCALED_OBJECTS, NS, body))
    assert checks.other_scalers() == (
        OtherScaler(kind="HorizontalPodAutoscaler", name="mine", min_replicas=1, max_replicas=9),
        OtherScaler(kind="ScaledObject", name="so", min_replicas=None, max_replicas=7),
    )


def test_a_cluster_without_keda_has_no_scaled_objects(checks):
    """The missing resource is no failure."""
    assert checks.other_scalers() == ()


@pytest.mark.parametrize("resource", ["horizontalpodautoscalers", "scaledobjects"])
def test_scalers_that_may_not_be_listed_are_no_clean_bill(kube, checks, resource):
    """A denied list is told as such."""
    kube.cluster.serve(SCALED_OBJECTS)
    kube.cluster.deny("list", resource)
    with pytest.raises(TargetReadError, match=f"cannot list {resource}"):
        checks.other_scalers()


@pytest.mark.parametrize(("limit", "cores"), [("2", Decimal(2)), ("500m", Decimal("0.5"))])
def test_cpu_limits_are_in_cores(checks, limit, cores):
    """Whatever notation the manifest has."""
    edit_limits(checks, {"cpu": limit})
    assert checks.cpu_limits() == {"ollama": cores}


def test_a_container_without_a_cpu_limit_is_told(checks):
    """None is not zero."""
    edit_limits(checks, {"cpu": None})
    assert checks.cpu_limits() == {"ollama": None}


def edit_limits(checks, limits):
    """Set the limits of the only container."""
    container = {"name": "ollama", "resources": {"limits": limits}}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    k.AppsV1Api(checks._client).patch_namespaced_deployment(NAME, NS, body)

"""The Kubernetes adapter against the emulated API, and against servers that misbehave."""

import inspect
import json
import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
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
    KubernetesChecks,
    KubernetesTarget,
    LeaseChecks,
    OtherScaler,
    load_client,
)
from autoscaler.adapters.kubernetes.client import connect
from autoscaler.decision.words import PodPhase
from autoscaler.errors import (
    ConfigError,
    ConflictError,
    ForbiddenError,
    TargetReadError,
    TargetWriteError,
    UnknownWriteError,
)
from autoscaler.sandbox.kube.calls import APPLY
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
    return KubernetesTarget(namespace=NS, name=NAME, client=client)


@pytest.fixture
def checks(client) -> KubernetesChecks:
    """Look at the Deployment as `check` does."""
    return KubernetesChecks(namespace=NS, name=NAME, client=client)


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
    target = KubernetesTarget(namespace=NS, name="none", client=client)
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
        KubernetesTarget(namespace=NS, name="none", client=client).scale(1, 2)


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
    return connect(k.Configuration(host=f"http://127.0.0.1:{port}"))


def target_of(client, timeout=2.0) -> KubernetesTarget:
    """Make a target with a short timeout."""
    limit = timedelta(seconds=timeout)
    return KubernetesTarget(namespace=NS, name=NAME, client=client, timeout=limit)


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
        (500, UnknownWriteError),
        (503, UnknownWriteError),
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


WRONG = {
    b"": "answer is not JSON",
    b"null": "answer is null, must be an object",
    b"{": "answer is not JSON",
    b"[" * 99_999: "answer is not JSON",
    b"[]": "answer is a list, must be an object",
    b"{}": "answer has 0 replicas, must have 3",
    b'{"spec": null}': "answer has 0 replicas, must have 3",
    b'{"spec": [3]}': "answer has spec that is a list, must be an object",
    b'{"spec": {"replicas": 2}}': "answer has 2 replicas, must have 3",
    b'{"spec": {"replicas": "x"}}': "answer has replicas that is a text, must be a whole number",
    b'{"spec": {"replicas": true}}': "answer has replicas that is bool, must be a whole number",
    b'{"spec": {"replicas": 3.0}}': "answer has replicas that is float, must be a whole number",
    b"\xff\xfe": "answer is not text",
}
"""Bodies that come with a 200, and what a write to 3 replicas makes of each."""


@pytest.mark.parametrize("body", WRONG, ids=lambda body: repr(body[:30]))
@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
def test_an_answer_of_the_wrong_shape_is_refused(body, content_type):
    """Whatever comes with a 200, a read is a read or a TargetReadError; a write is not known."""
    with answering(200, body, content_type) as client:
        with pytest.raises(TargetReadError) as read:
            target_of(client).read()
        with pytest.raises(UnknownWriteError) as write:
            target_of(client).scale(2, 3)
    for error in (read, write):
        assert "\n" not in str(error.value)
        assert "pydantic" not in str(error.value)
        assert len(str(error.value)) < 400
    if content_type == "application/json":
        assert str(write.value) == f"llm/ollama: cannot scale from 2 to 3: {WRONG[body]}"


@pytest.mark.parametrize("body", [b'{"spec": {}}', b'{"spec": {"replicas": 0}}'])
def test_a_scale_without_a_count_is_one_of_zero(body):
    """The API leaves a count of 0 out of its answer."""
    with answering(200, body) as client:
        target_of(client).scale(2, 0)


@pytest.mark.parametrize("code", [200, 500])
def test_an_answer_without_end_is_not_taken_in(code):
    """Nobody knows what it would be, and it would take all of the memory."""
    with answering(code, b" " * (33 * 2**20)) as client:
        with pytest.raises(TargetReadError, match="apps: answer is larger than 32 MiB"):
            target_of(client).read()
        with pytest.raises(UnknownWriteError, match="to 3: answer is larger than 32 MiB"):
            target_of(client).scale(2, 3)


def test_a_refusal_that_is_no_status_is_told_by_its_reason():
    """A proxy's error page ends in one line as well."""
    with (
        answering(502, b"<html>\nbad\n</html>", "text/html") as client,
        pytest.raises(TargetWriteError) as error,
    ):
        target_of(client).scale(2, 3)
    assert str(error.value) == "llm/ollama: cannot scale from 2 to 3: HTTP 502: Bad Gateway"


def test_what_a_server_says_is_one_line_without_the_token():
    """Also where it repeats the request, or tries to move the cursor of whoever reads the log."""
    said = {"message": "no\n\x1b[2J\x00 Authorization: Bearer abc.DEF-123_456~7+/= \u2028 yes"}
    with (
        answering(401, json.dumps(said).encode()) as client,
        pytest.raises(TargetWriteError) as error,
    ):
        target_of(client).scale(2, 3)
    told = "HTTP 401: no ?[2J? Authorization: Bearer *** yes"
    assert str(error.value) == f"llm/ollama: cannot scale from 2 to 3: {told}"


def test_a_refused_connection_is_told():
    """Nobody listens, so nothing was written."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        target = target_of(client_for(port))
        told = f"no connection to http://127.0.0.1:{port}: Connection refused"
        with pytest.raises(TargetReadError) as read:
            target.read()
        with pytest.raises(TargetWriteError) as write:
            target.scale(2, 3)
    assert str(read.value) == f"llm/ollama: cannot get deployments.apps: {told}"
    assert str(write.value) == f"llm/ollama: cannot scale from 2 to 3: {told}"
    assert type(write.value) is TargetWriteError


def is_whole(heard):
    """Tell whether this is all of a request; of a TLS handshake, anything will do."""
    head, end, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return head.startswith(b"\x16") or (end and len(body) >= (int(length[1]) if length else 0))


@contextmanager
def speaking(first, *, drop_by_drop) -> Iterator[int]:
    """Serve each connection these bytes, then one at a time for as long as anybody listens."""
    ended = threading.Event()
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection):
            with connection, suppress(OSError):
                heard = b""
                while not is_whole(heard):
                    heard += connection.recv(65536)
                connection.sendall(first)
                while drop_by_drop and not ended.wait(0.05):
                    connection.sendall(b"1")

        def accept():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    thread = threading.Thread(target=serve, args=(connection,))
                    thread.start()
                    connections.append(thread)

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *connections):
                thread.join()


def assert_no_thread_is_left(seconds):
    """Wait a little for the threads of the calls to end."""
    deadline = time.monotonic() + seconds
    while any(thread.name == "kubernetes" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_given_up(call, told):
    """Call, and see that the timeout of 0.5 s holds for all of it."""
    began = time.monotonic()
    with pytest.raises((TargetReadError, TargetWriteError)) as error:
        call()
    assert 0.4 < time.monotonic() - began < 1.0
    assert str(error.value).endswith(f": {told}")
    return type(error.value)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"", id="before the head"),
        pytest.param(b"HTTP/1.1 20", id="in the status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b", id="in the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", id="in the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="in a body of no length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", id="in a chunk"
        ),
    ],
)
def test_a_server_that_dribbles_is_given_up_after_the_timeout(first):
    """Every single read succeeds in time; the timeout is for all of them together."""
    with speaking(first, drop_by_drop=True) as port:
        target = target_of(client_for(port), timeout=0.5)
        assert assert_given_up(target.read, "no answer within 0.5s") is TargetReadError
        told = "no answer within 0.5s"
        assert assert_given_up(lambda: target.scale(2, 3), told) is UnknownWriteError
        assert_no_thread_is_left(0.4)


@pytest.mark.parametrize("drop_by_drop", [True, False])
def test_a_handshake_that_dribbles_is_given_up_after_the_timeout(drop_by_drop):
    """Nothing is sent before the connection stands, so nothing was written."""
    record = b"\x16\x03\x03\x40\x00\x02"
    with speaking(record, drop_by_drop=drop_by_drop) as port:
        url = f"https://127.0.0.1:{port}"
        target = target_of(connect(k.Configuration(host=url)), timeout=0.5)
        if not drop_by_drop:
            told = "TLS failed: unexpected eof while reading"
            with pytest.raises(TargetReadError, match=f"no connection to {url}: {told}"):
                target.read()
            return
        told = f"no connection to {url}: no answer within 0.5s"
        assert assert_given_up(target.read, told) is TargetReadError
        assert assert_given_up(lambda: target.scale(2, 3), told) is TargetWriteError
        assert_no_thread_is_left(1.0)


def test_a_full_backlog_is_given_up_after_the_timeout():
    """A server that accepts nobody cannot hold us, and nothing was written."""
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener,
        ExitStack() as open_,
    ):
        address = listener.getsockname()
        for _ in range(4):
            each = open_.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(address)
        target = target_of(client_for(address[1]), timeout=0.5)
        told = f"no connection to http://127.0.0.1:{address[1]}: no answer within 0.5s"
        assert assert_given_up(lambda: target.scale(2, 3), told) is TargetWriteError


@pytest.mark.parametrize("call", [lambda t: t.read(), lambda t: t.scale(2, 3)])
def test_a_hung_server_is_given_up_after_the_timeout(tmp_path, call):
    """The connection stands, and nothing comes: one timeout and no retry."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(kubeconfig(silent.getsockname()[1])))
        target = target_of(load_client(str(path)), timeout=0.5)
        kind = assert_given_up(lambda: call(target), "no answer within 0.5s")
    assert kind in {TargetReadError, UnknownWriteError}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "answer is cut short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\na", "answer is cut short"),
    ],
)
def test_a_closed_connection_is_told(answer, told):
    """The server hangs up before or in the middle of its answer; what it did is not known."""
    with speaking(answer, drop_by_drop=False) as port:
        target = target_of(client_for(port))
        with pytest.raises(TargetReadError) as read:
            target.read()
        with pytest.raises(UnknownWriteError) as write:
            target.scale(2, 3)
    assert str(read.value) == f"llm/ollama: cannot get deployments.apps: {told}"
    assert str(write.value) == f"llm/ollama: cannot scale from 2 to 3: {told}"


def test_no_token_is_told():
    """A header that HTTP forbids is told without its value."""
    configuration = k.Configuration(host="http://127.0.0.1:1")
    configuration.api_key["BearerToken"] = "Bearer hunter2\nhunter3"
    with pytest.raises(TargetReadError, match="characters that HTTP forbids") as error:
        target_of(connect(configuration)).read()
    assert "hunter" not in str(error.value)


def test_targets_do_not_share_a_call():
    """Targets in threads of their own use one client: the slow one does not hold the other."""
    with (
        answering(200, b'{"spec": {"replicas": 3}}') as quick,
        speaking(b"", drop_by_drop=True) as port,
    ):
        slow = target_of(client_for(port), timeout=1.0)
        failures = []

        def read():
            with pytest.raises(TargetReadError):
                slow.read()
            failures.append(True)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        target_of(quick).scale(2, 3)
        assert time.monotonic() - began < 0.9
        for thread in threads:
            thread.join()
    assert failures == [True] * 4


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


@pytest.mark.parametrize("content", ["root:x:0:0:root:/root:/bin/sh\n", "{", "[1]", "7", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_called_so(tmp_path, content):
    """Whatever the loader trips over."""
    path = tmp_path / "passwd"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        load_client(str(path))
    assert str(error.value) == f"kubernetes: kubeconfig {path}: is not a kubeconfig"
    assert error.value.next_step.startswith("run in a cluster, set KUBECONFIG, ")


@pytest.mark.parametrize("content", [None, "", "{}", '{"kind": "Config"}'])
def test_an_unusable_kubeconfig_is_refused_with_the_next_step(tmp_path, content):
    """One line: the file, what is wrong with it, what to do."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=str(path)) as error:
        load_client(str(path))
    assert "\n" not in str(error.value)
    assert "set KUBECONFIG" in error.value.next_step


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


READING = ["get deployments.apps", "list pods"]
SCALING = [
    "patch deployments/scale.apps",
    "patch pods",
    "patch deployments.apps",
    "create events",
]
EVERYTHING = [*READING, *SCALING, "delete pods"]


@pytest.mark.parametrize(
    ("does", "needs"),
    [
        ({"acts": False, "replaces": False}, READING),
        ({"acts": False, "replaces": True}, READING),
        ({"acts": True, "replaces": False}, [*READING, *SCALING]),
        ({"acts": True, "replaces": True}, EVERYTHING),
    ],
)
def test_the_rights_are_those_that_are_needed(checks, does, needs):
    """In the words of a Role: a shadow needs none to write, and few need to delete."""
    assert checks.rights(**does) == dict.fromkeys(needs, True)


def test_missing_rights_are_told(kube, checks):
    """Those that are denied, beside those that are granted."""
    kube.cluster.deny("patch", "deployments", "scale")
    kube.cluster.deny("create", "events")
    denied = {"patch deployments/scale.apps": False, "create events": False}
    assert checks.rights(acts=True, replaces=True) == dict.fromkeys(EVERYTHING, True) | denied


def test_the_rights_to_the_lease_are_told(kube, client):
    """They are asked for by its name, but for its creation."""
    lease = LeaseChecks(namespace=NS, name="autoscaler", client=client)
    kube.cluster.deny("update", "leases")
    assert lease.rights() == {
        "create leases.coordination.k8s.io": True,
        "get leases.coordination.k8s.io": True,
        "update leases.coordination.k8s.io": False,
    }


def test_the_rights_are_all_that_a_target_needs(kube, target):
    """With everything else denied, it reads, marks, scales, takes back and replaces."""
    for resource in ("deployments", "deployments/scale", "pods", "replicasets"):
        for verb in ("get", "list", "watch", "patch", "update", "create", "delete"):
            group = "" if resource == "pods" else ".apps"
            if f"{verb} {resource}{group}" not in EVERYTHING:
                kube.cluster.deny(verb, *resource.split("/"))
    first, second = (pod.name for pod in target.read().pods)
    target.scale(2, 1, [first])
    target.unmark([first])
    target.replace(second)


@pytest.mark.parametrize(
    ("annotations", "unknown"),
    [
        ({}, {}),
        ({"ollama-autoscaler/paused": "scale-up", "other/paused": "maybe"}, {}),
        ({"ollama-autoscaler/paused": "False"}, {}),
        (
            {"ollama-autoscaler/paused": "maybe\n" + 99 * "x"},
            {"ollama-autoscaler/paused": "maybe?" + 54 * "x"},
        ),
        ({"ollama-autoscaler/pause": "true"}, {"ollama-autoscaler/pause": "true"}),
    ],
)
def test_annotations_that_mean_nothing_are_told(checks, annotations, unknown):
    """A value that nobody knows, and a key that is written wrong; in a line, and short."""
    body = {"metadata": {"annotations": annotations}}
    k.AppsV1Api(checks._client).patch_namespaced_deployment(NAME, NS, body)
    assert checks.written().unknown_annotations == unknown


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


@pytest.mark.parametrize(
    ("annotation", "applied"),
    [
        ('{"spec": {"replicas": 3}}', (3, "kubectl apply")),
        ('{"spec": {}}', None),
        ('{"spec": []}', None),
        ("no JSON", None),
    ],
)
def test_replicas_in_an_applied_manifest_are_told(checks, annotation, applied):
    """With who applies it; a manifest that nobody can read says nothing."""
    key = "kubectl.kubernetes.io/last-applied-configuration"
    body = {"metadata": {"annotations": {key: annotation}}}
    k.AppsV1Api(checks._client).patch_namespaced_deployment(NAME, NS, body)
    assert checks.written().applied == applied


def test_replicas_that_are_applied_on_the_servers_side_are_told(checks):
    """By the manager that owns them."""
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME},
        "spec": {"replicas": 2},
    }
    k.AppsV1Api(checks._client).patch_namespaced_deployment(
        NAME, NS, body, field_manager="argocd", force=True, _content_type=APPLY
    )
    assert checks.written().applied == (2, "argocd")


@pytest.mark.parametrize(("limit", "cores"), [("2", Decimal(2)), ("500m", Decimal("0.5"))])
def test_cpu_limits_are_in_cores(checks, limit, cores):
    """Whatever notation the manifest has."""
    edit_limits(checks, {"cpu": limit})
    assert [each.cpu_limit for each in checks.written().containers] == [cores]


def test_a_container_without_a_cpu_limit_is_told(checks):
    """None is not zero."""
    edit_limits(checks, {"cpu": None})
    assert [each.cpu_limit for each in checks.written().containers] == [None]


def edit_limits(checks, limits):
    """Set the limits of the only container."""
    container = {"name": "ollama", "resources": {"limits": limits}}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    k.AppsV1Api(checks._client).patch_namespaced_deployment(NAME, NS, body)

"""What a target is seen to be, and how victims are marked: by the emulated API."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from kubernetes import client as k

from autoscaler.adapters.kubernetes import KubernetesTarget, load_client
from autoscaler.adapters.kubernetes.annotations import COST, MARK, PAUSED
from autoscaler.adapters.kubernetes.target import HUNG_GRACE_S
from autoscaler.adapters.kubernetes.target_state import seen_of, selector_of
from autoscaler.adapters.kubernetes.transport import AnswerError
from autoscaler.decision.words import Direction
from autoscaler.errors import (
    ConflictError,
    ForbiddenError,
    TargetReadError,
    TargetWriteError,
    UnknownWriteError,
)
from autoscaler.sandbox.kube.resources import DEPLOYMENTS, PODS
from tests.sandbox.kube_cluster import ClusterThread

NS = "llm"
NAME = "ollama"
NO_MARK = {}
OUR_MARK = {COST: "-1000", MARK: "true"}
OUR_NEXT_MARK = {COST: "-999", MARK: "true"}


@pytest.fixture
def kube(tmp_path) -> Iterator[ClusterThread]:
    """Run a cluster with the Deployment `ollama` of three ready pods."""
    thread = ClusterThread(tmp_path)
    thread.deploy(replicas=3)
    thread.runtime.idle = False
    for container in thread.runtime.started:
        container.drained.clear()  # so that pods on their way out can be looked at
    yield thread
    thread.close()


@pytest.fixture
def target(kube) -> KubernetesTarget:
    """Look at the Deployment as the loop does, after a first read."""
    client = load_client(str(kube.cluster.kubeconfig_path))
    target = KubernetesTarget(namespace=NS, name=NAME, client=client)
    target.read()
    return target


def names(target) -> list[str]:
    """List the pods."""
    return [pod.name for pod in target.read().pods]


def edit(kube, resource, name, change) -> None:
    """Change an object behind everybody's back."""
    kube.call(lambda: kube.cluster.store.change(resource, (NS, name), change))


def annotate(kube, resource, name, annotations) -> None:
    """Set annotations as somebody else."""
    edit(kube, resource, name, lambda obj: obj["metadata"].update(annotations=dict(annotations)))


def marks(kube) -> dict[str, dict[str, str]]:
    """Return the annotations of each pod."""
    pods = kube.call(lambda: kube.cluster.store.select(PODS, NS))
    return {pod["metadata"]["name"]: pod["metadata"].get("annotations") or {} for pod in pods}


def writes(kube) -> list[tuple[str, str, int]]:
    """List what was written: verb, last part of the path, code."""
    return [(e.verb, e.path.rpartition("/")[2], e.code) for e in kube.cluster.audit]


@dataclass
class Wire:
    """Stands between the client and its transport, and does what a test wants to some requests."""

    send: Callable
    fails: Callable = field(default=lambda method, url: None)
    """Given method and address: an error to raise, before the request is sent."""
    loses: Callable = field(default=lambda method, url: False)
    """Whether the request arrives and its answer is lost."""

    def request(self, method, url, **options):
        """Send a request."""
        error = self.fails(method, url)
        if error is not None:
            raise error
        answer = self.send(method, url, **options)
        if self.loses(method, url):
            raise ConnectionResetError
        return answer


@pytest.fixture
def wire(target, monkeypatch) -> Wire:
    """Let a test disturb what the target sends."""
    rest = target._client.rest_client
    wire = Wire(send=rest.request)
    monkeypatch.setattr(rest, "request", wire.request)
    return wire


# --- what is seen -------------------------------------------------------------------------------


def test_addresses_are_those_of_the_pods(kube, target):
    """They are what the gateway knows a replica by."""
    assert target.read().addresses == {pod.name: pod.ip for pod in kube.cluster.pods(NS, NAME)}


def test_a_pod_without_a_place_has_no_address(tmp_path):
    """It is not in the map at all."""
    kube = ClusterThread(tmp_path, max_node_pods=1)
    kube.wait(kube.cluster.create_deployment(NS, NAME, 2))
    kube.wait(kube.cluster.wait_ready(NS, NAME, 1, 10))
    client = load_client(str(kube.cluster.kubeconfig_path))
    state = KubernetesTarget(namespace=NS, name=NAME, client=client).read()
    kube.close()
    (placed,) = [pod.name for pod in state.pods if pod.ready]
    assert set(state.addresses) == {placed}


@pytest.mark.parametrize(
    ("value", "paused", "direction"),
    [
        (None, False, None),
        ("", False, None),
        ("false", False, None),
        ("False", False, None),
        ("true", True, None),
        (" TRUE ", True, None),
        ("scale-up", False, Direction.UP),
        ("scale-down", False, Direction.DOWN),
        ("scale-in", True, None),
        ("no\nreally\x1b[2J", True, None),
    ],
)
def test_the_annotation_pauses(kube, target, value, paused, direction):
    """One direction or both; a value that nobody knows was meant to stop something."""
    annotate(kube, DEPLOYMENTS, NAME, {} if value is None else {PAUSED: value})
    state = target.read()
    assert (state.paused, state.paused_direction) == (paused, direction)


def test_marked_are_those_that_carry_our_mark_and_stay(kube, target):
    """A cost of somebody else is no mark, and one on its way out needs no care."""
    first, second, third = names(target)
    annotate(kube, PODS, first, {MARK: "true"})
    annotate(kube, PODS, second, {COST: "-1000"})
    annotate(kube, PODS, third, {MARK: "true"})
    k.CoreV1Api(target._client).delete_namespaced_pod(third, NS)
    assert target.read().marked == (first,)


def entry(manager, time="2026-11-23T10:00:00Z", **more) -> dict:
    """Write an entry of the managed fields that has the replica count."""
    fields = {"f:spec": {"f:replicas": {}, "f:paused": {}}}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields} | more


@pytest.mark.parametrize(
    ("entries", "writer"),
    [
        ([], None),
        ([entry("helm", fieldsV1={"f:metadata": {}})], None),
        ([entry("helm", fieldsV1={"f:spec": {"f:template": {}}})], None),
        ([entry("helm", time=None)], ("helm", False)),
        ([entry("ollama-autoscaler", None, subresource="scale")], ("ollama-autoscaler", True)),
        (
            [entry("argocd", operation="Apply"), entry("ollama-autoscaler", None)],
            ("argocd", False),
        ),
        (
            [entry("flux", None, operation="Apply"), entry("kubectl-edit")],
            ("flux", False),
        ),
        ([entry("ollama-autoscaler", subresource="scale")], ("ollama-autoscaler", True)),
        (
            [entry("ollama-autoscaler"), entry("argocd", "2026-11-23T10:00:01Z")],
            ("argocd", False),
        ),
        (
            [entry("argocd"), entry("ollama-autoscaler", "2026-11-23T10:00:01Z")],
            ("ollama-autoscaler", True),
        ),
        ([entry("ollama-autoscaler", None), entry("argocd")], ("argocd", False)),
        ([entry("keda", None), entry("argocd")], ("argocd", False)),
        ([entry("ollama-autoscaler"), entry("argocd", operation="Apply")], ("argocd", False)),
        ([entry("a\nb\x1b[31m" + 200 * "c")], ("a?b?[31m" + 120 * "c", False)),
        ([entry(None)], ("unknown", False)),
    ],
)
def test_the_writer_is_the_newest_that_has_the_count(kube, target, entries, writer):
    """By whatever way: an apply joined an update; in one second, somebody else came after us."""
    edit(kube, DEPLOYMENTS, NAME, lambda obj: obj["metadata"].update(managedFields=entries))
    found = target.read().writer
    assert (found and (found.manager, found.is_us)) == writer


def test_the_writer_is_told_with_its_time_where_it_has_one(kube, target):
    """A write through the scale has none, be it ours or that of an autoscaler."""
    target.scale(3, 4)
    ours = target.read().writer
    kube.call(lambda: kube.cluster.scale(NS, NAME, 5, "kube-controller-manager"))
    theirs = target.read().writer
    edit(kube, DEPLOYMENTS, NAME, lambda obj: obj["metadata"].update(managedFields=[entry("vi")]))
    assert (ours.manager, ours.is_us, ours.at) == ("ollama-autoscaler", True, None)
    assert (theirs.manager, theirs.is_us, theirs.at) == ("kube-controller-manager", False, None)
    assert target.read().writer.at == datetime(2026, 11, 23, 10, tzinfo=UTC)


FAILING = ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "InvalidImageName"]


@pytest.mark.parametrize("key", ["containerStatuses", "initContainerStatuses"])
@pytest.mark.parametrize(
    ("state", "failing"),
    [
        *(({"waiting": {"reason": reason}}, True) for reason in FAILING),
        ({"waiting": {"reason": "CreateContainerConfigError"}}, True),
        ({"waiting": {"reason": "ContainerCreating"}}, False),
        ({"waiting": {"reason": "PodInitializing"}}, False),
        ({"waiting": {}}, False),
        ({"running": {"startedAt": "2026-11-23T10:00:00Z"}}, False),
        (None, False),
    ],
)
def test_a_pod_that_does_not_come_up_is_failing(kube, target, key, state, failing):
    """By what its containers wait for, those of the initialization too."""
    first, second, _ = names(target)
    statuses = [{"name": "x", "restartCount": 0, "state": state}]
    edit(kube, PODS, first, lambda pod: pod["status"].update({key: statuses}))
    told = {pod.name: pod.failing for pod in target.read().pods}
    assert (told[first], told[second]) == (failing, False)


def pod_answer(**metadata) -> dict:
    """Write a pod of the Deployment as the API answers it."""
    owner = {"controller": True, "kind": "ReplicaSet", "name": "ollama-5d4"}
    standard = {
        "name": "ollama-5d4-a",
        "labels": {"pod-template-hash": "5d4"},
        "ownerReferences": [owner],
    }
    return {"metadata": standard | metadata, "status": {"phase": "Running"}}


DEPLOYMENT = {"metadata": {}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}}}


@pytest.mark.parametrize(
    "name",
    ["", "..", ".", "a/b", "a%2Fb", "../../namespaces/llm", "a\nb", "A", "a b", 254 * "a", "a\x1b"],
)
def test_a_pod_with_an_impossible_name_is_refused(name):
    """It would end up in a path or in a line, so nothing of the answer is believed."""
    with pytest.raises(AnswerError, match="a name that no pod can have"):
        seen_of(NAME, DEPLOYMENT, {"items": [pod_answer(name=name)]})
    assert seen_of(NAME, DEPLOYMENT, {"items": [pod_answer()]}).state.pods[0].name == "ollama-5d4-a"


def wrong(path, value) -> tuple[dict, dict]:
    """Return a Deployment and a list of pods in which one thing is not what it should be."""
    answers = {"deployment": DEPLOYMENT, "listed": {"items": [pod_answer()]}}

    def replaced(obj, way):
        if not way:
            return value
        if isinstance(obj, list):
            return [replaced(obj[0], way[1:])]
        return {**obj, way[0]: replaced(obj.get(way[0], {}), way[1:])}

    changed = replaced(answers, path.split("."))
    return changed["deployment"], changed["listed"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("deployment.metadata", None),
        ("deployment.metadata.annotations", {"a": 1}),
        ("deployment.metadata.annotations", []),
        ("deployment.metadata.managedFields", {}),
        ("deployment.metadata.managedFields", [{"fieldsV1": []}]),
        ("deployment.metadata.managedFields", [entry("x", time="yesterday")]),
        ("deployment.metadata.managedFields", [entry("x", time="2026-11-23T10:00:00")]),
        ("deployment.spec.replicas", None),
        ("deployment.spec.replicas", -1),
        ("deployment.spec.replicas", 2**31),
        ("deployment.spec.replicas", True),
        ("deployment.spec.selector", None),
        ("deployment.spec.selector.matchLabels", {"a": None}),
        ("deployment.spec.selector.matchExpressions", [{"key": "a", "operator": "Odd"}]),
        ("listed.items", {}),
        ("listed.items", [7]),
        ("listed.items.0.metadata", None),
        ("listed.items.0.metadata.name", 7),
        ("listed.items.0.metadata.labels", {"pod-template-hash": 5}),
        ("listed.items.0.metadata.creationTimestamp", 0),
        ("listed.items.0.metadata.creationTimestamp", "now"),
        ("listed.items.0.metadata.deletionTimestamp", True),
        ("listed.items.0.metadata.uid", {}),
        ("listed.items.0.metadata.uid", "yesterday\n"),
        ("deployment.metadata.uid", ""),
        ("listed.items.0.status", None),
        ("listed.items.0.status.phase", []),
        ("listed.items.0.status.podIP", 7),
        ("listed.items.0.status.conditions", {}),
        ("listed.items.0.status.containerStatuses", [{"state": {"waiting": {"reason": 7}}}]),
    ],
)
def test_a_part_of_the_wrong_shape_is_refused(path, value):
    """Each part that is taken is checked; what it was instead is told by its kind alone."""
    deployment, listed = wrong(path, value)
    with pytest.raises(AnswerError) as refused:
        (selector_of(deployment), seen_of(NAME, deployment, listed))
    assert "\n" not in str(refused.value)
    assert "yesterday" not in str(refused.value)


def test_nothing_but_what_is_needed_is_looked_at():
    """What else an answer has may be anything."""
    pod = pod_answer(finalizers=7, managedFields="x") | {"spec": 7}
    deployment = DEPLOYMENT | {"status": 7, "kind": []}
    assert seen_of(NAME, deployment, {"items": [pod], "metadata": 7}).state.current == 2


# --- marks --------------------------------------------------------------------------------------


def test_victims_are_marked_just_before_the_count_is_set(kube, target):
    """Exactly those, in their order; Kubernetes then takes them and no other."""
    first, second, third = names(target)
    target.scale(3, 1, [third, first])
    assert writes(kube) == [("patch", third, 200), ("patch", first, 200), ("patch", "scale", 200)]
    assert {entry.who for entry in kube.cluster.audit} == {"ollama-autoscaler"}
    assert marks(kube) == {third: OUR_MARK, first: OUR_NEXT_MARK, second: NO_MARK}
    state = target.read()
    assert {pod.name for pod in state.pods if not pod.deleting} == {second}
    assert state.marked == ()


def test_a_growth_marks_nobody(kube, target):
    """Whatever it is given."""
    target.scale(3, 4, names(target))
    assert writes(kube) == [("patch", "scale", 200)]


def test_a_cost_of_somebody_else_is_kept_and_put_back(kube, target):
    """The mark holds it meanwhile, also where the pod is marked twice or the daemon starts anew."""
    first, second, _ = names(target)
    annotate(kube, PODS, first, {COST: "500", "mine": "kept"})
    annotate(kube, PODS, second, {COST: "nonsense"})
    kube.cluster.deny("patch", "deployments", "scale")
    wanted = {COST: "-1000", MARK: "500", "mine": "kept"}
    for _ in range(2):
        target.read()
        target._mark(first, 0)
        target._mark(second, 0)
        assert marks(kube)[first] == wanted
    again = KubernetesTarget(namespace=NS, name=NAME, client=target._client)
    again.unmark(again.read().marked)
    assert marks(kube)[first] == {COST: "500", "mine": "kept"}
    assert marks(kube)[second] == NO_MARK


def test_a_mark_that_somebody_wrote_cannot_be_put_back_as_nonsense(kube, target):
    """What it holds is a number, or is forgotten; otherwise it could never be taken off."""
    first, *_ = names(target)
    annotate(kube, PODS, first, {COST: "-1000", MARK: '"}, "x": {"'})
    target.unmark(target.read().marked)
    assert marks(kube)[first] == NO_MARK


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda kube: kube.call(lambda: kube.cluster.scale(NS, NAME, 5)), ConflictError),
        (lambda kube: kube.cluster.deny("patch", "deployments", "scale"), ForbiddenError),
    ],
)
def test_where_the_count_is_not_set_the_marks_are_taken_back(kube, target, change, error):
    """The shrink has clearly not happened, so nobody is a victim."""
    first, second, _ = names(target)
    annotate(kube, PODS, first, {COST: "7"})
    target.read()
    change(kube)
    with pytest.raises(error, match="cannot scale from 3 to 1"):
        target.scale(3, 1, [first, second])
    assert marks(kube)[first] == {COST: "7"}
    assert marks(kube)[second] == NO_MARK


def test_a_shrink_that_fails_leaves_the_marks_of_one_that_is_not_over(kube, target):
    """Kubernetes has yet to take the first; only the mark of this call is taken back."""
    first, second, _ = names(target)
    annotate(kube, PODS, first, OUR_MARK)
    assert target.read().marked == (first,)
    kube.cluster.deny("patch", "deployments", "scale")
    with pytest.raises(ForbiddenError):
        target.scale(3, 1, [first, second])
    assert marks(kube)[first] == OUR_MARK
    assert marks(kube)[second] == NO_MARK


def test_where_the_answer_is_lost_the_marks_stay(kube, target, wire):
    """The shrink may have happened, as it has here."""
    first, *_ = names(target)
    wire.loses = lambda method, url: url.endswith("/scale?fieldManager=ollama-autoscaler")
    with pytest.raises(UnknownWriteError, match="cannot scale from 3 to 2"):
        target.scale(3, 2, [first])
    assert kube.cluster.replicas(NS, NAME) == 2
    assert marks(kube)[first] == OUR_MARK


def is_patch_of(name) -> Callable:
    """Tell the patches of a pod from other requests."""
    return lambda method, url: method == "PATCH" and f"/pods/{name}" in url


def failing_with(error, when, times=10**9) -> Callable:
    """Fail some requests, so many times."""
    left = [times]

    def fails(method, url):
        if not when(method, url) or not left[0]:
            return None
        left[0] -= 1
        return error

    return fails


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (k.exceptions.ApiException(status=403, reason="Forbidden"), ForbiddenError),
        (k.exceptions.ApiException(status=409, reason="Conflict"), ConflictError),
        (k.exceptions.ApiException(status=500, reason="etcd"), UnknownWriteError),
        (ConnectionResetError(), UnknownWriteError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
)
def test_where_a_mark_fails_nothing_shrinks(kube, target, wire, error, kind):
    """Those that are made are taken back, and the first error is what is told."""
    first, second, third = names(target)
    wire.fails = failing_with(error, is_patch_of(second), times=1)
    with pytest.raises(kind):
        target.scale(3, 1, [first, second])
    assert kube.cluster.replicas(NS, NAME) == 3
    assert set(map(str, marks(kube).values())) == {str(NO_MARK)}
    assert ("patch", "scale", 200) not in writes(kube)
    assert third not in {name for _, name, _ in writes(kube)}


def test_a_mark_whose_answer_is_lost_is_taken_back(kube, target, wire):
    """It may have been made, as it was here."""
    first, *_ = names(target)
    lost = []

    def loses_the_first(method, url):
        lost.append(url)
        return len(lost) == 1

    wire.loses = loses_the_first
    with pytest.raises(UnknownWriteError, match=f"cannot mark pod {first}"):
        target.scale(3, 2, [first])
    assert marks(kube)[first] == NO_MARK
    assert len(lost) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit()])
def test_an_end_in_the_middle_takes_the_marks_back(kube, target, wire, error):
    """What nobody expects is not hidden either."""
    first, *_ = names(target)
    wire.fails = failing_with(error, lambda method, url: "/scale" in url)
    with pytest.raises(type(error)):
        target.scale(3, 2, [first])
    assert marks(kube)[first] == NO_MARK


def test_a_failure_to_take_back_does_not_hide_the_first_error(kube, target, wire):
    """The marks stay then, for the next cycle to take them off."""
    first, *_ = names(target)
    kube.call(lambda: kube.cluster.scale(NS, NAME, 5))
    marked = []

    def fails_later(method, url):
        if is_patch_of(first)(method, url):
            marked.append(url)
        return RuntimeError() if len(marked) > 1 else None

    wire.fails = fails_later
    with pytest.raises(ConflictError, match="cannot scale from 3 to 2"):
        target.scale(3, 2, [first])
    assert len(marked) == 2
    assert marks(kube)[first] == OUR_MARK


def test_a_server_that_drops_the_mark_is_not_believed(kube, target, wire):
    """An admission rule may: then others would go, so the shrink is not made."""
    first, *_ = names(target)
    send = wire.send

    def without_annotations(method, url, **options):
        if is_patch_of(first)(method, url):
            options["body"] = {"metadata": {"labels": {"a": "b"}}}
        return send(method, url, **options)

    wire.send = without_annotations
    with pytest.raises(UnknownWriteError, match="answer lacks the mark"):
        target.scale(3, 2, [first])
    assert kube.cluster.replicas(NS, NAME) == 3


def test_a_victim_that_is_gone_is_passed_over(kube, target):
    """It cannot be cut any more."""
    first, second, _ = names(target)
    kube.call(lambda: kube.cluster.store.remove(PODS, NS, first))
    target.scale(3, 2, [first, second])
    assert marks(kube)[second] == OUR_NEXT_MARK
    target.unmark([first, second])
    assert marks(kube)[second] == NO_MARK


def test_one_mark_that_cannot_be_taken_off_does_not_keep_the_others(kube, target, wire):
    """The first refusal is told at the end; after a lost answer nobody else is tried."""
    first, second, third = names(target)
    for name in (first, second, third):
        target._mark(name, 0)
    forbidden = k.exceptions.ApiException(status=403, reason="Forbidden")
    wire.fails = failing_with(forbidden, is_patch_of(first))
    with pytest.raises(ForbiddenError, match=f"cannot take the mark off pod {first}"):
        target.unmark([first, second])
    assert target.read().marked == tuple(sorted((first, third)))
    wire.fails = failing_with(ConnectionResetError(), is_patch_of(first))
    with pytest.raises(UnknownWriteError):
        target.unmark([first, third])
    assert target.read().marked == tuple(sorted((first, third)))


# --- replacing ----------------------------------------------------------------------------------


def test_a_pod_is_replaced(kube, target):
    """It is deleted and no other, in our name, and another comes."""
    first, *_ = names(target)
    target.replace(first)
    assert writes(kube) == [("delete", first, 200)]
    assert kube.cluster.audit[0].who == "ollama-autoscaler"
    assert {pod.name for pod in target.read().pods if pod.deleting} == {first}
    assert kube.cluster.replicas(NS, NAME) == 3


def test_a_pod_that_is_replaced_is_not_drained_for_minutes(kube, target):
    """Whoever waits for it is told after half a minute and can ask again, and the next may go."""
    first, *_ = names(target)
    target.replace(first)
    told = kube.call(lambda: kube.cluster.store.get(PODS, NS, first))["metadata"]
    assert told["deletionGracePeriodSeconds"] == HUNG_GRACE_S == 30


def test_a_pod_that_is_gone_needs_no_replacing(kube, target):
    """Somebody was quicker."""
    first, *_ = names(target)
    kube.call(lambda: kube.cluster.store.remove(PODS, NS, first))
    target.replace(first)


def test_another_pod_of_the_same_name_is_not_deleted(kube, target):
    """It is not the one that was decided on."""
    first, *_ = names(target)
    kube.call(lambda: kube.cluster.store.get(PODS, NS, first)["metadata"].update(uid="other"))
    with pytest.raises(ConflictError, match=f"cannot delete pod {first}: HTTP 409"):
        target.replace(first)
    assert not any(pod.deleting for pod in target.read().pods)


def test_a_replacement_that_is_denied_is_forbidden(kube, target):
    """The right to delete pods is granted only where somebody wants it."""
    kube.cluster.deny("delete", "pods")
    with pytest.raises(ForbiddenError):
        target.replace(names(target)[0])


@pytest.mark.parametrize(
    "name", ["..", "../../../namespaces/llm", "a/eviction", "a?x=y", "a\nb", "", "unknown"]
)
@pytest.mark.parametrize("call", ["replace", "unmark", "scale"])
def test_a_pod_that_was_not_read_is_never_written_to(kube, target, name, call):
    """So that no name can lead a request to another place, least of all a deletion."""
    calls = {
        "replace": lambda: target.replace(name),
        "unmark": lambda: target.unmark([name]),
        "scale": lambda: target.scale(3, 2, [name]),
    }
    with pytest.raises(TargetWriteError, match="was read") as refused:
        calls[call]()
    assert "\n" not in str(refused.value)
    assert writes(kube) == []


def test_a_refused_read_forgets_nothing(kube, target):
    """Marks can be taken off by what was read before."""
    first, *_ = names(target)
    kube.cluster.deny("list", "pods")
    with pytest.raises(TargetReadError):
        target.read()
    target._mark(first, 0)
    target.unmark([first])
    assert marks(kube)[first] == NO_MARK

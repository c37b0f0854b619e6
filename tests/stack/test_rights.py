"""The autoscaler's rights in a cluster: what it and `check` were seen to use, and no more."""

from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import yaml

from autoscaler.adapters.kubernetes import KubernetesTarget, load_client
from autoscaler.bootstrap import check_settings
from autoscaler.sandbox.kube import Access
from autoscaler.settings import load
from tests.sandbox.kube_cluster import ClusterThread
from tests.stack import builds
from tests.stubs import DaemonProcess, World

MUCH, LITTLE = 4.0, 0.1


def configuration() -> str:
    """Return the shipped configuration, sped up, with the one metric that a test can move."""
    (shipped,) = builds.one(builds.built("config"), "ConfigMap", "autoscaler-config")[
        "data"
    ].values()
    settings = yaml.safe_load(shipped)
    (target,) = settings["targets"]
    target["metrics"] = [
        {"name": "queue_depth", "query": "vector(1)", "type": "total", "target": 0.8}
    ]
    target["scale_down"] |= {"stabilization_window": "0s", "cooldown": "0s"}
    return yaml.safe_dump(
        settings
        | {
            "interval": "100ms",
            "http": {"host": "127.0.0.1", "port": 0},
            "gateway": {"stats_url": ""},
            "kubernetes": {"timeout": "1s"},
            "leadership": {"duration": "3s"},
            "log": {"format": "json"},
        }
    )


def scaled(daemon, up):
    """Wait for a cycle that has moved the number up, or down."""
    daemon.wait_event("cycle", lambda e: e["outcome"] == "scaled" and (e["from"] < e["to"]) is up)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the daemon until it has led, held, grown, shrunk, failed to and been outdone.

    Then let a stuck pod be replaced, and everything be checked, as in the daemon's pod; return the
    cluster: what was accessed, before that and by each, and what was written.
    """
    folder = tmp_path_factory.mktemp("rights")
    with ExitStack() as ending:
        world = World(folder)
        ending.callback(world.stop)
        kube = ending.enter_context(closing(ClusterThread(folder)))
        cluster = kube.cluster
        kube.deploy()
        cluster.accesses.clear()
        seen = SimpleNamespace(
            folder=folder,
            prometheus_url=world.prometheus_url,
            kubeconfig=cluster.kubeconfig_path,
        )
        daemon = ending.enter_context(closing(DaemonProcess(seen, configuration=configuration())))
        daemon.wait_event("cycle", lambda event: event["outcome"] == "held")
        world.load = MUCH
        scaled(daemon, up=True)
        cluster.deny("patch", "deployments", "scale")
        world.load = LITTLE
        daemon.wait_event("cycle", lambda event: event["outcome"] == "failed")
        cluster.allow("patch", "deployments", "scale")
        scaled(daemon, up=False)
        kube.call(lambda: cluster.scale("llm", "ollama", 6))
        daemon.wait_event("cycle", lambda event: event.get("reason") == "Conflict")
        assert daemon.stop() == 0
        used = frozenset(cluster.accesses)

        cluster.accesses.clear()
        client = load_client(str(cluster.kubeconfig_path))
        target = KubernetesTarget(namespace="llm", name="ollama", client=client)
        target.replace(target.read().pods[0].name)
        replacing, audit = frozenset(cluster.accesses), tuple(cluster.audit)

        cluster.accesses.clear()
        config = folder / "autoscaler.yaml"
        check_settings(load(config, {"AUTOSCALER_KUBERNETES__KUBECONFIG": str(seen.kubeconfig)}))
        # What one may do oneself, everybody may ask.
        checking = {each for each in cluster.accesses if "accessreview" not in each.resource}
        return SimpleNamespace(
            used=used, replacing=replacing, checking=frozenset(checking), audit=audit
        )


def needed(run, whole, objects) -> frozenset[Access]:
    """Return what the run has used, in the words of the Roles of these objects.

    Pods have names that no rule can know; the Lease is in the daemon's own namespace; stuck pods
    are replaced where somebody wants it.
    """
    home = builds.pods_of(objects, "autoscaler").namespace
    told = {"pods": {"name": ""}, "leases": {"namespace": home}}
    chosen = builds.COMBINATIONS[whole].components if whole in builds.COMBINATIONS else ()
    seen = run.used | run.checking
    seen |= run.replacing if "restart-stuck" in chosen else frozenset()
    return frozenset(replace(access, **told.get(access.resource, {})) for access in seen)


def granted(objects) -> frozenset[Access]:
    """Return what the autoscaler's ServiceAccount may do, one by one: a rule is a product."""
    pods = builds.pods_of(objects, "autoscaler")
    account = ("ServiceAccount", pods.spec["serviceAccountName"], pods.namespace)
    bindings = [
        binding
        for binding in builds.of(objects, "RoleBinding", "ClusterRoleBinding")
        if account
        in {(who["kind"], who["name"], who.get("namespace")) for who in binding["subjects"]}
    ]
    return frozenset(
        Access(verb=verb, group=group, resource=resource, namespace=where, name=name)
        for binding in bindings
        for where in [binding["metadata"].get("namespace", "")]
        for role in builds.of(objects, binding["roleRef"]["kind"])
        if role["metadata"]["name"] == binding["roleRef"]["name"]
        if role["metadata"].get("namespace", where) == where
        for rule in role["rules"]
        for verb, group, resource, name in product(
            rule["verbs"], rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""])
        )
    )


@pytest.mark.parametrize("whole", builds.wholes())
def test_every_access_is_granted(run, whole):
    """A right that is missing would show itself at the first cycle that needs it."""
    objects = builds.built(whole)
    assert needed(run, whole, objects) - granted(objects) == set()


@pytest.mark.parametrize("whole", builds.wholes())
def test_every_right_is_used(run, whole):
    """Each verb on each resource and each name that a rule gives was seen in the recorded run."""
    objects = builds.built(whole)
    assert granted(objects) - needed(run, whole, objects) == set()


def test_the_run_did_all_that_the_daemon_does(run):
    """It read, scaled, marked victims, took marks back, told of it twice, and held the Lease."""
    assert {(access.verb, access.resource) for access in run.used} == {
        ("get", "deployments"),
        ("patch", "deployments"),
        ("list", "pods"),
        ("patch", "deployments/scale"),
        ("patch", "pods"),
        ("create", "events"),
        ("create", "leases"),
        ("get", "leases"),
        ("update", "leases"),
    }
    marks = [
        str(entry.body) for entry in run.audit if entry.verb == "patch" and "/pods/" in entry.path
    ]
    assert any("-1000" in mark for mark in marks)
    assert any("None" in mark for mark in marks)


def test_a_check_needs_two_rights_more_than_the_daemon(run):
    """It looks for other scalers on the same Deployment, and writes nothing."""
    asked = {(access.verb, access.resource) for access in run.checking - run.used}
    assert asked == {("list", "horizontalpodautoscalers"), ("list", "scaledobjects")}
    assert {access.verb for access in run.checking} == {"get", "list"}


def test_all_writes_have_one_name(run):
    """Whoever looks into managed fields, events or the audit log finds the daemon by it."""
    assert {entry.who for entry in run.audit} == {"ollama-autoscaler"}


@pytest.mark.parametrize(
    ("role", "number"),
    [
        *(("autoscaler", number) for number in range(7)),
        *(("autoscaler-lease", number) for number in range(2)),
    ],
)
def test_a_missing_right_is_found(run, role, number):
    """Whichever rule is taken away, the run needed it."""
    whole = "deploy/overlays/minikube"
    objects = builds.built(whole)
    builds.one(objects, "Role", role)["rules"].pop(number)
    assert needed(run, whole, objects) - granted(objects) != set()


@pytest.mark.parametrize(
    "widened",
    [
        {"verbs": ["get", "list"]},
        {"resources": ["deployments", "replicasets"]},
        {"resourceNames": [""]},
    ],
    ids=["a verb", "a resource", "all names"],
)
def test_a_right_too_many_is_found(run, widened):
    """Whatever a rule gives beyond what the run needed is told."""
    whole = "deploy/overlays/minikube"
    objects = builds.built(whole)
    builds.one(objects, "Role", "autoscaler")["rules"][0].update(widened)
    assert granted(objects) - needed(run, whole, objects) != set()


def test_only_who_asks_for_it_may_delete_pods(run):
    """The component gives that right and no other."""
    plain, with_it = (
        granted(builds.built(whole))
        for whole in ("deploy/overlays/minikube", "minikube, restart-stuck")
    )
    (more,) = with_it - plain
    assert (more.verb, more.group, more.resource, more.name) == ("delete", "", "pods", "")
    assert plain <= with_it

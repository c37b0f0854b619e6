"""The autoscaler's rights in a cluster: what a running daemon was seen to use, and no more."""

from contextlib import ExitStack, closing
from itertools import product
from types import SimpleNamespace

import pytest
import yaml

from autoscaler.sandbox.kube import Access
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
    http = {"host": "127.0.0.1", "port": 0}
    return yaml.safe_dump(settings | {"interval": "100ms", "http": http, "log": {"format": "json"}})


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """Run the daemon until it has held, grown, shrunk and been outdone; return what it accessed."""
    folder = tmp_path_factory.mktemp("rights")
    with ExitStack() as ending:
        world = World(folder)
        ending.callback(world.stop)
        kube = ending.enter_context(closing(ClusterThread(folder)))
        kube.deploy()
        kube.cluster.accesses.clear()
        seen = SimpleNamespace(
            folder=folder,
            prometheus_url=world.prometheus_url,
            kubeconfig=kube.cluster.kubeconfig_path,
        )
        daemon = ending.enter_context(closing(DaemonProcess(seen, configuration=configuration())))
        daemon.wait_cycles(2)
        world.load = MUCH
        daemon.wait_event("cycle", lambda event: event["outcome"] == "scaled")
        world.load = LITTLE
        daemon.wait_event("cycle", lambda e: e["outcome"] == "scaled" and e["from"] > e["to"])
        kube.call(lambda: kube.cluster.scale("llm", "ollama", 6))
        daemon.wait_event("cycle", lambda event: event["reason"] == "Conflict")
        assert daemon.stop() == 0
        return frozenset(kube.cluster.accesses)


@pytest.fixture(params=builds.wholes())
def objects(request):
    """Build an overlay or a combination."""
    return builds.built(request.param)


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


def test_every_access_is_granted(used, objects):
    """A right that is missing would show itself at the first cycle that needs it."""
    assert used - granted(objects) == set()


def test_every_right_is_used(used, objects):
    """Each verb on each resource and each name that a rule gives was seen in the recorded run."""
    assert granted(objects) - used == set()


def test_the_run_did_all_that_the_daemon_does(used):
    """It read the Deployment and its pods, and wrote."""
    assert {access.verb for access in used} == {"get", "list", "patch"}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_right_is_found(used, number):
    """Whichever rule is taken away, the run needed it."""
    objects = builds.built("deploy/overlays/minikube")
    builds.one(objects, "Role", "autoscaler")["rules"].pop(number)
    assert used - granted(objects) != set()


@pytest.mark.parametrize(
    "widened",
    [
        {"verbs": ["get", "list"]},
        {"resources": ["deployments", "replicasets"]},
        {"resourceNames": [""]},
    ],
    ids=["a verb", "a resource", "all names"],
)
def test_a_right_too_many_is_found(used, widened):
    """Whatever a rule gives beyond what the run needed is told."""
    objects = builds.built("deploy/overlays/minikube")
    builds.one(objects, "Role", "autoscaler")["rules"][0].update(widened)
    assert granted(objects) - used != set()

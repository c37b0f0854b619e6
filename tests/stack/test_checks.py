"""The checks can fail: each finds what was broken on purpose in an otherwise sound build."""

from copy import deepcopy

import kubernetes_validate
import pytest

from tests.stack import builds, checks, published, references
from tests.stack.builds import of, one

STACK, ROUTES = "deploy/overlays/minikube", "minikube, all"
MONITORS = "cluster, prometheus-operator"


def spec(objects, deployment="gateway"):
    """Return the pods' spec of a Deployment."""
    return one(objects, "Deployment", deployment)["spec"]["template"]["spec"]


def policy(objects, name):
    """Return the spec of a NetworkPolicy."""
    return one(objects, "NetworkPolicy", name)["spec"]


def remove(objects, kind, name):
    """Take an object out."""
    objects.remove(one(objects, kind, name))


BREAKS = {
    "a label of an object is gone": (
        checks.unlabelled,
        lambda o: one(o, "Service", "gateway")["metadata"]["labels"].popitem(),
    ),
    "a label of pods is gone": (
        checks.unlabelled,
        lambda o: one(o, "Deployment", "gateway")["spec"]["template"]["metadata"]["labels"].pop(
            "app.kubernetes.io/part-of"
        ),
    ),
    "an object is there twice": (
        checks.repeated,
        lambda o: o.append(deepcopy(one(o, "Service", "gateway"))),
    ),
    "an object has no namespace": (
        checks.outside_a_namespace,
        lambda o: one(o, "Service", "gateway")["metadata"].pop("namespace"),
    ),
    "a Deployment selects another's pods": (
        checks.crossed_selectors,
        lambda o: one(o, "Deployment", "gateway")["spec"].update(
            selector={"matchLabels": {"app.kubernetes.io/name": "ollama"}}
        ),
    ),
    "a Deployment selects everybody's pods": (
        checks.crossed_selectors,
        lambda o: one(o, "Deployment", "gateway")["spec"].update(
            selector={"matchLabels": {"app.kubernetes.io/part-of": "ollama-stack"}}
        ),
    ),
    "a disruption budget protects nobody": (
        checks.crossed_selectors,
        lambda o: one(o, "PodDisruptionBudget", "ollama")["spec"].update(
            selector={"matchLabels": {"app.kubernetes.io/name": "llama"}}
        ),
    ),
    "a Service selects nothing": (
        checks.idle_services,
        lambda o: one(o, "Service", "gateway")["spec"].update(selector={"app": "gateway"}),
    ),
    "a Service has no selector": (
        checks.idle_services,
        lambda o: one(o, "Service", "gateway")["spec"].pop("selector"),
    ),
    "a Service names a port that the pods lack": (
        checks.idle_services,
        lambda o: one(o, "Service", "gateway")["spec"]["ports"][0].update(targetPort="https"),
    ),
    "a policy binds no pod": (
        checks.idle_policies,
        lambda o: policy(o, "gateway").update(podSelector={"matchLabels": {"app": "gateway"}}),
    ),
    "a policy's neighbour is gone": (
        checks.idle_policies,
        lambda o: remove(o, "Deployment", "open-webui"),
    ),
    "a policy opens a port that is not there": (
        checks.idle_policies,
        lambda o: policy(o, "gateway")["ingress"][0]["ports"][0].update(port=80),
    ),
    "a policy's rules do not count": (
        checks.idle_policies,
        lambda o: policy(o, "gateway").update(policyTypes=["Ingress"]),
    ),
    "nothing is denied any more": (
        checks.open_pods,
        lambda o: [o.remove(each) for each in of(o, "NetworkPolicy")],
    ),
    "one direction is open": (
        checks.open_pods,
        lambda o: [each["spec"].update(policyTypes=["Ingress"]) for each in of(o, "NetworkPolicy")],
    ),
    "a door is closed for one who calls": (
        checks.one_sided_paths,
        lambda o: policy(o, "gateway")["ingress"].pop(0),
    ),
    "a door is open for one who may not call": (
        checks.one_sided_paths,
        lambda o: policy(o, "open-webui").pop("egress"),
    ),
    "a ConfigMap is gone": (
        references.dangling,
        lambda o: remove(o, "ConfigMap", "gateway-config"),
    ),
    "a volume claim is gone": (
        references.dangling,
        lambda o: remove(o, "PersistentVolumeClaim", "grafana-data"),
    ),
    "a ServiceAccount is gone": (
        references.dangling,
        lambda o: remove(o, "ServiceAccount", "autoscaler"),
    ),
    "a role is gone": (
        references.dangling,
        lambda o: remove(o, "Role", "autoscaler"),
    ),
    "a binding is for another namespace": (
        references.dangling,
        lambda o: one(o, "RoleBinding", "autoscaler")["subjects"][0].update(namespace="default"),
    ),
    "a Secret is nowhere explained": (
        references.dangling,
        lambda o: spec(o)["containers"][0].update(envFrom=[{"secretRef": {"name": "unheard-of"}}]),
    ),
    "a key is not in its ConfigMap": (
        references.dangling,
        lambda o: one(o, "ConfigMap", "prometheus-config")["data"].popitem(),
    ),
    "a ConfigMap is left over": (
        references.unused,
        lambda o: remove(o, "Deployment", "grafana"),
    ),
    "a mount has no volume": (
        references.crossed_volumes,
        lambda o: spec(o)["volumes"].pop(0),
    ),
    "a volume is mounted by nobody": (
        references.crossed_volumes,
        lambda o: spec(o)["volumes"].append({"name": "idle", "emptyDir": {}}),
    ),
    "a script is not in its ConfigMap": (
        references.missing_files,
        lambda o: one(o, "ConfigMap", "ollama-scripts")["data"].pop("drain.sh"),
    ),
    "a variable names a host that is not there": (
        references.unknown_addresses,
        lambda o: spec(o, "open-webui")["containers"][0]["env"].append(
            {"name": "X", "value": "http://gatewy:8080"}
        ),
    ),
    "a variable names a port that is not there": (
        references.unknown_addresses,
        lambda o: spec(o, "open-webui")["containers"][0]["env"].append(
            {"name": "X", "value": "http://gateway:8081"}
        ),
    ),
    "a variable forgets the port": (
        references.unknown_addresses,
        lambda o: spec(o, "open-webui")["containers"][0]["env"].append(
            {"name": "X", "value": "http://gateway"}
        ),
    ),
    "a file names a Service of another namespace": (
        references.unknown_addresses,
        lambda o: one(o, "ConfigMap", "gateway-config")["data"].update(
            x="dns ollama.default.svc.cluster.local"
        ),
    ),
    "an image has no tag": (
        checks.untagged,
        lambda o: spec(o)["containers"][0].update(image="registry.example.com:5000/haproxy"),
    ),
    "an image is the latest": (
        checks.untagged,
        lambda o: spec(o)["initContainers"][0].update(image="coredns/coredns:latest"),
    ),
    "a namespace admits any pod": (
        checks.unguarded_namespaces,
        lambda o: one(o, "Namespace", "llm")["metadata"]["labels"].pop(
            "pod-security.kubernetes.io/enforce"
        ),
    ),
    "a sidecar has no probe": (
        checks.unprobed,
        lambda o: spec(o)["initContainers"][0].pop("livenessProbe"),
    ),
    "a container has no limit": (
        checks.unlimited,
        lambda o: spec(o)["containers"][0]["resources"]["limits"].pop("memory"),
    ),
    "a container may write to its image": (
        checks.unconfined,
        lambda o: spec(o)["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    "a container keeps capabilities": (
        checks.unconfined,
        lambda o: spec(o)["containers"][0]["securityContext"].pop("capabilities"),
    ),
    "a container may gain privileges": (
        checks.unconfined,
        lambda o: spec(o)["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    ),
    "a container's user is left to the image": (
        checks.unconfined,
        lambda o: spec(o)["containers"][0]["securityContext"].pop("runAsUser"),
    ),
    "a pod may run as root": (
        checks.unconfined,
        lambda o: spec(o)["securityContext"].pop("runAsNonRoot"),
    ),
    "a pod may call anything of the kernel": (
        checks.unconfined,
        lambda o: spec(o)["securityContext"].pop("seccompProfile"),
    ),
    "a pod is on the node's network": (
        checks.unconfined,
        lambda o: spec(o).update(hostNetwork=True),
    ),
    "a pod sees a folder of the node": (
        checks.unconfined,
        lambda o: spec(o)["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
    ),
    "a pod has a token for nothing": (
        checks.unconfined,
        lambda o: spec(o, "open-webui").pop("automountServiceAccountToken"),
    ),
    "a pod has rights without a token": (
        checks.unconfined,
        lambda o: spec(o, "autoscaler").update(automountServiceAccountToken=False),
    ),
}


@pytest.mark.parametrize(("check", "breaks"), BREAKS.values(), ids=BREAKS)
def test_a_check_finds_what_is_broken(check, breaks):
    """What it did not say of the sound build, it says of the broken one."""
    sound, broken = builds.built(STACK), builds.built(STACK)
    breaks(broken)
    assert set(check(broken)) - set(check(sound))


@pytest.mark.parametrize(
    ("whole", "kind", "name"),
    [
        (ROUTES, "Ingress", "chat"),
        (ROUTES, "HTTPRoute", "chat"),
        (MONITORS, "ServiceMonitor", "gateway"),
    ],
)
def test_a_route_to_nowhere_is_found(whole, kind, name):
    """Its Service, or the port of its Service, is not there."""
    objects = builds.built(whole)
    assert references.wrong_backends(objects) == []
    for service in of(objects, "Service"):
        for port in service["spec"]["ports"]:
            port |= {"name": "other", "port": 1}
    assert any(found.startswith(f"{kind}/{name}:") for found in references.wrong_backends(objects))


def test_every_check_was_seen_to_fail():
    """A new check comes with something that it finds."""
    seen = {check for check, _ in BREAKS.values()} | {references.wrong_backends}
    assert seen == set(checks.CHECKS)


def test_an_unknown_field_of_kubernetes_is_found():
    """The schemas are strict."""
    gateway = one(builds.built(STACK), "Deployment", "gateway")
    gateway["spec"]["template"]["spec"]["containers"][0]["imagePullpolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError, match="imagePullpolicy"):
        kubernetes_validate.validate(gateway, "1.37", strict=True)


def test_an_unknown_field_of_a_custom_resource_is_found(tmp_path):
    """The published types are strict."""
    monitor = one(builds.built(MONITORS), "ServiceMonitor", "gateway")
    monitor["spec"]["endpoints"][0]["intervall"] = "1s"
    (found,) = published.findings([monitor], tmp_path)
    assert "intervall" in found


def test_an_impossible_value_of_a_custom_resource_is_found(tmp_path):
    """The published validators know what a duration is."""
    monitor = one(builds.built(MONITORS), "ServiceMonitor", "gateway")
    monitor["spec"]["endpoints"][0]["interval"] = "1 second"
    (found,) = published.findings([monitor], tmp_path)
    assert "interval" in found

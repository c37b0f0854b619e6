"""What must hold for everything that kustomize builds here.

Each check takes the objects of one build and returns what it finds, a line each; none is good.
Those of what objects say of one another are in references.py.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.stack.builds import Object, Template, name_of, of, templates
from tests.stack.references import (
    crossed_volumes,
    dangling,
    missing_files,
    unknown_addresses,
    unused,
    wrong_backends,
)

LABELS = ("name", "component", "part-of")
VOLUMES = {"configMap", "secret", "emptyDir", "projected", "persistentVolumeClaim", "downwardAPI"}
"""The kinds of volume that show a pod nothing of its node."""


# --- names and labels ---------------------------------------------------------------------------


def unlabelled(objects: Sequence[Object]) -> list[str]:
    """Find objects and pods without the common labels."""
    labelled = [(name_of(obj), obj["metadata"].get("labels") or {}) for obj in objects]
    labelled += [(f"pods of {pods.name}", pods.labels) for pods in templates(objects)]
    return [
        f"{name}: no {label}"
        for name, labels in labelled
        for label in (f"app.kubernetes.io/{label}" for label in LABELS)
        if not labels.get(label)
    ]


def repeated(objects: Sequence[Object]) -> list[str]:
    """Find objects that the API server would take for one and the same."""
    identities = Counter(
        (
            obj["apiVersion"].rpartition("/")[0],
            name_of(obj),
            obj["metadata"].get("namespace", ""),
        )
        for obj in objects
    )
    return [f"{name}: {count} times" for (_, name, _), count in identities.items() if count > 1]


def outside_a_namespace(objects: Sequence[Object]) -> list[str]:
    """Find objects that would land in whichever namespace a person happens to use."""
    clusterwide = {"Namespace", "ClusterRole", "ClusterRoleBinding", "PersistentVolume"}
    return [
        name_of(obj)
        for obj in objects
        if obj["kind"] not in clusterwide and not obj["metadata"].get("namespace")
    ]


# --- selectors ----------------------------------------------------------------------------------


def crossed_selectors(objects: Sequence[Object]) -> list[str]:
    """Find workloads and disruption budgets whose selector misses their pods or meets others'."""
    return [
        f"{name_of(obj)}: selects {sorted(met) or 'nothing'}"
        for obj in objects
        if "selector" in (obj.get("spec") or {})
        if obj["kind"] in {"Deployment", "PodDisruptionBudget"}
        for met in [{pods.name for pods in _selected(objects, obj, obj["spec"]["selector"])}]
        if len(met) != 1 or (obj["kind"] == "Deployment" and met != {name_of(obj)})
    ]


def _selected(objects: Sequence[Object], by: Object, selector: Object) -> list[Template]:
    return [
        pods
        for pods in templates(objects)
        if pods.namespace == by["metadata"].get("namespace", "") and pods.matches(selector)
    ]


def idle_services(objects: Sequence[Object]) -> Iterator[str]:
    """Find Services without pods, and ports that their pods do not have."""
    for service in of(objects, "Service"):
        met = _selected(objects, service, {"matchLabels": service["spec"].get("selector")})
        if not met or not service["spec"].get("selector"):
            yield f"{name_of(service)}: selects nothing"
        for port in service["spec"]["ports"]:
            wanted = port.get("targetPort", port["port"])
            yield from (
                f"{name_of(service)}: {pods.name} has no port {wanted}"
                for pods in met
                if not _ports(pods, wanted)
            )


class Port(NamedTuple):
    """One port of a pod."""

    protocol: str
    number: int


def _ports(pods: Template, wanted: str | int, protocol: str = "TCP") -> set[Port]:
    """Return the declared ports of this name or number."""
    return {
        Port(protocol, port["containerPort"])
        for container in pods.served
        for port in container.get("ports", ())
        if wanted in {port.get("name"), port["containerPort"]}
        if port.get("protocol", "TCP") == protocol
    }


# --- who may talk to whom -----------------------------------------------------------------------


def idle_policies(objects: Sequence[Object]) -> Iterator[str]:
    """Find policies, and neighbours in them, that meet no pod; and ports that no such pod has."""
    for policy in of(objects, "NetworkPolicy"):
        spec = policy["spec"]
        bound = _selected(objects, policy, spec["podSelector"])
        if not bound:
            yield f"{name_of(policy)}: binds no pod"
        for direction, side in (("ingress", "from"), ("egress", "to")):
            if spec.get(direction) and direction.title() not in spec.get("policyTypes", ()):
                yield f"{name_of(policy)}: {direction} without its policyType"
            for rule in spec.get(direction) or ():
                peers = [_selected(objects, policy, one) for one in _neighbours(rule, side)]
                if not all(peers):
                    yield f"{name_of(policy)}: a neighbour in {direction} is no pod"
                targets = (
                    bound if direction == "ingress" else [pod for each in peers for pod in each]
                )
                yield from (
                    f"{name_of(policy)}: {pods.name} has no port {port['port']}"
                    for port in rule.get("ports") or ()
                    for pods in targets
                    if not _ports(pods, port["port"], port.get("protocol", "TCP"))
                )


def _neighbours(rule: Object, side: str) -> list[Object]:
    """Return the selectors of a rule's neighbours in the same namespace."""
    return [
        peer["podSelector"]
        for peer in rule.get(side) or ()
        if "podSelector" in peer and "namespaceSelector" not in peer
    ]


def open_pods(objects: Sequence[Object]) -> list[str]:
    """Find pods that may talk or be talked to without a policy that says so."""
    closed = {
        (pods.name, direction)
        for policy in of(objects, "NetworkPolicy")
        for pods in _selected(objects, policy, policy["spec"]["podSelector"])
        for direction in policy["spec"].get("policyTypes", ())
    }
    return [
        f"{pods.name}: {direction}"
        for pods in templates(objects)
        for direction in ("Ingress", "Egress")
        if (pods.name, direction) not in closed
    ]


def one_sided_paths(objects: Sequence[Object]) -> list[str]:
    """Find connections that one side's policies allow and the other side's do not."""
    allowed = {direction: _paths(objects, direction) for direction in ("ingress", "egress")}
    closed = [
        (path, direction)
        for direction, other in (("egress", "ingress"), ("ingress", "egress"))
        for path in allowed[other] - allowed[direction]
    ]
    return [
        f"{source} to {target}, port {port.number}: no {direction}"
        for (source, target, port), direction in sorted(closed)
    ]


def _paths(objects: Sequence[Object], direction: str) -> set[tuple[str, str, Port]]:
    """Return the connections between two pods that policies of this direction name."""
    side = "from" if direction == "ingress" else "to"
    paths = set()
    for policy in of(objects, "NetworkPolicy"):
        bound = _selected(objects, policy, policy["spec"]["podSelector"])
        for rule in policy["spec"].get(direction) or ():
            others = [
                pods
                for selector in _neighbours(rule, side)
                for pods in _selected(objects, policy, selector)
            ]
            sources, targets = (others, bound) if direction == "ingress" else (bound, others)
            paths |= {
                (source.name, target.name, found)
                for source in sources
                for target in targets
                for port in rule.get("ports") or ()
                for found in _ports(target, port["port"], port.get("protocol", "TCP"))
            }
    return paths


# --- pods ---------------------------------------------------------------------------------------


def untagged(objects: Sequence[Object]) -> list[str]:
    """Find images whose content is left to the day on which they are fetched."""
    return [
        f"{pods.name}: {container['image']}"
        for pods in templates(objects)
        for container in pods.containers
        for tag in [container["image"].rpartition("/")[2].partition(":")[2]]
        if not tag or tag == "latest"
    ]


def unguarded_namespaces(objects: Sequence[Object]) -> list[str]:
    """Find namespaces in which the API server would admit any pod."""
    label = "pod-security.kubernetes.io/enforce"
    return [
        name_of(obj)
        for obj in of(objects, "Namespace")
        if obj["metadata"].get("labels", {}).get(label) != "restricted"
    ]


def unprobed(objects: Sequence[Object]) -> list[str]:
    """Find containers that serve and cannot be told apart from dead ones."""
    return [
        f"{pods.name}, {container['name']}: no {probe}"
        for pods in templates(objects)
        if pods.owner["kind"] == "Deployment"
        for container in pods.served
        for probe in ("readinessProbe", "livenessProbe")
        if not container.get(probe)
    ]


def unlimited(objects: Sequence[Object]) -> list[str]:
    """Find containers that do not say what they need, or may take what others need."""
    return [
        f"{pods.name}, {container['name']}: no {resource} in {part}"
        for pods in templates(objects)
        for container in pods.containers
        for part in ("requests", "limits")
        for resource in ("cpu", "memory")
        if not container.get("resources", {}).get(part, {}).get(resource)
    ]


def unconfined(objects: Sequence[Object]) -> Iterator[str]:
    """Find pods that may do more than a plain process of a plain user."""
    bound = {
        subject["name"]
        for binding in of(objects, "RoleBinding", "ClusterRoleBinding")
        for subject in binding["subjects"]
    }
    for pods in templates(objects):
        pod = pods.spec.get("securityContext", {})
        if pod.get("runAsNonRoot") is not True:
            yield f"{pods.name}: may run as root"
        if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pods.name}: any system call"
        for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pods.spec.get(field):
                yield f"{pods.name}: {field}"
        for volume in pods.spec.get("volumes", ()):
            if not set(volume) - {"name"} <= VOLUMES:
                yield f"{pods.name}: volume {volume['name']} shows something of the node"
        if not _token_fits(pods, bound):
            yield f"{pods.name}: token and rights do not go together"
        for container in pods.containers:
            yield from (
                f"{pods.name}, {container['name']}: {finding}"
                for finding in _unconfined_container(container.get("securityContext", {}), pod)
            )


def _token_fits(pods: Template, bound: set[str]) -> bool:
    """Tell whether a pod has the token of its ServiceAccount just where that has rights."""
    account = pods.spec.get("serviceAccountName", "default")
    projected = any(
        "serviceAccountToken" in source
        for volume in pods.spec.get("volumes", ())
        for source in volume.get("projected", {}).get("sources", ())
    )
    mounted = pods.spec.get("automountServiceAccountToken", True)
    return (mounted or projected) is (account in bound)


def _unconfined_container(own: Mapping, pod: Mapping) -> Iterator[str]:
    if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "may write to its image"
    capabilities = own.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", ())) - {
        "NET_BIND_SERVICE"
    }:
        yield "has capabilities"
    # Images often name their user, and only a number can be told from root before the start.
    if not own.get("runAsUser", pod.get("runAsUser")):
        yield "has no number of its own for its user"
    if own.get("runAsNonRoot") is False:
        yield "may run as root"


CHECKS = (
    unlabelled,
    repeated,
    outside_a_namespace,
    crossed_selectors,
    idle_services,
    idle_policies,
    open_pods,
    one_sided_paths,
    dangling,
    unused,
    wrong_backends,
    crossed_volumes,
    missing_files,
    unknown_addresses,
    untagged,
    unguarded_namespaces,
    unprobed,
    unlimited,
    unconfined,
)

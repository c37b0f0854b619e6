"""The stack comes up by one `kubectl apply -k`."""

import time

import yaml

from tests.cluster.stack import OVERLAY, SHIPPED, eventually, quick_overlay

_OLLAMA = "Deployment/ollama spec.template.spec.containers.0.resources"
CHANGED = {
    "Deployment/grafana spec.replicas": (1, 0),
    f"{_OLLAMA}.limits.cpu": ("2", "300m"),
    f"{_OLLAMA}.limits.memory": ("4Gi", "512Mi"),
    f"{_OLLAMA}.requests.cpu": ("500m", "50m"),
    f"{_OLLAMA}.requests.memory": ("2Gi", "128Mi"),
}


def built(cluster, folder):
    """Build an overlay; returns each object by its kind and name."""
    text = cluster.kubectl("kustomize", folder)
    return {
        f"{thing['kind']}/{thing['metadata']['name']}": thing for thing in yaml.safe_load_all(text)
    }


def leaves(thing, place):
    """Find every value in an object, and where it stands."""
    if isinstance(thing, (dict, list)):
        inner = thing.items() if isinstance(thing, dict) else enumerate(thing)
        for key, value in inner:
            yield from leaves(value, f"{place}.{key}")
    else:
        yield place, thing


def test_the_overlay_changes_sizes_and_nothing_else(cluster, figures):
    """What is applied is the shipped overlay, but for sizes and for Grafana, which has no image."""
    shipped, ours = (
        dict(
            leaf for name, thing in built(cluster, folder).items() for leaf in _inside(name, thing)
        )
        for folder in (SHIPPED, OVERLAY)
    )
    changed = {
        place: (shipped.get(place), ours.get(place))
        for place in shipped.keys() | ours.keys()
        if shipped.get(place) != ours.get(place)
    }
    figures["values in the manifests"] = len(shipped)
    figures["changed"] = "; ".join(f"{p}: {old} -> {new}" for p, (old, new) in changed.items())
    assert changed == CHANGED


def _inside(name, thing):
    return ((f"{name} {place.removeprefix('.')}", value) for place, value in leaves(thing, ""))


def test_one_apply_brings_everything_up(cluster, stack, figures):
    """After one `kubectl apply -k` every pod becomes ready, and one replica becomes two."""
    began = time.time()
    stack.apply(OVERLAY if cluster.own else SHIPPED)
    stack.wait_ready(timeout_s=1800 if not cluster.own else 300)
    figures["all Deployments ready"] = f"{time.time() - began:.1f} s after apply"
    stack.wait_replicas(2, timeout_s=120)
    figures["two replicas ready"] = f"{time.time() - began:.1f} s after apply"
    models = eventually(
        "the Job is complete",
        lambda: [job for job in stack.get("jobs")["items"] if job["status"].get("succeeded")],
    )
    assert len(models) == 1
    restarts = {
        pod["metadata"]["name"]: status["restartCount"]
        for pod in stack.pods("app.kubernetes.io/part-of=ollama-stack")
        for status in pod["status"].get("containerStatuses", [])
    }
    figures["restarts"] = sum(restarts.values())
    assert not any(restarts.values()), restarts


def test_network_policies_are_accepted(cluster, stack, figures):
    """All NetworkPolicies of the stack are there; whether this cluster enforces any is told."""
    there = {one["metadata"]["name"] for one in stack.get("networkpolicies")["items"]}
    wanted = {
        name.partition("/")[2]
        for name in built(cluster, SHIPPED)
        if name.startswith("NetworkPolicy/")
    }
    figures["policies"] = len(there)
    figures["enforced"] = "no: the bridge plug-in knows none" if cluster.own else "unknown"
    assert wanted <= there


def test_the_operator_makes_times_shorter(cluster, stack, tmp_path, figures):
    """Another configuration is applied like the first one, and the daemon runs by it."""
    stack.apply(quick_overlay(tmp_path, OVERLAY if cluster.own else SHIPPED))
    for name in ("prometheus", "autoscaler"):
        stack.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s", timeout=95)
    took = eventually(
        "the daemon leads and runs every second",
        lambda: any(line.get("reason") for line in stack.log()),
    )
    assert took
    figures["replicas"] = stack.replicas()[0]

"""The stack comes up by one `kubectl apply -k`."""

import difflib
import time

import yaml

from tests.cluster.stack import OVERLAY, SHIPPED, eventually, quick_overlay

CHANGED = {
    "Deployment/grafana": ("-  replicas: 1", "+  replicas: 0"),
    "Deployment/ollama": (
        "-          cpu: 2",
        "-          memory: 4Gi",
        "+          cpu: 300m",
        "+          memory: 512Mi",
        "-          cpu: 500m",
        "-          memory: 2Gi",
        "+          cpu: 50m",
        "+          memory: 128Mi",
    ),
}


def built(cluster, folder):
    """Build an overlay; returns each object's YAML by its kind and name."""
    text = cluster.kubectl("kustomize", folder)
    return {
        f"{thing['kind']}/{thing['metadata']['name']}": yaml.dump(thing)
        for thing in yaml.safe_load_all(text)
    }


def test_the_overlay_changes_sizes_and_nothing_else(cluster, figures):
    """What is applied is the shipped overlay, but for sizes and for Grafana, which has no image."""
    shipped, ours = built(cluster, SHIPPED), built(cluster, OVERLAY)
    assert shipped.keys() == ours.keys()
    changed = {}
    for name, text in shipped.items():
        lines = list(difflib.ndiff(text.splitlines(), ours[name].splitlines()))
        if different := [line for line in lines if line[0] in "+-"]:
            changed[name] = different
    print("\n".join(f"{name}\n  " + "\n  ".join(lines) for name, lines in changed.items()))
    figures["objects"] = len(shipped)
    figures["changed"] = ", ".join(changed)
    found = {
        name: {(line[0], *line[1:].split()) for line in lines} for name, lines in changed.items()
    }
    told = {
        name: {(line[0], *line[1:].split()) for line in lines} for name, lines in CHANGED.items()
    }
    assert found == told


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
    stack.kubectl("rollout", "status", "deployment/autoscaler", "--timeout=90s", timeout=95)
    took = eventually(
        "the daemon leads and runs every second",
        lambda: any(line.get("reason") for line in stack.log()),
    )
    assert took
    figures["replicas"] = stack.replicas()[0]

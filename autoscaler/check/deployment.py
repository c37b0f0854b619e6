"""The Deployment as it is written: what cuts answers, and what works against the autoscaler."""

from collections.abc import Iterator
from datetime import timedelta

from autoscaler.adapters.kubernetes import Written
from autoscaler.check import findings
from autoscaler.check.cluster import could_not_look
from autoscaler.check.findings import Finding
from autoscaler.check.world import Checks
from autoscaler.duration import format_duration
from autoscaler.errors import ObserveError
from autoscaler.settings import TargetSettings

_LEAST_GRACE = timedelta(seconds=60)
"""Kubernetes gives 30 s where nobody says more; an answer often takes longer than a minute."""
_PATTERN = "as deploy/ollama/deployment.yaml does"


def read(target: TargetSettings, checks: Checks) -> Written | Finding:
    """Read it; what could not be looked at is told."""
    try:
        return checks.written()
    except ObserveError as error:
        return could_not_look(target, "the Deployment", error)


def look_at(target: TargetSettings, written: Written | Finding) -> Iterator[Finding]:
    """Look at annotations, pod template and strategy."""
    if isinstance(written, Finding):
        yield written
        return
    name = target.name
    for key, value in written.unknown_annotations.items():
        what = f"annotation {key} has a meaning that nobody knows: {value!r}"
        step = 'write ollama-autoscaler/paused: "true", "scale-up" or "scale-down"'
        yield findings.warning(name, what, step)
    yield from _limits(target, written)
    if not any(each.drains for each in written.containers):
        what = "no container has a preStop hook: a replica that goes cuts its answers"
        yield findings.warning(name, what, f"let preStop wait for running requests, {_PATTERN}")
    if written.grace < _LEAST_GRACE:
        what = f"terminationGracePeriodSeconds is {written.grace.total_seconds():.0f}"
        step = f"make it longer than the longest answer, {_PATTERN} (330)"
        longer = f"answers of more than {format_duration(written.grace)} are cut"
        yield findings.warning(name, f"{what}: {longer}", step)
    if not any(each.probed for each in written.containers):
        what = "no container has a readinessProbe: a replica counts before its model is loaded"
        yield findings.warning(name, what, f"let it ask /api/version, {_PATTERN}")
    if written.strategy == "Recreate":
        what = "strategy Recreate: each rollout ends all replicas before the first new one starts"
        yield findings.warning(name, what, "write strategy.type: RollingUpdate")
    if written.applied is not None:
        replicas, who = written.applied
        what = f"its manifest has replicas: {replicas}, which {who} writes back each time"
        yield findings.warning(name, what, "take `replicas` out of the manifest and apply it again")


def _limits(target: TargetSettings, written: Written) -> Iterator[Finding]:
    """Look for containers without the CPU limit that a query divides by."""
    if not any("limit" in metric.query for metric in target.metrics):
        return
    for container in (each.name for each in written.containers if each.cpu_limit is None):
        what = f"container {container} has no CPU limit, and a query divides by limits"
        yield findings.warning(target.name, what, "set resources.limits.cpu in the Deployment")

"""The rules that ship, and what a case of an alert is made of: values, and series of the stack.

A case gives series, one value each half minute, and is judged after 30 minutes; a slow one gives a
value each five minutes, and is judged after five hours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from tests.stack.builds import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
FILES = tuple(PROMETHEUS / "rules" / name for name in ("recording.yml", "alerts.yml"))
STEPS = 60
INTERVAL, AT = "30s", "30m"

A, B, C = (f"ollama-7d4b9c6f5d-{end}" for end in ("aaaaa", "bbbbb", "ccccc"))
TARGET = 'target="llm/ollama"'

Given = Mapping[str, str]


def groups() -> list[dict[str, Any]]:
    """Return the groups of both files, in the order in which they are loaded."""
    return [group for path in FILES for group in yaml.safe_load(path.read_text())["groups"]]


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return the rules of one kind, `alert` or `record`, by name."""
    return {rule[kind]: rule for group in groups() for rule in group["rules"] if kind in rule}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is given, and whether the alert fires."""

    alert: str
    when: str
    given: Given
    fires: Mapping[str, str] | None
    """The alert's labels but for name and severity; None: it keeps silent."""
    interval: str = INTERVAL
    at: str = AT


def fires(alert: str, when: str, given: Given, **labels: str) -> Case:
    """Say that the alert fires, with these labels."""
    return Case(alert=alert, when=when, given=given, fires=labels)


def silent(alert: str, when: str, given: Given) -> Case:
    """Say that the alert keeps silent."""
    return Case(alert=alert, when=when, given=given, fires=None)


def slowly(case: Case) -> Case:
    """Let five minutes pass from each value to the next."""
    return replace(case, interval="5m", at="5h")


# --- values -------------------------------------------------------------------------------------


def steady(value: float) -> str:
    """Write a value that does not change."""
    return f"{value}x{STEPS}"


def lately(before: float, after: float, minutes: float) -> str:
    """Write a value that has changed so many minutes ago."""
    last = int(2 * minutes)
    return f"{before}x{STEPS - last - 1} {after}x{last}"


def rising(per_step: float, begin: float = 0) -> str:
    """Write a counter."""
    return f"{begin}+{per_step}x{STEPS}"


def hung(minutes: float) -> str:
    """Write the time of the last decision, where that was so many minutes ago."""
    last = int(2 * minutes)
    return f"0+30x{STEPS - last} {30 * (STEPS - last)}x{last - 1}"


# --- series -------------------------------------------------------------------------------------


def up(job: str, value: str, instance: str = "a") -> Given:
    """Say whether a target could be scraped."""
    return {f'up{{job="{job}", instance="{instance}"}}': value}


def deployment(name: str, wanted: str, ready: str) -> Given:
    """Say how many replicas are wanted and ready."""
    labels = f'{{namespace="llm", deployment="{name}"}}'
    return {
        f"kube_deployment_spec_replicas{labels}": wanted,
        f"kube_deployment_status_replicas_ready{labels}": ready,
    }


def waiting(value: str) -> Given:
    """Say how many people wait in the gateway."""
    return {'haproxy_backend_current_queue{proxy="ollama"}': value}


def answers(ok: str, failed: str) -> Given:
    """Count the gateway's answers."""
    series = 'haproxy_frontend_http_responses_total{proxy="llm", code="%s"}'
    return {series % "2xx": ok, series % "5xx": failed}


def replicas(**cpu: str) -> Given:
    """Say how much CPU each ready replica has used; the scrape keeps the pod's own row alone."""
    found: dict[str, str] = {}
    for pod, value in zip((A, B, C), cpu.values(), strict=False):
        own = f'{{namespace="llm", pod="{pod}", container="", image="", id="/{pod}"}}'
        found[f"container_cpu_usage_seconds_total{own}"] = value
        found[f'kube_pod_status_ready{{namespace="llm", pod="{pod}", condition="true"}}'] = "1x60"
    return found | deployment("ollama", steady(len(cpu)), steady(len(cpu)))


def slots(*sessions: str) -> Given:
    """Say how many requests each of the gateway's slots has."""
    return {
        f'haproxy_server_current_sessions{{proxy="ollama", server="ollama{number}"}}': value
        for number, value in enumerate(sessions, start=1)
    }


def restarts(pod: str, value: str, container: str = "ollama") -> Given:
    """Count the restarts of a container."""
    labels = f'{{namespace="llm", pod="{pod}", container="{container}"}}'
    return {f"kube_pod_container_status_restarts_total{labels}": value}


def ended(pod: str, reason: str) -> Given:
    """Say why a container ended the last time."""
    labels = f'{{namespace="llm", pod="{pod}", container="ollama", reason="{reason}"}}'
    return {f"kube_pod_container_status_last_terminated_reason{labels}": steady(1)}


def memory(pod: str, used: str) -> Given:
    """Say how much memory a pod uses, of 100 bytes."""
    return {
        f'container_memory_working_set_bytes{{namespace="llm", pod="{pod}", id="/p"}}': used,
        (
            "kube_pod_container_resource_limits"
            f'{{namespace="llm", pod="{pod}", container="ollama", resource="memory"}}'
        ): steady(100),
    }


def periods(pod: str, throttled: str) -> Given:
    """Count the time slices of a pod, 300 in half a minute, and those in which it was held back."""
    labels = f'{{namespace="llm", pod="{pod}", id="/p"}}'
    return {
        f"container_cpu_cfs_periods_total{labels}": rising(300),
        f"container_cpu_cfs_throttled_periods_total{labels}": throttled,
    }


def machine(used: str) -> Given:
    """Say how much of 100 bytes of memory a machine uses."""
    return {
        'container_memory_working_set_bytes{instance="minikube", id="/"}': used,
        'machine_memory_bytes{instance="minikube"}': steady(100),
    }


def disk(device: str, used: str) -> Given:
    """Say how much of 100 bytes of a disk are used."""
    labels = f'{{instance="minikube", device="{device}", id="/"}}'
    return {
        f"container_fs_usage_bytes{labels}": used,
        f"container_fs_limit_bytes{labels}": steady(100),
    }


def volume(left: str) -> Given:
    """Say how much of 100 bytes of a volume is left."""
    labels = '{namespace="llm", persistentvolumeclaim="open-webui-data"}'
    return {
        f"kubelet_volume_stats_available_bytes{labels}": left,
        f"kubelet_volume_stats_capacity_bytes{labels}": steady(100),
    }


def autoscaler(**values: str) -> Given:
    """Say what the autoscaler tells of its target."""
    return {f"autoscaler_{name}{{{TARGET}}}": value for name, value in values.items()}


def each_autoscaler(name: str, *values: str, of: str = "") -> Given:
    """Say what each of several autoscalers tells, of itself or of a target."""
    return {
        f'autoscaler_{name}{{instance="{number}"{of and ", "}{of}}}': value
        for number, value in enumerate(values)
    }


def paused(up: str, down: str) -> Given:
    """Say whether each direction is paused."""
    series = f'autoscaler_paused{{{TARGET}, direction="%s"}}'
    return {series % "up": up, series % "down": down}


def quality(**values: str) -> Given:
    """Say whether a metric is in each of these states."""
    series = f'autoscaler_metric_quality{{{TARGET}, metric="queue_depth", quality="%s"}}'
    return {series % state: value for state, value in values.items()}


def reason(name: str, value: str) -> Given:
    """Say whether this was the reason of the last decision."""
    return {f'autoscaler_decision_reason{{{TARGET}, reason="{name}"}}': value}


def given_back(value: str) -> Given:
    """Count how often replicas were given back."""
    labels = f'{TARGET}, outcome="scaled", reason="GivenBack"'
    return {f"autoscaler_cycles_total{{{labels}}}": value}


def failures(group: str, value: str) -> Given:
    """Count the evaluations of a group's rules that failed."""
    return {f'prometheus_rule_evaluation_failures_total{{rule_group="/a/b.yml;{group}"}}': value}

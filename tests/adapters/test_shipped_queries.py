"""The queries of the shipped configuration, evaluated by Prometheus' own unit tests."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.adapters.promql import check_query
from tests.adapters.prometheus_server import binary

CONFIG = Path(__file__).parents[2] / "config" / "autoscaler.yaml"
USAGE = "container_cpu_usage_seconds_total"
LIMIT = "kube_pod_container_resource_limits"
SESSIONS = "haproxy_backend_current_sessions"
POD = "ollama-7d4b9c6f5d-x7k2p"

# The truth: 1.5 of 2 CPUs. A scrape each 15 s, so 22.5 CPU seconds from one to the next.
BUSY = "0+22.5x40"

Series = Mapping[str, str]
"""Series in PromQL's notation to values in promtool's."""


def shipped(name: str) -> str:
    """Return a query of the shipped configuration."""
    config = yaml.safe_load(CONFIG.read_text())
    metrics = [metric for target in config["targets"] for metric in target["metrics"]]
    return str(next(metric["query"] for metric in metrics if metric["name"] == name))


def series(name: str, **labels: str) -> str:
    """Write a series."""
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def pod_cgroup(pod: str, values: str = BUSY) -> Series:
    """The row that both runtimes have: the pod as a whole."""
    labels = {"namespace": "llm", "pod": pod, "container": "", "image": "", "cpu": "total"}
    return {series(USAGE, **labels, id=f"/kubepods/{pod}"): values}


def containers(pod: str) -> Series:
    """The rows that only containerd has: the container, and the sandbox that holds the pod."""
    labels = {"namespace": "llm", "pod": pod, "cpu": "total"}
    return {
        series(USAGE, **labels, container="ollama", image="ollama/ollama:0.34", id="/1"): BUSY,
        series(USAGE, **labels, container="", image="registry.k8s.io/pause:3.10", id="/2"): "0x40",
    }


def limits(pod: str, instance: str = "ksm-a") -> Series:
    """What kube-state-metrics says: 2 CPUs, 4 GiB."""
    labels = {"namespace": "llm", "pod": pod, "container": "ollama", "instance": instance}
    return {
        series(LIMIT, **labels, resource="cpu", unit="core"): "2x40",
        series(LIMIT, **labels, resource="memory", unit="byte"): "4294967296x40",
    }


def others() -> Series:
    """Pods of the same namespace that are none of the Deployment's."""
    names = [
        "ollama-pull-x7k2p",
        "ollama-pull-29384650-x7k2p",
        "ollama-pull-7d4b9c6f5d-x7k2p",
        "ollama-gateway-7d4b9c6f5d-x7k2p",
        "open-webui-7d4b9c6f5d-x7k2p",
        "my-ollama-7d4b9c6f5d-x7k2p",
        "ollama-0",
    ]
    found: dict[str, str] = {}
    for name in names:
        found |= {**pod_cgroup(name), **limits(name)}
    return found


def elsewhere() -> Series:
    """The same pod name in another namespace."""
    found = {**pod_cgroup(POD), **limits(POD)}
    return {key.replace('"llm"', '"other"'): values for key, values in found.items()}


CONTAINERD = {**pod_cgroup(POD), **containers(POD), **limits(POD), **others(), **elsewhere()}
CRI_DOCKERD = {**pod_cgroup(POD), **limits(POD), **others(), **elsewhere()}


def evaluate(folder: Path, query: str, given: Series, expected: Mapping[str, float]) -> None:
    """Let promtool compare the answer after 5 minutes; `expected` maps label sets to values."""
    samples: Sequence[Mapping[str, Any]] = [
        {"labels": labels, "value": value} for labels, value in expected.items()
    ]
    test = {
        "interval": "15s",
        "input_series": [{"series": key, "values": values} for key, values in given.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "5m", "exp_samples": samples}],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [], "tests": [test]}))
    result = subprocess.run(
        [binary("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["queue_depth", "cpu_to_limit"])
def test_shipped_queries_pass_our_own_check(name: str) -> None:
    """What `autoscaler check` says of them is: nothing."""
    assert check_query(shipped(name)) is None


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(CONTAINERD, id="containerd"),
        pytest.param(CRI_DOCKERD, id="cri-dockerd"),
        pytest.param({**CONTAINERD, **limits(POD, "ksm-b")}, id="kube-state-metrics twice"),
    ],
)
def test_cpu_to_limit_is_the_truth_on_both_runtimes(given: Series, tmp_path: Path) -> None:
    """1.5 of 2 CPUs is 0.75, for the Deployment's pods and no others."""
    evaluate(tmp_path, shipped("cpu_to_limit"), given, {f'{{pod="{POD}"}}': 0.75})


def test_cpu_to_limit_adds_up_the_containers_of_a_pod(tmp_path: Path) -> None:
    """A sidecar's limit belongs to the pod, as its use does."""
    sidecar = series(LIMIT, namespace="llm", pod=POD, container="proxy", resource="cpu")
    given = {**CONTAINERD, sidecar: "1x40"}
    evaluate(tmp_path, shipped("cpu_to_limit"), given, {f'{{pod="{POD}"}}': 0.5})


def test_cpu_to_limit_lacks_a_pod_without_limit_or_use(tmp_path: Path) -> None:
    """Half of a ratio is none: the pod is missing, not zero."""
    other = POD.replace("x7k2p", "aaaaa")
    evaluate(tmp_path, shipped("cpu_to_limit"), {**pod_cgroup(POD), **limits(other)}, {})


def percent(use: str, limit: str) -> str:
    """Write CPU use over limit as it is usually written, with these matchers."""
    return (
        f'100 * sum by (pod) (rate({USAGE}{{namespace="llm", {use}}}[2m]))'
        f' / sum by (pod) ({LIMIT}{{namespace="llm", {limit}}})'
    )


NAME = 'pod=~"ollama-7.*"'
MISTAKES = {
    "all limits, memory among them": (
        percent(NAME, NAME),
        (300 / (2 + 4294967296), 150 / (2 + 4294967296)),
    ),
    "the CPU limit, but every row of use": (
        percent(NAME, f'{NAME}, resource="cpu"'),
        (150.0, 75.0),
    ),
    "the container's row": (
        percent('container="ollama"', 'container="ollama", resource="cpu"'),
        (75.0, None),
    ),
}
"""Query to the answers on containerd and on cri-dockerd, in percent; the truth is 75."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_queries_that_people_write_are_wrong_where_ours_is_not(
    mistake: str, tmp_path: Path
) -> None:
    """Wrong by nine orders of magnitude, double, or empty (in percent; the truth is 75)."""
    query, answers = MISTAKES[mistake]
    for given, answer in zip((CONTAINERD, CRI_DOCKERD), answers, strict=True):
        expected = {} if answer is None else {f'{{pod="{POD}"}}': answer}
        evaluate(tmp_path, query, given, expected)


def gateway(instance: str, **proxies: int) -> Series:
    """What HAProxy's exporter says of its proxies."""
    found: dict[str, str] = {}
    for proxy, sessions in proxies.items():
        found[series(SESSIONS, proxy=proxy, instance=instance)] = f"{sessions}x40"
        found[series(SESSIONS.replace("backend", "frontend"), proxy=proxy, instance=instance)] = (
            "99x40"
        )
    return found


def full(instance: str) -> str:
    """The place that the first request takes which finds no replica."""
    name = SESSIONS.replace("backend", "server")
    return series(name, proxy="ollama", server="full", instance=instance)


@pytest.mark.parametrize(
    ("given", "depth"),
    [
        pytest.param(gateway("a", ollama=5, metadata=7), {"{}": 5}, id="metadata does not count"),
        pytest.param(gateway("a", ollama=0, metadata=7), {"{}": 0}, id="a measured zero"),
        pytest.param(
            {**gateway("a", ollama=5), **gateway("b", ollama=2)}, {"{}": 7}, id="two gateways"
        ),
        pytest.param({**gateway("a", ollama=3), full("a"): "0x40"}, {"{}": 3}, id="none is held"),
        pytest.param(
            {
                **gateway("a", ollama=3),
                full("a"): "1x40",
                **gateway("b", ollama=5),
                full("b"): "1x40",
            },
            {"{}": 6},
            id="each gateway holds some, one of them twice",
        ),
        pytest.param(
            dict.fromkeys([*gateway("a", ollama=5), full("a")], "5x10 stale"),
            {},
            id="the scrape fails",
        ),
        pytest.param({}, {}, id="no gateway"),
    ],
)
def test_queue_depth_is_one_number_or_none(
    given: Series, depth: Mapping[str, float], tmp_path: Path
) -> None:
    """Requests in the system: one series, and none at all where no gateway is scraped."""
    evaluate(tmp_path, shipped("queue_depth"), given, depth)

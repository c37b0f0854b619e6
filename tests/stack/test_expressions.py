"""Every expression that ships, asked of a real Prometheus while a real stack runs under load.

What a sandbox cannot have is listed by name, and the list is kept honest.
"""

import re
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from autoscaler.adapters.promql import parse_query
from tests.stack.boards import BOARDS, expressions
from tests.stack.builds import ROOT
from tests.stack.rules import rules
from tests.stack.sandbox import answers

pytestmark = pytest.mark.timeout(300)  # the first test of each process waits for the run

ONLY_IN_A_CLUSTER = (
    # cAdvisor: the machine, and what a cgroup with a limit counts.
    'container_cpu_usage_seconds_total{id="/"}',
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_fs_limit_bytes",
    "container_fs_usage_bytes",
    "container_memory_working_set_bytes",
    "machine_cpu_cores",
    "machine_memory_bytes",
    # The kubelet: volumes.
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    # kube-state-metrics: Deployments other than ollama, Jobs, and what only a pod in trouble has.
    'kube_deployment_status_replicas_ready{deployment!~"ollama|gateway"}',
    'kube_pod_container_status_restarts_total{pod=~"ollama-models-.*"}',
    "kube_job_failed",
    "kube_pod_container_status_last_terminated_reason",
    "kube_pod_status_unschedulable",
    # The autoscaler: schedules, of which the shipped configuration has none.
    "autoscaler_schedule_active",
)
"""Selectors without data in the sandbox. One with further matchers is covered too, and so is
whatever a recording rule makes of it."""

VARIABLES = {
    "namespace": "llm",
    "deployment": "ollama",
    "target": "llm/ollama",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "5m",
}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_LABEL_VALUES = re.compile(r"label_values\((.+),\s*\w+\)", re.DOTALL)
ALERTS, RECORDS = rules("alert"), rules("record")


def filled(expression: str) -> str:
    """Put a value in the place of each of Grafana's variables; KeyError names an unknown one."""
    return _VARIABLE.sub(lambda found: VARIABLES[found[1] or found[2]], expression)


def of_dashboards() -> Iterator[tuple[str, str]]:
    """Find every panel's expression, and what variables choose from."""
    for name, board in BOARDS.items():
        for text in expressions(board):
            yield f"{name}.json", filled(_LABEL_VALUES.sub(r"\1", text))


def of_records() -> Iterator[tuple[str, str]]:
    """Find the expressions of recording rules, and the names that they record."""
    for name, rule in RECORDS.items():
        yield name, rule["expr"]
        yield name, name


def of_shipped_queries() -> Iterator[tuple[str, str]]:
    """Find the queries of the shipped configuration."""
    config = yaml.safe_load((ROOT / "config" / "autoscaler.yaml").read_text())
    for target in config["targets"]:
        yield from ((metric["name"], metric["query"]) for metric in target["metrics"])


def of_alerts() -> Iterator[tuple[str, str]]:
    """Find the selectors of alerts; a whole expression has data only when something is wrong."""
    for name, rule in ALERTS.items():
        for matchers in selectors(rule["expr"]):
            yield name, f"{{{','.join(sorted(matchers))}}}"


@cache
def selectors(expression: str) -> tuple[frozenset[str], ...]:
    """Return the matchers of each selector, the name among them."""
    return tuple(frozenset(one.matchers) for one in parse_query(expression).selectors)


@cache
def excuses(expression: str) -> frozenset[str]:
    """Return what of the list keeps an expression from having data."""
    found = {
        entry
        for entry in ONLY_IN_A_CLUSTER
        for matchers in selectors(expression)
        if selectors(entry)[0] <= matchers
    }
    for name, rule in RECORDS.items():
        if expression != name and any(f'__name__="{name}"' in m for m in selectors(expression)):
            found |= excuses(rule["expr"])
    return frozenset(found)


def _excused(expression: str) -> frozenset[str]:
    return excuses(RECORDS[expression]["expr"] if expression in RECORDS else expression)


EXPRESSIONS = tuple(
    dict.fromkeys([*of_dashboards(), *of_records(), *of_shipped_queries(), *of_alerts()])
)
"""Where it is written, and the expression."""
SHOWN = [one for one in EXPRESSIONS if not _excused(one[1])]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """What a run of the sandbox answers to all of them."""
    queries = dict.fromkeys([*(text for _, text in EXPRESSIONS), *ONLY_IN_A_CLUSTER])
    return answers(tmp_path_factory.getbasetemp(), list(queries))


@pytest.mark.parametrize(
    ("where", "expression"), SHOWN, ids=[f"{where}: {text[:60]}" for where, text in SHOWN]
)
def test_an_expression_has_data_under_load(where, expression, run):
    """No panel, rule or query asks for a name, a label or a value that is not there."""
    assert run["asked"][expression], f"{where}: {expression}"


@pytest.mark.parametrize("entry", ONLY_IN_A_CLUSTER)
def test_the_list_of_what_a_sandbox_lacks_is_true(entry, run):
    """An entry that has data here would hide mistakes."""
    assert not run["asked"][entry]


@pytest.mark.parametrize("entry", ONLY_IN_A_CLUSTER)
def test_the_list_of_what_a_sandbox_lacks_is_needed(entry):
    """An entry that nothing asks for any more goes away."""
    assert any(entry in _excused(text) for _, text in EXPRESSIONS)


@pytest.mark.parametrize("name", [*RECORDS, *ALERTS])
def test_prometheus_evaluates_every_rule(name, run):
    """None of them fails on real series, such as two that it cannot tell apart."""
    assert run["rules"][name] == "ok"

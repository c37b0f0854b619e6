"""The shipped scrape jobs, rules and queries, in a real Prometheus."""

import asyncio
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.sandbox.exporters import (
    DeploymentView,
    Exporters,
    Reading,
    cadvisor_page,
    state_page,
)
from autoscaler.sandbox.kube import PodView
from autoscaler.sandbox.monitoring import CONFIG, Monitoring, MonitoringSettings, render, write
from autoscaler.sandbox.processes import SandboxError
from autoscaler.sandbox.timescale import divide_query
from autoscaler.settings import load
from autoscaler.settings.yaml_file import read_yaml
from tests.sandbox.gateways import ANSWER, rig

SPEED = 15.0
JOBS = ("gateway", "autoscaler", "kube-state-metrics", "cadvisor")
POD = "ollama-5d8f7c9b4d-x2x7k"
QUERIES = {
    metric.name: metric.query
    for metric in load(Path("config/autoscaler.yaml"), {}).targets[0].metrics
}


def _settings(directory, targets=None, speed=1.0):
    targets = targets or dict.fromkeys(JOBS, "127.0.0.1:9")
    return MonitoringSettings(directory=directory, targets=targets, speed=speed)


def _pod(ip="127.77.0.1", **changes):
    known = {
        "namespace": "llm",
        "name": POD,
        "ip": ip,
        "phase": "Running",
        "ready": True,
        "deleting": False,
        "restarts": 0,
        "cpu_limit": "2",
        "created": datetime(2026, 11, 23, tzinfo=UTC),
    }
    return PodView(**(known | changes))


def _view(*pods):
    return DeploymentView(
        namespace="llm", name="ollama", replicas=len(pods), container="ollama", pods=pods
    )


@pytest.mark.parametrize("speed", [1.0, 11.25, 36.0])
def test_rendered_configuration_is_valid(tmp_path, speed):
    """Prometheus' own tool accepts what the sandbox makes of the shipped files, rules included."""
    path = write(_settings(tmp_path, speed=speed))
    told = subprocess.run(
        ["promtool", "check", "config", path], check=True, capture_output=True, text=True
    )
    assert "2 rule files found" in told.stdout


def test_rules_are_divided(tmp_path):
    """Ranges and waits are those of the simulated time, names and labels stay."""
    write(_settings(tmp_path, speed=10))
    shipped, here = _rules(CONFIG.parent), _rules(tmp_path)
    assert "[6s])" in here["pod:cpu_to_limit:rate1m"]["expr"]
    assert shipped["GatewayDown"]["for"] == "2m"
    assert here["GatewayDown"] == {**shipped["GatewayDown"], "for": "12s"}


def test_at_speed_1_only_the_way_to_the_targets_is_replaced(tmp_path):
    """Jobs, intervals, limits, paths, parameters and what is kept are the shipped ones."""
    shipped, rendered = read_yaml(CONFIG), render(_settings(tmp_path))
    ways = {"dns_sd_configs", "kubernetes_sd_configs", "static_configs"}
    ways |= {"relabel_configs", "scheme", "authorization", "tls_config"}
    common = {key: shipped["global"][key] for key in ("scrape_interval", "scrape_timeout")}
    jobs = [job for job in shipped["scrape_configs"] if job["job_name"] != "kubelet"]
    for old, new in zip(jobs, rendered["scrape_configs"], strict=True):
        expected = {**common, "metric_relabel_configs": [], **old}
        if old["job_name"] == "cadvisor":  # but for the namespace, which is the configuration's
            expected["metric_relabel_configs"] = [
                rule for rule in old["metric_relabel_configs"] if rule.get("regex") != "llm|"
            ]
            assert expected["metric_relabel_configs"] != old["metric_relabel_configs"]
        assert new.keys() - {"static_configs"} == expected.keys() - ways
        assert all(new[key] == expected[key] for key in expected.keys() - ways)
    assert rendered["rule_files"] == shipped["rule_files"]


def test_the_job_of_prometheus_itself_is_aimed_at_this_one(tmp_path):
    """Its rules are watched too, and it needs no target from outside."""
    settings = _settings(tmp_path)
    (job,) = [job for job in render(settings)["scrape_configs"] if job["job_name"] == "prometheus"]
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{settings.port}"]}]


def test_kube_state_metrics_tells_what_the_cluster_knows():
    """Phase, readiness, restarts and limits of each pod, and the Deployment's replicas."""
    page = state_page(_view(_pod(restarts=3), _pod(name="ollama-2", ready=False, phase="Pending")))
    seen = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            own = {"pod", "phase", "condition", "resource"} & sample.labels.keys()
            seen[sample.name, *sorted(sample.labels[key] for key in own)] = sample.value
    assert seen["kube_deployment_spec_replicas",] == 2
    assert seen["kube_deployment_status_replicas_ready",] == 1
    assert seen["kube_pod_container_status_restarts_total", POD] == 3
    assert seen["kube_pod_status_phase", "Running", POD] == 1
    assert seen["kube_pod_status_phase", "Pending", "ollama-2"] == 1
    assert seen["kube_pod_status_phase", "Running", "ollama-2"] == 0
    assert seen["kube_pod_status_ready", POD, "true"] == 1
    assert seen["kube_pod_container_resource_limits", "memory", POD] == 4 * 1024**3
    assert seen["kube_pod_container_resource_limits", "cpu", POD] == 2


def test_intervals_are_divided(tmp_path):
    """The gateway is scraped every 2 s of simulated time, the others every 15 s."""
    jobs = {job["job_name"]: job for job in render(_settings(tmp_path, speed=10))["scrape_configs"]}
    assert jobs["gateway"]["scrape_interval"] == "200ms"
    assert jobs["cadvisor"]["scrape_interval"] == "1s500ms"
    assert jobs["gateway"]["scrape_timeout"] == "200ms"


def test_job_without_a_target_is_refused(tmp_path):
    """A scrape job that nobody serves here would be silently empty."""
    with pytest.raises(SandboxError, match="scrape jobs"):
        render(_settings(tmp_path, targets={"gateway": "127.0.0.1:9"}))


async def test_jobs_are_up_and_the_shipped_queries_have_answers(tmp_path):
    """Unmodified and with divided ranges, both queries answer with the truth."""
    async with rig(tmp_path, replicas=1, speed=SPEED) as stack:
        view = _view(_pod(stack.addresses[0]))
        exporters = Exporters(lambda: view, stack.port, SPEED)
        await exporters.start()
        targets = {
            **dict.fromkeys(JOBS, exporters.address),
            "gateway": stack.gateway.stats_address,
        }
        monitoring = Monitoring(_settings(tmp_path, targets, SPEED))
        await monitoring.start()
        asked = [asyncio.create_task(_keep_asking(stack)) for _ in range(3)]
        try:
            await _until_up(monitoring, stack.session)
            for speed in (1.0, SPEED):
                depth = await _ask(monitoring, stack.session, "queue_depth", speed)
                ((series, requests),) = depth
                assert series["metric"] == {}
                assert 1 <= requests <= 3
                ((series, used),) = await _ask(monitoring, stack.session, "cpu_to_limit", speed)
                assert series["metric"] == {"pod": POD}
                assert 0 < used <= 1
        finally:
            for one in asked:
                one.cancel()
            await monitoring.stop()
            await exporters.stop()


async def test_data_outlives_a_stop(tmp_path):
    """A Prometheus that comes back still knows what it had scraped."""
    async with rig(tmp_path, replicas=0) as stack:
        targets = dict.fromkeys(JOBS, stack.gateway.stats_address)
        monitoring = Monitoring(_settings(tmp_path, targets, SPEED))
        await monitoring.start()
        await _until_up(monitoring, stack.session, jobs={"gateway"})
        await monitoring.stop()
        with pytest.raises(SandboxError, match="does not answer"):
            await monitoring.jobs_up(stack.session)
        await monitoring.start()
        counted = await _query(monitoring, stack.session, 'count_over_time(up{job="gateway"}[1m])')
        await monitoring.stop()
        assert float(counted[0]["value"][1]) >= 1


def test_cadvisor_shows_containerds_three_rows():
    """A pod is a row for its cgroup, one for the sandbox and one for the container, with a time."""
    reading = Reading(cpu_seconds=12.5, before=0.0, at=1_700_000_000.25, in_flight=1)
    rows = [
        line for line in cadvisor_page(_view(_pod()), {POD: reading}).splitlines() if POD in line
    ]
    assert len(rows) == 3
    assert 'container="",id="/kubepods' in rows[0]
    assert 'image=""' in rows[0]
    assert 'image="pause' in rows[1]
    assert 'container="ollama"' in rows[2]
    assert all(row.endswith(" 1700000000250") for row in rows)


def test_pod_keeps_counting_when_its_container_was_restarted():
    """The pod's own cgroup survives a crash of the container, so its counter does not fall."""
    reading = Reading(cpu_seconds=1.0, before=50.0, at=1.0, in_flight=0)
    pod, _, container = (
        float(line.split()[-2])
        for line in cadvisor_page(_view(_pod(restarts=1)), {POD: reading}).splitlines()
        if POD in line
    )
    assert (pod > 51.0, container) == (True, 1.0)


def _rules(folder):
    """Return the rules below a folder, by name."""
    files = [read_yaml(folder / "rules" / name) for name in ("alerts.yml", "recording.yml")]
    found = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {rule.get("alert", rule.get("record")): rule for rule in found}


async def _keep_asking(stack):
    while True:
        await stack.chat(ANSWER)


async def _until_up(monitoring, session, jobs=frozenset(JOBS)):
    async with asyncio.timeout(15):
        while True:
            up = await monitoring.jobs_up(session)
            if all(up[job] for job in jobs):
                return
            await asyncio.sleep(0.1)


async def _ask(monitoring, session, metric, speed):
    """Ask a shipped query until it has an answer: a rate needs two samples."""
    async with asyncio.timeout(15):
        while True:
            found = await _query(monitoring, session, divide_query(QUERIES[metric], speed))
            values = [(series, float(series["value"][1])) for series in found]
            if values and values[0][1] > 0:
                return values
            await asyncio.sleep(0.1)


async def _query(monitoring, session, query):
    url = f"{monitoring.url}/api/v1/query"
    async with session.get(url, params={"query": query}) as answer:
        return (await answer.json())["data"]["result"]

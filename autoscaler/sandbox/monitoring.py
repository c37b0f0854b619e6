"""The real Prometheus, with the cluster's rules, and its scrape jobs aimed at this machine."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from autoscaler.duration import format_duration, parse_duration
from autoscaler.sandbox.processes import (
    LOOPBACK,
    Child,
    Command,
    SandboxError,
    free_port,
    until_answers,
)
from autoscaler.sandbox.timescale import divide, divide_query
from autoscaler.settings.yaml_file import read_yaml

CONFIG = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"
# How the cluster's targets are found and reached; here they are plain ports on loopback.
_CLUSTER_ONLY = frozenset(
    {
        "static_configs", "dns_sd_configs", "kubernetes_sd_configs", "relabel_configs", "scheme",
        "authorization", "tls_config",
    }
)  # fmt: skip
_ITSELF = "prometheus"
"""The scrape job that is aimed at this very Prometheus."""
_LEFT_OUT = frozenset({"kubelet"})
"""Scrape jobs of what is not emulated: there are no volumes here."""
LOOK_BACK = "1m"
"""As in deploy/prometheus/deployment.yaml; a run at another speed has to divide it too."""
_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringSettings:
    """One Prometheus."""

    directory: Path
    """For its configuration, data and log."""
    targets: Mapping[str, str]
    """Scrape job to `host:port`."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Scrape job to a path, where it is not the cluster's."""
    speed: float = 1.0
    port: int = field(default_factory=free_port)
    config: Path = CONFIG


class Monitoring:
    """One Prometheus process; its data outlives a stop, as a volume would."""

    def __init__(self, settings: MonitoringSettings) -> None:
        """Remember what to run."""
        self._settings = settings
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self._settings.port}"

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises SandboxError."""
        settings = self._settings
        config = write(settings)
        self._child = child = await Child.start(
            Command(
                name="prometheus",
                argv=(
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={settings.directory / 'prometheus'}",
                    "--storage.tsdb.retention.time=1d",
                    f"--query.lookback-delta={divide(LOOK_BACK, settings.speed)}",
                    f"--web.listen-address={LOOPBACK}:{settings.port}",
                    "--log.level=warn",
                ),
                log=settings.directory / "prometheus.log",
            )
        )
        await until_answers(f"{self.url}/-/ready", child, _START_SECONDS)

    async def stop(self) -> None:
        """End it; safe to call twice."""
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def jobs_up(self, session: aiohttp.ClientSession) -> dict[str, bool]:
        """Tell of each scrape job whether all its targets were scraped. Raises SandboxError."""
        try:
            async with session.get(f"{self.url}/api/v1/targets?state=active") as answer:
                data = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SandboxError(f"prometheus does not answer at {self.url}: {error}") from error
        jobs: dict[str, bool] = dict.fromkeys(self._settings.targets, False)
        for target in data["data"]["activeTargets"]:
            jobs[target["labels"]["job"]] = target["health"] == "up"
        return jobs


def write(settings: MonitoringSettings) -> Path:
    """Write the rendered configuration and its rules; answers what to start Prometheus with.

    Raises SandboxError as `render` does.
    """
    rendered = render(settings)
    for name in rendered["rule_files"]:
        shipped = read_yaml(settings.config.parent / name)
        path = settings.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"groups": _groups(shipped["groups"], settings.speed)}))
    config = settings.directory / "prometheus.json"
    config.write_text(json.dumps(rendered, indent=2))
    return config


def render(settings: MonitoringSettings) -> dict[str, Any]:
    """Return the shipped configuration with this machine's targets and scaled intervals.

    Raises SandboxError where a scrape job has no target here or the other way round.
    """
    shipped = read_yaml(settings.config)
    scrape_jobs = [job for job in shipped["scrape_configs"] if job["job_name"] not in _LEFT_OUT]
    jobs = {job["job_name"] for job in scrape_jobs} - {_ITSELF}
    if jobs != set(settings.targets):
        raise SandboxError(
            f"{settings.config}: scrape jobs {sorted(jobs)}, must be {sorted(settings.targets)}"
        )
    whole = deepcopy(shipped["global"])
    common = {key: whole.pop(key) for key in ("scrape_interval", "scrape_timeout")}
    whole["evaluation_interval"] = divide(whole["evaluation_interval"], settings.speed)
    return {
        "global": whole,
        "rule_files": shipped["rule_files"],
        "scrape_configs": [_job({**common, **job}, settings) for job in scrape_jobs],
    }


def _groups(shipped: list[dict[str, Any]], speed: float) -> list[dict[str, Any]]:
    """Divide the ranges of expressions and how long an alert waits.

    A number in an expression stays, also one of seconds: only its author knows what it means.
    """
    return [
        {**group, "rules": [_rule(rule, speed) for rule in group["rules"]]} for group in shipped
    ]


def _rule(shipped: dict[str, Any], speed: float) -> dict[str, Any]:
    rule = {**shipped, "expr": divide_query(shipped["expr"], speed)}
    if "for" in rule:
        rule["for"] = divide(rule["for"], speed)
    return rule


def _job(shipped: Mapping[str, Any], settings: MonitoringSettings) -> dict[str, Any]:
    job = {key: value for key, value in shipped.items() if key not in _CLUSTER_ONLY}
    name = job["job_name"]
    job["scrape_interval"] = divide(job["scrape_interval"], settings.speed)
    # A time limit is not divided, but Prometheus wants it within the interval.
    limit: timedelta = min(map(parse_duration, (job["scrape_timeout"], job["scrape_interval"])))
    job["scrape_timeout"] = format_duration(limit)
    # No pods but the stack's run here, whatever its namespace is called.
    job["metric_relabel_configs"] = [
        rule
        for rule in shipped.get("metric_relabel_configs", ())
        if rule["source_labels"] != ["namespace"]
    ]
    if name in settings.paths:
        job["metrics_path"] = settings.paths[name]
    here = f"{LOOPBACK}:{settings.port}" if name == _ITSELF else settings.targets[name]
    job["static_configs"] = [{"targets": [here]}]
    return job

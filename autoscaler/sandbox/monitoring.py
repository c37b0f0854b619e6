"""The real Prometheus, with the cluster's scrape jobs aimed at this machine."""

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
from autoscaler.sandbox.timescale import divide
from autoscaler.settings.yaml_file import read_yaml

CONFIG = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"
# How the cluster's targets are found and reached; here they are plain ports on loopback.
_CLUSTER_ONLY = frozenset(
    {
        "static_configs", "dns_sd_configs", "kubernetes_sd_configs", "scheme", "authorization",
        "tls_config",
    }
)  # fmt: skip
_LOOK_BACK = "5m"
"""Prometheus' own default, which a run at another speed has to divide too."""
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
        config = settings.directory / "prometheus.json"
        config.write_text(json.dumps(render(settings), indent=2))
        self._child = child = await Child.start(
            Command(
                name="prometheus",
                argv=(
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={settings.directory / 'prometheus'}",
                    "--storage.tsdb.retention.time=1d",
                    f"--query.lookback-delta={divide(_LOOK_BACK, settings.speed)}",
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


def render(settings: MonitoringSettings) -> dict[str, Any]:
    """Return the shipped configuration with this machine's targets and scaled intervals.

    Raises SandboxError where a scrape job has no target here or the other way round.
    """
    shipped = read_yaml(settings.config)
    jobs = [job["job_name"] for job in shipped["scrape_configs"]]
    if set(jobs) != set(settings.targets):
        raise SandboxError(
            f"{settings.config}: scrape jobs {sorted(jobs)}, must be {sorted(settings.targets)}"
        )
    whole = deepcopy(shipped["global"])
    common = {key: whole.pop(key) for key in ("scrape_interval", "scrape_timeout")}
    whole["evaluation_interval"] = divide(whole["evaluation_interval"], settings.speed)
    return {
        "global": whole,
        "scrape_configs": [_job({**common, **job}, settings) for job in shipped["scrape_configs"]],
    }


def _job(shipped: Mapping[str, Any], settings: MonitoringSettings) -> dict[str, Any]:
    job = {key: value for key, value in shipped.items() if key not in _CLUSTER_ONLY}
    name = job["job_name"]
    job["scrape_interval"] = divide(job["scrape_interval"], settings.speed)
    # A time limit is not divided, but Prometheus wants it within the interval.
    limit: timedelta = min(map(parse_duration, (job["scrape_timeout"], job["scrape_interval"])))
    job["scrape_timeout"] = format_duration(limit)
    if name in settings.paths:
        job["metrics_path"] = settings.paths[name]
    job["static_configs"] = [{"targets": [settings.targets[name]]}]
    return job

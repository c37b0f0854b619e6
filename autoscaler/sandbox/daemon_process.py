"""The daemon as a process of its own: `autoscaler run` with the shipped configuration."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoscaler.decision.words import Mode
from autoscaler.sandbox.processes import LOOPBACK, Child, Command, until_answers
from autoscaler.sandbox.timescale import Difference, differences, divide_config
from autoscaler.settings import Settings

_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
# Part of the settings that the run gives by the environment, in files of its own.
_SCALED_SECTIONS = ("interval", "targets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are on this machine."""

    prometheus: str
    statistics: str
    """The gateway's, as the daemon's configuration names them."""
    kubeconfig: Path
    port: int
    records: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the daemon is started with."""

    config: Path
    """The shipped file, or a copy with every duration divided."""
    environment: Mapping[str, str]
    """The overrides: where things are on this machine."""
    places: Places
    differences: tuple[Difference, ...]
    """What the copy changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the run changes in the configuration."""

    speed: float = 1.0
    mode: Mode | None = None
    """Of every target; None: as the file has it."""


def plan(
    shipped: Path, settings: Settings, changes: Changes, places: Places, directory: Path
) -> Plan:
    """Write what the daemon reads. Where nothing changes that is the shipped file itself."""
    changed: tuple[Difference, ...] = ()
    config = shipped
    if changes != Changes():
        whole = settings.model_dump(mode="json")
        before = {key: whole[key] for key in _SCALED_SECTIONS}
        after = _with_mode(divide_config(before, changes.speed), changes.mode)
        changed = tuple(differences(before, after))
        config = directory / "autoscaler.yaml"
        # JSON is YAML; whatever is not a duration goes over as it is.
        rest = {key: value for key, value in whole.items() if key not in _SCALED_SECTIONS}
        config.write_text(json.dumps({**rest, **_mapping(after)}, indent=2) + "\n")
    return Plan(config=config, environment=_environment(places), places=places, differences=changed)


def command(plan: Plan, directory: Path) -> Command:
    """Return what to start."""
    return Command(
        name="autoscaler run",
        argv=(sys.executable, "-m", "autoscaler", "run", "--config", str(plan.config)),
        environment=plan.environment,
        log=directory / "daemon.log",
    )


async def start(plan: Plan, directory: Path, port: int) -> Child:
    """Start the daemon and wait until it serves. Raises SandboxError."""
    child = await Child.start(command(plan, directory))
    await until_answers(f"http://{LOOPBACK}:{port}/readyz", child, _START_SECONDS)
    return child


async def stop(child: Child) -> int:
    """Let it finish its cycle; answers its exit code."""
    return await child.stop(within_s=_STOP_SECONDS)


def _environment(places: Places) -> dict[str, str]:
    return {
        "AUTOSCALER_PROMETHEUS__URL": places.prometheus,
        "AUTOSCALER_GATEWAY__STATS_URL": places.statistics,
        "AUTOSCALER_KUBERNETES__KUBECONFIG": str(places.kubeconfig),
        # The first daemon of a cluster waits so long for another one that might lead.
        "AUTOSCALER_KUBERNETES__TIMEOUT": "2s",
        "AUTOSCALER_LEADERSHIP__DURATION": "6s",
        "AUTOSCALER_HTTP__HOST": LOOPBACK,
        "AUTOSCALER_HTTP__PORT": str(places.port),
        "AUTOSCALER_RECORDS__PATH": str(places.records),
        "AUTOSCALER_RECORDS__MAX_SIZE": "10Gi",  # a run is one file
        "AUTOSCALER_LOG__FORMAT": "json",
    }


def _with_mode(config: object, mode: Mode | None) -> object:
    sections = _mapping(config)
    targets = sections.get("targets")
    if mode is None or not isinstance(targets, list):
        return config
    return {**sections, "targets": [{**target, "mode": str(mode)} for target in targets]}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}

"""`autoscaler check`: looks at all that a cycle needs, and says what to do where it is missing.

configuration   files, port, intervals and windows
queries         the queries as they are written
cluster         the target, pauses, rights, other scalers
deployment      the Deployment as it is written
gateway         its servers, and whether they fit the target
metrics         what each query is answered, and how often there is something new
findings        what is said of each
world           what there is to look at

docs/mistakes.md lists what it finds.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from autoscaler.check import cluster, configuration, deployment, gateway, metrics, queries
from autoscaler.check.findings import Finding, Severity
from autoscaler.check.world import LeaseProbe, Probe, World
from autoscaler.settings import Settings, TargetSettings

__all__ = ["Finding", "LeaseProbe", "Probe", "Severity", "World", "check"]

_SIDE_BY_SIDE = 8
"""Targets that are looked at at a time: most of the time is waiting for answers."""


def check(settings: Settings, world: World | None = None) -> tuple[Finding, ...]:
    """Look at everything; without a world at the configuration, its files and queries only."""
    return tuple(_findings(settings, world))


def _findings(settings: Settings, world: World | None) -> Iterator[Finding]:
    files = list(configuration.look_at_files(settings))
    yield from files
    if world is None:
        for target in settings.targets:
            yield from _offline(settings, target)
        return
    yield from configuration.look_at_port(settings)
    yield from cluster.look_at_lease(settings, world)
    answers = True
    for finding in metrics.look_at_prometheus(settings, world):
        answers = False
        if not any(each.where.startswith("prometheus.") for each in files):
            yield finding
    look = partial(_look, settings, world, answers=answers)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for found in pool.map(look, settings.targets):
            yield from found


def _offline(settings: Settings, target: TargetSettings) -> Iterator[Finding]:
    yield configuration.tell_policy(target)
    yield from configuration.look_at_windows(settings, target)
    yield from queries.look_at(settings, target)


def _look(
    settings: Settings, world: World, target: TargetSettings, *, answers: bool
) -> list[Finding]:
    """Look at one target; `answers`: Prometheus can be asked."""
    probe = world.probes[target.name]
    found = list(_offline(settings, target))
    state, reading = cluster.read(target, probe.target, world.now)
    rights = list(cluster.look_at_rights(target, probe.checks))
    if state is None:
        found += cluster.why_unread(reading, rights)
    else:
        written = deployment.read(target, probe.checks)
        found += [reading, *rights]
        found += cluster.look_at_rivals(target, probe.checks)
        found += cluster.look_at_pauses(target, state)
        found += deployment.look_at(target, written)
        found += gateway.look_at(target, state, written, probe.gateway)
    if answers:
        found += metrics.look_at_answers(settings, target, state, world)
    return found

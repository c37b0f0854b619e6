"""`autoscaler check`: looks at all that a cycle needs, and says what to do where it is missing.

configuration   files, port and queries that it names
cluster         the target, rights, other scalers, the gateway
metrics         what each query is answered
findings        what is said of each
world           what there is to look at
"""

from collections.abc import Iterator

from autoscaler.check import cluster, configuration, metrics
from autoscaler.check.findings import Finding, Severity
from autoscaler.check.world import LeaseProbe, Probe, World
from autoscaler.settings import Settings, TargetSettings

__all__ = ["Finding", "LeaseProbe", "Probe", "Severity", "World", "check"]


def check(settings: Settings, world: World | None = None) -> tuple[Finding, ...]:
    """Look at everything; without a world at the configuration, its files and queries only."""
    return tuple(_findings(settings, world))


def _findings(settings: Settings, world: World | None) -> Iterator[Finding]:
    yield from configuration.look_at_files(settings)
    if world is not None:
        yield from configuration.look_at_port(settings)
        yield from cluster.look_at_lease(settings, world)
    for target in settings.targets:
        yield configuration.tell_policy(target)
        yield from configuration.look_at_syntax(target)
        if world is not None:
            yield from _look(target, world)


def _look(target: TargetSettings, world: World) -> Iterator[Finding]:
    probe = world.probes[target.name]
    state, finding = cluster.read(target, probe.target)
    yield finding
    yield from cluster.look_at_pauses(target, state, probe.checks)
    yield from cluster.look_at_rights(target, probe.checks)
    yield from cluster.look_at_rivals(target, probe.checks)
    yield from cluster.look_at_gateway(target, state, probe.busy)
    yield from cluster.look_at_limits(target, probe.checks)
    yield from metrics.look_at_answers(target, state, world)

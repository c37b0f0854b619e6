"""The daemon's own parts, wired for N targets, driven round by round: a child of `many.py`.

`python bench/wiring.py URL TARGETS ROUNDS WORKERS CORE` prints one JSON line per figure.
"""

import gc
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autoscaler import bootstrap
from autoscaler.adapters.health import StatusBoard
from autoscaler.adapters.telemetry import Log, Metrics
from autoscaler.loop import Ports, TargetLoop
from autoscaler.settings import Settings, load

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "config" / "autoscaler.yaml"


def name(number: int) -> str:
    """Return the name of a Deployment."""
    return f"ollama-x{number:04d}"


def settings_for(folder: Path, url: str, targets: int, **more: str) -> Settings:
    """Load the shipped configuration with its target so many times, each with queries of its own."""
    head, _, target = SHIPPED.read_text().partition("targets:\n")
    many = [
        target.replace('proxy="ollama"', f'proxy="{name(number)}"')
        .replace('pod=~"ollama-', f'pod=~"{name(number)}-')
        .replace("deployment: ollama", f"deployment: {name(number)}")
        for number in range(targets)
    ]
    path = folder / "autoscaler.yaml"
    path.write_text(head + "targets:\n" + "".join(many))
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(kubeconfig_for(url)))
    environment = {
        "AUTOSCALER_PROMETHEUS__URL": url,
        "AUTOSCALER_KUBERNETES__KUBECONFIG": str(kubeconfig),
        **more,
    }
    return load(path, environment)


def kubeconfig_for(url: str) -> object:
    """Write a kubeconfig of one cluster."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
    }


class SteppingClock:
    """A wall clock that a round moves on by an interval, so that windows fill as they would."""

    def __init__(self, interval: timedelta) -> None:
        self._now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
        self._interval = interval

    def step(self) -> None:
        """Begin the next round."""
        self._now += self._interval

    def now(self) -> datetime:
        """Return this round's time."""
        return self._now

    def monotonic(self) -> float:
        """Return real seconds: durations are measured."""
        return time.perf_counter()


def wire(settings: Settings, clock: SteppingClock) -> list[TargetLoop]:
    """Wire the loops as `bootstrap.build` does."""
    # A pipe that nobody reads would fill up; this is as far as a line goes without one.
    log = Log(level="info", form="json", stream=Path(os.devnull).open("w"))  # noqa: SIM115
    metrics, board = Metrics("bench"), StatusBoard("bench")
    source = bootstrap.metric_source(settings.prometheus)
    client = bootstrap.kubernetes_client(settings.kubernetes)
    loops = []
    for target in settings.targets:
        deployment = bootstrap._deployment(settings, target, client)
        ports = Ports(
            source=source, target=deployment, clock=clock, reporters=(log, metrics, board)
        )
        loops.append(TargetLoop(bootstrap.plan_of(target), ports))
    return loops


def resident() -> float:
    """Return this process' resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main(url: str, targets: int, rounds: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(Path(folder), url, targets)
        clock = SteppingClock(settings.interval)
        loops = wire(settings, clock)
    walls, cpus, cycles, errors = [], [], [], 0
    with ThreadPoolExecutor(workers) as pool:

        def one(loop):
            began = time.perf_counter()
            report = loop.run_once()
            return time.perf_counter() - began, report.error, str(report.outcome)

        for n in range(rounds):
            clock.step()
            wall, cpu = time.perf_counter(), time.process_time()
            done = list(pool.map(one, loops))
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
            cycles += [d[0] for d in done]
            bad = [d[1:] for d in done if d[1] or d[2] != "held"]
            errors += len(bad)
            if bad and errors < 5:
                print(bad[0], file=sys.stderr)
            if n in (0, 1, rounds // 2, rounds - 1):
                print(
                    f"round {n}: wall {walls[-1]:.2f} cpu {cpus[-1]:.2f} rss {resident():.1f}",
                    flush=True,
                )
    q = statistics.quantiles(cycles, n=100) if len(cycles) > 1 else cycles * 100
    print(
        f"targets {targets}: cycle p50 {q[49] * 1e3:.1f} ms p99 {q[98] * 1e3:.1f} ms; round wall median {statistics.median(walls):.3f} cpu {statistics.median(cpus):.3f}; per cycle cpu {statistics.median(cpus) / targets * 1e3:.2f} ms; errors {errors}"
    )


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[5])})
    if len(sys.argv) > 6:
        import cProfile, pstats, threading

        # profile in a single-threaded driver
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_for(Path(folder), sys.argv[1], int(sys.argv[2]))
            clock = SteppingClock(settings.interval)
            loops = wire(settings, clock)
        clock.step()
        for l in loops:
            l.run_once()
        profile = cProfile.Profile()
        threading.setprofile(lambda *a: None)
        profile.enable()
        for _ in range(int(sys.argv[3])):
            clock.step()
            for l in loops:
                l.run_once()
        profile.disable()
        pstats.Stats(profile).sort_stats(sys.argv[6]).print_stats(45)
    else:
        main(sys.argv[1], *map(int, sys.argv[2:5]))

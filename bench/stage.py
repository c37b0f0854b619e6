"""What the benches stand on: the daemon as a process on one core, and the others on the rest."""

import json
import os
import queue
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
DAEMONS_CORE, OTHER_CORES = {CORES[0]}, set(CORES[1:]) or {CORES[0]}
SCRAPE_SECONDS = 2
SETTLE_SECONDS = 12.0
"""Prometheus begins to scrape 5 s after its start, and a rate needs two samples."""
_PATIENCE = 60.0

# As it is shipped, for a Deployment of another name.
_QUEUE = 'sum(haproxy_backend_current_sessions{{proxy="{name}"}})'
_PODS = 'namespace="{name}", pod=~"{name}-[a-z0-9]*[0-9][a-z0-9]*-[a-z0-9]{{5}}"'
_CPU = (
    f'max by (pod) (rate(container_cpu_usage_seconds_total{{{{{_PODS}, container="", image=""}}}}'
    "[1m])) / sum by (pod) (max by (pod, container) (kube_pod_container_resource_limits"
    f'{{{{{_PODS}, resource="cpu"}}}}))'
)


_RECORDED = 'pod:cpu_to_limit:ratio{{namespace="{name}"}}'


def name_of(number: int) -> str:
    """Return the name of a Deployment."""
    return f"ollama-x{number:04d}"


def configuration(folder: Path, targets: int, *, recorded: bool = False) -> Path:
    """Write the configuration: so many targets with the shipped metrics, the rest by default.

    `recorded`: the use of CPU is read from a series that a rule of Prometheus would record.
    """
    cpu = _RECORDED if recorded else _CPU
    told = {"targets": [_target(name_of(number), cpu) for number in range(targets)]}
    path = folder / "autoscaler.yaml"
    path.write_text(json.dumps(told))  # JSON is YAML
    return path


def _target(name: str, cpu_query: str) -> Mapping[str, Any]:
    queue_depth = {"name": "queue_depth", "query": _QUEUE.format(name=name), "type": "total"}
    cpu = {"name": "cpu_to_limit", "query": cpu_query.format(name=name), "type": "pod"}
    metrics = [queue_depth | {"target": 0.8}, cpu | {"target": 0.7, "max_age": "1m"}]
    return {"namespace": name, "deployment": name, "metrics": metrics}


def environment(folder: Path, api: str, prometheus: str) -> dict[str, str]:
    """Return where things are; writes the kubeconfig."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(_kubeconfig(api)))
    return {
        "AUTOSCALER_PROMETHEUS__URL": prometheus,
        "AUTOSCALER_KUBERNETES__KUBECONFIG": str(kubeconfig),
        "AUTOSCALER_GATEWAY__STATS_URL": f"{api}/stats;csv",
        "AUTOSCALER_HTTP__HOST": "127.0.0.1",
        "AUTOSCALER_HTTP__PORT": "0",
        "AUTOSCALER_LOG__FORMAT": "json",
    }


def _kubeconfig(url: str) -> Mapping[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
    }


# --- processes ----------------------------------------------------------------------------------


@dataclass
class Child:
    """A process whose lines are read as they come."""

    process: subprocess.Popen[str]
    lines: "queue.Queue[str]" = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - given by `running`
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def line(self) -> str:
        """Return the next line; empty where there is none any more."""
        return self.lines.get()

    def come(self) -> Iterator[str]:
        """Yield the lines that have come."""
        while not self.lines.empty():
            if line := self.lines.get():
                yield line

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time so far, of the process and the system for it."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_mib(self) -> float:
        """Return the resident memory."""
        return resident_mib(self.process.pid)


def resident_mib(pid: int | str = "self") -> float:
    """Return a process' resident memory in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@contextmanager
def running(
    *command: str, cores: set[int], environ: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """Run a program on these cores until the end of the block."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.sched_setaffinity(process.pid, cores)  # before it has any other thread
    try:
        yield Child(process)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def fakes(pods: int) -> Iterator[tuple[Child, str]]:
    """Run `fakes.py`; gives it and its URL."""
    script = str(Path(__file__).with_name("fakes.py"))
    with running(sys.executable, script, str(pods), cores=OTHER_CORES) as child:
        yield child, f"http://127.0.0.1:{int(child.line())}"


@contextmanager
def prometheus(folder: Path, exporter: str) -> Iterator[str]:
    """Run the machine's Prometheus, which scrapes the exporter as it is shipped; gives its URL."""
    program = shutil.which("prometheus") or "/usr/bin/prometheus"
    scrape = {
        "job_name": "all",
        "static_configs": [{"targets": [exporter.removeprefix("http://")]}],
        "scrape_interval": f"{SCRAPE_SECONDS}s",
    }
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"scrape_configs": [scrape]}))
    port = free_port()
    with running(
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        cores=OTHER_CORES,
    ):
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: get(f"{url}/-/ready"), "Prometheus")
        yield url


@contextmanager
def daemon(config: Path, environ: Mapping[str, str]) -> Iterator[Child]:
    """Run `autoscaler run` on the daemon's core."""
    command = (sys.executable, "-m", "autoscaler", "run", "--config", str(config))
    with running(*command, cores=DAEMONS_CORE, environ=environ) as child:
        yield child


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(url: str) -> bytes:
    """Fetch a page."""
    with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310 - our own
        content: bytes = answer.read()
        return content


def wait_for(attempt: Any, what: str) -> None:  # noqa: ANN401
    """Try until it succeeds."""
    until = time.perf_counter() + _PATIENCE
    while True:
        try:
            attempt()
        except OSError:
            if time.perf_counter() > until:
                raise RuntimeError(f"no {what}") from None
            time.sleep(0.05)
        else:
            return

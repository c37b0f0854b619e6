"""The scripts with the real Ollama and a registry on loopback.

    OLLAMA_BIN=/usr/bin/ollama OLLAMA_STORE=~/.ollama/models pytest tests/stack/test_ollama.py

The store lends its smallest model and is not written to.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from autoscaler.sandbox.processes import free_port
from tests.stack.builds import ROOT
from tests.stack.pods import UNSHARE, obstacle
from tests.stack.registry import Registry, running_registry

SCRIPTS = ROOT / "deploy" / "ollama"
PROGRAM, STORE = (os.environ.get(name) for name in ("OLLAMA_BIN", "OLLAMA_STORE"))

pytestmark = pytest.mark.skipif(
    not (PROGRAM and STORE),
    reason="needs a real Ollama; set OLLAMA_BIN to its program and OLLAMA_STORE to its models",
)


class Container:
    """What both scripts find: the program, a home, a volume, a list."""

    def __init__(self, directory: Path, registry: Registry):
        self.registry = registry
        self.list = directory / "models.txt"
        self.port = str(free_port())
        self.volume = directory / "models"
        for made in (self.volume, directory / "home"):
            made.mkdir()
        self.environment = {
            "PATH": f"{Path(PROGRAM).expanduser().parent}:{os.environ['PATH']}",
            "HOME": str(directory / "home"),
            "TMPDIR": str(directory),
            "OLLAMA_MODELS": str(self.volume),
            "OLLAMA_NO_CLOUD": "1",
            "SSL_CERT_FILE": str(registry.certificate),
            "PULL_PORT": self.port,
            "PULL_DELAY": "1",
        }

    def start(self, script: str, *models: str, **environment: str) -> subprocess.Popen[str]:
        """Run a script with a list."""
        self.list.write_text("\n".join(models))
        return subprocess.Popen(
            ["sh", SCRIPTS / script, self.list],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str, *models: str, **environment: str) -> tuple[int, str]:
        """Run a script to its end."""
        with self.start(script, *models, **environment) as process:
            output, _ = process.communicate(timeout=60)
        return process.returncode, output


@pytest.fixture
def registry(tmp_path):
    """Serve the store's smallest model under any name."""
    with running_registry(Path(STORE).expanduser(), tmp_path) as serving:
        yield serving


@pytest.fixture
def container(tmp_path, registry) -> Container:
    """Make a container whose volume is empty."""
    return Container(tmp_path, registry)


def test_models_are_fetched_once(container, registry):
    """The first run fetches, the second does nothing, and a longer list only its new part."""
    one, two = registry.name("one"), registry.name("two")
    code, output = container.run("pull.sh", one)
    assert code == 0, output
    assert f"{one}: success" in output
    assert "\033" not in output
    fetched = registry.sent
    assert fetched >= registry.size
    assert container.run("pull.sh", one)[0] == 0
    code, output = container.run("pull.sh", one, two)
    assert code == 0
    assert f"pull: {one} is there" in output
    assert f"{two}: success" in output
    assert registry.sent == fetched  # the same blobs


def test_an_interrupted_run_is_gone_on_with(container, registry):
    """TERM at the half; the next run, hours later, fetches the other half and nothing twice."""
    registry.bytes_per_second = registry.size / 4
    with container.start("pull.sh", registry.name("one")) as process:
        while registry.sent < registry.size / 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=5)
    assert process.returncode == 143
    assert registry.sent < registry.size
    hours_ago = time.time() - 3 * 3600
    for part in container.volume.glob("blobs/*-partial*"):
        os.utime(part, (hours_ago, hours_ago))
    code, output = container.run("pull.sh", registry.name("one"))
    assert code == 0, output
    assert registry.sent < 1.1 * registry.size


def test_two_runs_at_once_fetch_once(container, registry):
    """The second waits for the volume and finds the model there."""
    registry.bytes_per_second = registry.size / 2
    with container.start("pull.sh", registry.name("one")) as first:
        while not registry.sent:
            assert first.poll() is None
            time.sleep(0.05)
        code, output = container.run("pull.sh", registry.name("one"))
        assert (code, first.wait(timeout=10)) == (0, 0)
        first.communicate()
    assert "waiting for its end" in output
    assert registry.sent < 1.1 * registry.size


def test_a_model_that_nobody_has_is_named(container, registry):
    """The run fails, but the model after it is fetched."""
    absent, one = registry.name("absent"), registry.name("one")
    code, output = container.run("pull.sh", absent, one, PULL_DELAY="0")
    assert code == 1
    assert f"{one}: success" in output
    assert output.splitlines()[-1] == f"pull: missing: {absent}"


@pytest.fixture
def replica(container):
    """Serve as a replica does, with the models mounted read-only."""
    if reason := obstacle():
        pytest.skip(reason)
    mounted = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec ollama serve'
    store = Path(STORE).expanduser()
    container.environment |= {
        "OLLAMA_HOST": f"127.0.0.1:{container.port}",
        "OLLAMA_MODELS": str(store),
        "OLLAMA_NOPRUNE": "1",
    }
    command = [*UNSHARE, "--mount", "sh", "-c", mounted, store]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, env=container.environment, stdout=quiet, stderr=quiet
    ) as process:
        yield container
        process.terminate()


def test_a_replica_loads_the_first_model(replica, registry):
    """The first probe, at the server's start, leaves it in memory; another takes a moment."""
    code, output = replica.run("warm.sh", registry.model)
    assert (code, output) == (0, f"warm: {registry.model} is in memory\n")
    listed = subprocess.run(
        ["ollama", "ps"], env=replica.environment, capture_output=True, text=True, check=True
    )
    in_memory = [line.split()[0] for line in listed.stdout.splitlines()[1:]]
    assert len(in_memory) == 1
    assert registry.model.endswith(in_memory[0])
    began = time.monotonic()
    assert replica.run("warm.sh", registry.model)[0] == 0
    assert time.monotonic() - began < 2.0


def test_a_replica_fetches_nothing(replica, registry):
    """A model that the registry has and the volume lacks stays there, and the Job is named."""
    code, output = replica.run("warm.sh", registry.name("one"))
    assert code == 1
    assert "is not on disk yet, the Job ollama-models fetches it" in output
    assert registry.asked == 0

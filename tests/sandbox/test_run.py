"""The whole run, from the command to the report; and its end when it is interrupted."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoscaler.records import read_files
from autoscaler.sandbox.run import SandboxOptions, run_sandbox

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "config" / "autoscaler.yaml"
QUICK = {
    "stabilization_window: 5m": "stabilization_window: 30s",
    "cooldown: 1m": "cooldown: 10s",
    "period: 1m}": "period: 10s}",
}
"""What shortens a run: shrinking begins after half a minute of calm instead of five."""


@pytest.fixture
def config(tmp_path):
    """Write the shipped configuration with a quicker way down."""
    text = SHIPPED.read_text()
    for old, new in QUICK.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "autoscaler.yaml"
    path.write_text(text)
    return path


def _start(config, tmp_path, *args):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "autoscaler", "sandbox", "--plain", "--config", str(config)),
            *("--speed", "30", "--minutes", "5", "--out", str(tmp_path / "out"), *args),
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_run_shows_replicas_going_up_and_down(config, tmp_path):
    """Within seconds the daemon scales a real load both ways; report and records are written."""
    run = _start(config, tmp_path)
    said, complained = run.communicate(timeout=90)
    assert (run.returncode, complained) == (0, ""), said
    assert "interval: 5s -> 166ms" in said
    assert re.search(r"llm/ollama: 2 -> [3-6], ", said)
    assert re.search(r"llm/ollama: \d -> 2, ", said)
    assert re.search(r"cut streams +│ +0 │", said)
    records = [entry.record for entry in read_files(tmp_path / "out" / "records.jsonl")]
    assert len(records) > 50
    assert {record.target for record in records if record} == {"llm/ollama"}
    assert "<html" in (tmp_path / "out" / "report.html").read_text()
    assert _left(tmp_path) == []


def test_outage_of_prometheus_shrinks_nothing(config, tmp_path):
    """Without metrics the replicas stay, whatever the load does, and the reason says so."""
    # Longer and faster: Prometheus takes some seconds, whatever the speed, before it scrapes again.
    longer = ("--speed", "40", "--minutes", "10")
    run = _start(config, tmp_path, "--fault", "prometheus-outage", *longer)
    said, complained = run.communicate(timeout=90)
    assert (run.returncode, complained) == (0, ""), said
    told = re.search(r"(\d+) cycles lacked a metric \((.*)\); in none of them did .* shrink", said)
    assert told
    assert int(told[1]) > 10
    assert "MetricFailed" in told[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_run_leaves_nothing_running(config, tmp_path, number):
    """Ctrl-C, a polite and an impolite kill: every child ends, also in the middle of the load."""
    run = _start(config, tmp_path)
    assert run.stdout is not None
    for line in run.stdout:
        if "calm:" in line:
            break
    children = _descendants(run.pid)
    assert len(children) > 10
    run.send_signal(number)
    _, complained = run.communicate(timeout=20)
    deadline = time.monotonic() + 5
    while alive := [pid for pid in children if _runs(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    if number is not signal.SIGKILL:
        told = f"autoscaler sandbox: stopped by {number.name} before its end\n"
        assert (run.returncode, complained) == (1, told)
        assert _left(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fault": "fire"}, "--fault = fire, must be one of prometheus-outage"),
        ({"rival": "keda"}, "--rival = keda, must be one of hpa"),
        ({"speed": 0.5}, "--speed = 0.5, must be from 1 to 50"),
        ({"speed": 60.0}, "--speed = 60, must be from 1 to 50"),
        ({"minutes": -1.0}, "--minutes = -1, must be above 0"),
        ({"profile": "toaster"}, "toaster"),
        ({"config": Path("no-such.yaml")}, "no-such.yaml: no such file"),
        ({"trace": Path("no-such.csv")}, "no-such.csv"),
    ],
)
def test_impossible_option_is_refused_before_anything_runs(options, message, tmp_path, capsys):
    """One line on standard error, exit code 2, and no folder is made."""
    out = tmp_path / "out"
    assert run_sandbox(SandboxOptions(**{"config": SHIPPED, "out": out, **options})) == 2
    complained = capsys.readouterr().err
    assert message in complained
    assert complained.count("\n") == 1
    assert not out.exists()


def test_more_replicas_than_the_gateway_has_places_for_are_refused(tmp_path, capsys):
    """They would be ignored without a word, so the run does not start."""
    config = tmp_path / "autoscaler.yaml"
    config.write_text(SHIPPED.read_text().replace("max_replicas: 6", "max_replicas: 33"))
    assert run_sandbox(SandboxOptions(config=config, out=tmp_path / "out")) == 2
    assert "targets[0].max_replicas = 33, must be at most 32" in capsys.readouterr().err


def test_missing_program_names_the_command_to_type(monkeypatch, capsys):
    """Without HAProxy and Prometheus the one command that installs them is told."""
    monkeypatch.setenv("PATH", "")
    assert run_sandbox(SandboxOptions(config=SHIPPED)) == 2
    assert "apt-get install haproxy prometheus" in capsys.readouterr().err


def test_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    """A file where the output folder should be is one line and exit code 1."""
    (tmp_path / "out").write_text("")
    assert run_sandbox(SandboxOptions(config=SHIPPED, out=tmp_path / "out")) == 1
    assert capsys.readouterr().err.count("\n") == 1


def _descendants(pid):
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _left(directory):
    """Return working folders that were not removed."""
    return list(directory.glob("autoscaler-sandbox-*"))

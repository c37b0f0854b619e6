"""A run of the sandbox whose Prometheus is asked afterwards: one for all tests and processes."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoscaler.sandbox.timescale import divide_query
from tests.stack.builds import ROOT

SPEED, MINUTES = 30, 5
_STEP_SECONDS = 0.5
_ADDRESS = "prometheus  "
"""What the command puts before Prometheus' address once the load is over."""

Answers = Mapping[str, Any]
"""`asked`: expression to whether it had data at any time of the run; `rules`: name to what
Prometheus says of its last evaluation."""


def answers(folder: Path, queries: Sequence[str]) -> Answers:
    """Return what a run answers; the first process to come makes it, the others read."""
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    found = shared / "sandbox.json"
    with (shared / "sandbox.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            # Where a run fails, the next process tries its own and shows what that said.
            own = Path(tempfile.mkdtemp(prefix="sandbox-", dir=shared))
            found.write_text(json.dumps(_asked(own, queries)))
    told: Answers = json.loads(found.read_text())
    return told


def _asked(folder: Path, queries: Sequence[str]) -> dict[str, Any]:
    began = time.time()
    with _run(folder) as url:
        ended = time.time()

        def has_data(query: str) -> bool:
            span = {"start": began, "end": ended, "step": _STEP_SECONDS}
            found = _get(url, "query_range", query=divide_query(query, SPEED), **span)["result"]
            return any(value != "NaN" for series in found for _, value in series["values"])

        groups = _get(url, "rules")["groups"]
        return {
            "asked": {query: has_data(query) for query in queries},
            "rules": {
                rule["name"]: rule.get("lastError") or rule["health"]
                for group in groups
                for rule in group["rules"]
            },
        }


@contextmanager
def _run(folder: Path) -> Iterator[str]:
    """Run `autoscaler sandbox` to the end of its load; gives Prometheus' address."""
    command = (
        *(sys.executable, "-m", "autoscaler", "sandbox", "--plain", "--keep"),
        *("--config", str(ROOT / "config" / "autoscaler.yaml"), "--out", str(folder / "out")),
        *("--speed", str(SPEED), "--minutes", str(MINUTES)),
    )
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        said = []
        try:
            assert run.stdout is not None
            for line in run.stdout:
                said.append(line)
                if _ADDRESS in line:
                    yield line.partition(_ADDRESS)[2].strip()
                    return
        finally:
            run.send_signal(signal.SIGINT)
            run.communicate()
        raise AssertionError("".join(said))


def _get(url: str, what: str, **parameters: object) -> Any:
    address = f"{url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(address, timeout=20) as answer:
        return json.load(answer)["data"]

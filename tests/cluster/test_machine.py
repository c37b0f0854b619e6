"""The cluster of our own leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys

import pytest

from tests.cluster.kube.machine import Machine
from tests.cluster.stack import ROOT, eventually

ANOTHER = {"CLUSTER_NAME": "oacrash", "CLUSTER_NET": "172.31.254"}
RUN = """
from tests.cluster.kube.machine import Machine
machine = Machine()
machine.start()
print("started", flush=True)
input()
"""


@pytest.fixture
def another(machine):
    """A second cluster beside the one of the tests, of another process."""
    found = Machine(ANOTHER["CLUSTER_NAME"], ANOTHER["CLUSTER_NET"])
    yield found
    found.stop()


def test_a_killed_run_takes_its_cluster_with_it(another, figures):
    """SIGKILL of a run ends all its programs; `stop` or the next start removes what is left."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env=os.environ | ANOTHER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout.readline() == "started\n"
        there = another.left_behind()
        os.kill(run.pid, signal.SIGKILL)
    eventually(
        "no process and no link is left",
        lambda: not [one for one in another.left_behind() if one.startswith(("process", "link"))],
        timeout_s=15,
    )
    still = another.left_behind()
    figures["while it ran"] = f"{len(there)} traces"
    figures["after SIGKILL"] = f"{len(still)}: control groups and a folder"
    assert there
    assert still
    another.stop()
    assert another.left_behind() == []

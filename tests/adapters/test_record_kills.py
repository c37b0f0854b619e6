"""Whoever keeps records may be killed at any moment."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing

import pytest

from autoscaler.decision.decide import decide
from autoscaler.records import read, read_files
from tests.adapters.record_writer import LIFE, NAME, PROGRESS, shared
from tests.cycles import START, STEP

KILLS = 100
MOST_CYCLES = 20
"""Of a life, about."""


@pytest.fixture
def folder(tmp_path):
    """Return where records are kept."""
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


@pytest.fixture
def live_and_die(tmp_path, folder):
    """Return a function that lets a life begin and kills it; it returns what was achieved."""
    path, chance = tmp_path / "progress", random.Random(7)
    path.write_bytes(bytes(PROGRESS.size))
    command = [sys.executable, "-m", "tests.adapters.record_writer", str(folder), str(path)]
    with (
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
        closing(shared(path)) as progress,
    ):

        def live_and_die(life):
            process.stdin.write(f"{life}\n")
            process.stdin.flush()
            child, cycles = int(process.stdout.readline()), chance.randrange(MOST_CYCLES)
            until = time.monotonic() + 20
            while PROGRESS.unpack_from(progress)[0] < cycles and time.monotonic() < until:
                time.sleep(0.0001)
            time.sleep(chance.uniform(0, 0.001))
            os.kill(child, signal.SIGKILL)
            process.stdout.readline()
            return PROGRESS.unpack_from(progress)

        yield live_and_die
        process.stdin.close()
        process.wait(10)


def test_killed_a_hundred_times_it_loses_a_line_each_at_most(live_and_die, folder):
    """While it writes and rotates: every file can be read, nothing stands twice, little is lost."""
    achieved = [live_and_die(life) for life in range(KILLS)]

    files = list(folder.iterdir())
    for file in files:
        list(read(file.read_bytes().splitlines(keepends=True)))  # each of them alone
    times = defaultdict(list)
    records = [entry.record for entry in read_files(folder / NAME)]
    for record in records:
        life, since = divmod(record.observation.now - START, LIFE)
        times[life].append(since // STEP - 1)
    for life, (begun, done) in enumerate(achieved):
        assert times[life] in (list(range(done)), list(range(begun))), life
    assert len(files) > 20, "it has hardly rotated"
    assert sum(done for _, done in achieved) > 5 * KILLS, "it has hardly written"

    for record in records[:: len(files)]:
        verdict = decide(record.policy, record.state, record.observation)
        assert (verdict.decision, verdict.steps) == (record.decision, record.steps)

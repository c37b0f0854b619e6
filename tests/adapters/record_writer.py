"""A process that keeps records as fast as it can, until it is killed; and again, if told so.

`python -m tests.adapters.record_writer FOLDER PROGRESS`. Each line of standard input is the number
of a life. It is answered by the process ID of that life, and once that is over by an empty line.
PROGRESS is a file: how many cycles it has begun to keep, and how many it knows to be kept.
"""

import mmap
import os
import struct
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from autoscaler.adapters.records import RecordsFile
from autoscaler.decision.model import Pod
from tests.cycles import START, Rig

NAME, MAX_SIZE, FILES = "records.jsonl", 30_000, 1000
PROGRESS = struct.Struct("qq")
LIFE = timedelta(days=1)
"""The lives' times do not overlap."""


def live(path: Path, life: int, progress: mmap.mmap) -> None:
    """Run a loop whose load comes and goes, with pods enough for lines of several pages."""
    records = RecordsFile(path, print, max_size=MAX_SIZE, files=FILES)
    rig = Rig()
    rig.clock.at = START + life * LIFE
    pods = [Pod(name=f"ollama-{number:04}", created=START) for number in range(40)]
    count = 0
    while True:
        flips = count % 3 == 0
        rig.target.pods = (
            replace(pods[0], in_flight=count % 7),
            *(pods[1:] if flips else pods[2:]),
        )
        report = rig.cycle(1.6 if count % 50 < 40 else 4.0)
        PROGRESS.pack_into(progress, 0, count + 1, count)
        records.report(report)
        count += 1
        PROGRESS.pack_into(progress, 0, count, count)


def shared(path: Path) -> mmap.mmap:
    """Return the progress, as all processes see it."""
    with path.open("rb+") as file:
        return mmap.mmap(file.fileno(), PROGRESS.size)


def main(folder: Path, path: Path) -> None:
    """Begin a life for each line."""
    progress = shared(path)
    for line in sys.stdin:
        PROGRESS.pack_into(progress, 0, 0, 0)
        child = os.fork()
        if child == 0:
            live(folder / NAME, int(line), progress)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        os.waitpid(child, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

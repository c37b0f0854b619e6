"""Records on disk: one JSON line per cycle."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from autoscaler.decision.record import to_json
from autoscaler.ports import CycleReport


class RecordsFile:
    """Adds each cycle's record to a file; a file that cannot be written is told of once."""

    def __init__(self, path: Path, complain: Callable[[str], None]) -> None:
        self._path = path
        self._complain = complain
        self._lock = Lock()
        self._broken = False

    def report(self, report: CycleReport) -> None:
        """Add the record, if the cycle has one; never raises for a file that fails."""
        if report.record is None:
            return
        line = json.dumps(to_json(report.record), separators=(",", ":"), allow_nan=False)
        with self._lock:
            try:
                self._append(f"{line}\n".encode())
            except OSError as error:
                if not self._broken:
                    self._complain(f"records.path = {self._path}: {error.strerror or error}")
                self._broken = True

    def _append(self, line: bytes) -> None:
        """Write one line at once; opened anew each time, so that the file may be rotated."""
        if self._broken:
            line = b"\n" + line  # the last line may have been cut in its middle
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, 0o644)
        try:
            written = os.write(descriptor, line)
            if written < len(line):
                raise OSError(f"wrote {written} of {len(line)} bytes")
        finally:
            os.close(descriptor)
        self._broken = False

"""Records on disk: one JSON line per cycle that could decide."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from autoscaler.decision.record import to_json
from autoscaler.ports import CycleReport

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK


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
        descriptor = os.open(self._path, _APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(descriptor, line)
            if written < len(line):
                raise OSError(f"wrote {written} of {len(line)} bytes")
        finally:
            os.close(descriptor)
        self._broken = False


def why_not(path: Path) -> str:
    """Tell why no record could be written there, empty if one could. Leaves nothing behind."""
    try:
        if path.exists():
            os.close(os.open(path, _APPEND))
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""

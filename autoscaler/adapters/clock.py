"""The machine's clocks; nothing else in the daemon reads one."""

import time
from datetime import UTC, datetime


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """Return the wall-clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def boottime(self) -> float:
        """Return seconds that also pass while the machine sleeps, for what others rely on."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

"""Does what has to be done at a time, from one thread for all: it cuts what takes too long."""

import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Self

from autoscaler.adapters.clock import SystemClock


class Watchdog:
    """Keeps alarms. So few are set at a time (one per request) that a set of them is enough."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._changed = threading.Condition(threading.Lock())
        self._alarms: set[Alarm] = set()
        self._thread: threading.Thread | None = None
        self._wakes = inf

    def alarm(self, at: float, act: Callable[[], object]) -> "Alarm":
        """Do this at `at` of the monotonic clock, unless the alarm is off by then.

        `act` holds up all other alarms for as long as it takes.
        """
        alarm = Alarm(self, at, act)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)
                self._thread.start()
            self._alarms.add(alarm)
            if at < self._wakes:
                self._changed.notify()
        return alarm

    def forget(self, alarm: "Alarm") -> None:
        """Turn an alarm off; one that is being acted upon is not waited for."""
        with self._changed:
            self._alarms.discard(alarm)

    def _work(self) -> None:
        while True:
            for alarm in self._due():
                with suppress(Exception):  # one that fails must not end the rest
                    alarm.act()

    def _due(self) -> list["Alarm"]:
        """Wait for the next alarm, or for an earlier one; return those whose time has come."""
        with self._changed:
            self._wakes = min((alarm.at for alarm in self._alarms), default=inf)
            left = self._wakes - self._clock.monotonic()
            if left > 0:
                self._changed.wait(None if left == inf else left)
            self._wakes = -inf  # awake
            now = self._clock.monotonic()
            due = [alarm for alarm in self._alarms if alarm.at <= now]
            self._alarms.difference_update(due)
            return sorted(due, key=lambda alarm: alarm.at)


class Alarm:
    """What is to be done at a time; off at the end of its `with` block."""

    __slots__ = ("_watchdog", "act", "at")

    def __init__(self, watchdog: Watchdog, at: float, act: Callable[[], object]) -> None:
        self._watchdog = watchdog
        self.at = at
        self.act = act

    def __enter__(self) -> Self:
        """Stay on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Go off duty."""
        self._watchdog.forget(self)


WATCHDOG = Watchdog()
"""The process' one; its thread starts with the first alarm."""

"""The process' lifetime: cycles at their times, until a signal asks to stop."""

import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from autoscaler.daemon.scheduler import CycleScheduler
from autoscaler.ports import Clock

_STOP = (signal.SIGTERM, signal.SIGINT)
_GLANCE = 1.0
"""Seconds between two looks at the clock and at what else there is to look after."""


class Server(Protocol):
    """Answers probes for as long as the daemon lives."""

    def start(self) -> str:
        """Begin to answer and return the address. Raises AutoscalerError."""

    def stop(self) -> None:
        """Close the port."""


class Duty(Protocol):
    """Something that goes on beside the cycles. Nothing of it raises."""

    def start(self) -> None:
        """Begin, before the first cycle."""

    def glance(self) -> None:
        """Look after it, once a second."""

    def stop(self) -> None:
        """End, after the last cycle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who is told what happens around the cycles."""

    on_started: Callable[[str], None]
    """With the address served."""
    on_stopping: Callable[[str], None]
    """With the signal's name."""
    on_stopped: Callable[[], None]


class Daemon:
    """Runs the scheduled cycles, does its duties, and serves the probes."""

    def __init__(
        self,
        scheduler: CycleScheduler,
        server: Server,
        clock: Clock,
        listeners: Listeners,
        duties: Sequence[Duty] = (),
    ) -> None:
        self._scheduler = scheduler
        self._server = server
        self._clock = clock
        self._listeners = listeners
        self._duties = duties

    def run(self) -> None:
        """Work until a signal, then finish the running cycles and return.

        No signal interrupts anything: neither the first nor a second one can cut a cycle short.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)  # before there is any other thread
        address = self._server.start()
        with ExitStack() as ending:
            ending.callback(self._server.stop)
            for duty in self._duties:
                ending.callback(duty.stop)
                duty.start()
            ending.callback(self._scheduler.finish)
            self._scheduler.start()
            self._listeners.on_started(address)
            self._listeners.on_stopping(self._wait())
        self._listeners.on_stopped()

    def _wait(self) -> str:
        """Return the name of the signal that asks to stop."""
        latest = self._clock.now()
        while True:
            taken = signal.sigtimedwait(_STOP, _GLANCE)
            # A process that was stopped meanwhile is told of a signal that there never was, with
            # whatever number (a bug of CPython's).
            if taken and taken.si_signo in _STOP:
                return signal.Signals(taken.si_signo).name
            now = self._clock.now()
            if now < latest:
                # The cycles' times were made by a clock that has been put back since: without this
                # they would wait until it has caught up.
                self._scheduler.begin_anew()
            latest = now
            for duty in self._duties:
                duty.glance()

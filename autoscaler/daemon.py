"""The process' lifetime: cycles at their times, until a signal asks to stop."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from autoscaler.ports import Clock

_STOP = (signal.SIGTERM, signal.SIGINT)
_LATEST_GLANCE = 1.0
"""Seconds between two looks at the clock while nothing else is to be done."""


class Server(Protocol):
    """Answers probes for as long as the daemon lives."""

    def start(self) -> str:
        """Begin to answer and return the address. Raises AutoscalerError."""

    def stop(self) -> None:
        """Close the port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Who is told what happens around the cycles."""

    on_started: Callable[[str], None]
    """With the address served."""
    on_stopping: Callable[[str], None]
    """With the signal's name."""
    on_stopped: Callable[[], None]
    on_overrun: Callable[[str], None]
    """With the target whose last cycle was still running."""


class Daemon:
    """Runs each target's cycle every interval, and serves the probes."""

    def __init__(
        self,
        cycles: Mapping[str, Callable[[], object]],
        interval: timedelta,
        server: Server,
        clock: Clock,
        listeners: Listeners,
    ) -> None:
        self._server = server
        self._clock = clock
        self._listeners = listeners
        self._scheduler = self._scheduled(cycles, interval)

    def run(self) -> None:
        """Work until a signal, then finish the running cycles and return.

        No signal interrupts anything: neither the first nor a second one can cut a cycle short.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)  # before there is any other thread
        address = self._server.start()
        try:
            self._scheduler.start()
            try:
                self._listeners.on_started(address)
                self._listeners.on_stopping(self._wait())
            finally:
                self._scheduler.pause()
                self._scheduler.shutdown(wait=True)
        finally:
            self._server.stop()
        self._listeners.on_stopped()

    def _scheduled(
        self, cycles: Mapping[str, Callable[[], object]], interval: timedelta
    ) -> BackgroundScheduler:
        """Make one job per target.

        APScheduler's defaults are not ours: it would drop a run that is a second late, and make the
        first one wait for an interval. What it swallows, the loop has reported before.
        """
        scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=max(1, len(cycles)))},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for target, cycle in cycles.items():
            scheduler.add_job(
                cycle,
                "interval",
                seconds=interval.total_seconds(),
                id=target,
                next_run_time=self._clock.now(),
            )
        scheduler.add_listener(self._overrun, EVENT_JOB_MAX_INSTANCES)
        return scheduler

    def _overrun(self, event: JobSubmissionEvent) -> None:
        self._listeners.on_overrun(event.job_id)

    def _wait(self) -> str:
        """Return the name of the signal that asks to stop."""
        latest = self._clock.now()
        while True:
            taken = signal.sigtimedwait(_STOP, _LATEST_GLANCE)
            if taken:
                return signal.Signals(taken.si_signo).name
            now = self._clock.now()
            if now < latest:
                # The jobs' times were made by a clock that has been put back since: without this
                # they would wait until it has caught up.
                self._run_now(now)
            latest = now

    def _run_now(self, now: datetime) -> None:
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=now)

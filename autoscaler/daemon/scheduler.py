"""Every target's cycle, every interval, on a bounded pool of threads."""

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from autoscaler.ports import Clock

WORKERS = 32
"""Cycles at a time. One that hangs takes a worker for as long as its calls may take together, each
of which is bounded. So it takes many that hang at the same time to keep the others waiting; then
cycles are late, which is counted, and none is lost."""

Cycles = Mapping[str, Callable[[], object]]


class CycleScheduler:
    """Runs cycles, spread over the interval; one of a target at a time.

    APScheduler's defaults are not ours: it would drop a run that is a second late, and make the
    first one wait for an interval. What it swallows, the loop has reported before.
    """

    def __init__(self, clock: Clock, on_overrun: Callable[[str], None]) -> None:
        """Begin with `start`; `on_overrun` is told of a target whose last cycle still ran."""
        self._clock = clock
        self._on_overrun = on_overrun
        self._interval = timedelta(0)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(max_workers=WORKERS)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._overrun, EVENT_JOB_MAX_INSTANCES)

    def put(self, cycles: Cycles, interval: timedelta) -> None:
        """Run these, and no others, from now on; what runs is not interrupted."""
        known = {job.id for job in self._scheduler.get_jobs()}
        kept = known & set(cycles) if interval == self._interval else set()
        for gone in known - kept:
            self._scheduler.remove_job(gone)
        self._interval = interval
        new = [target for target in cycles if target not in kept]
        now = self._clock.now()
        for number, target in enumerate(new):
            self._scheduler.add_job(
                cycles[target],
                "interval",
                seconds=interval.total_seconds(),
                id=target,
                next_run_time=now + interval * number / len(new),
            )

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def finish(self) -> None:
        """Start no cycle any more, and return once the last one has ended."""
        self._scheduler.pause()
        self._scheduler.shutdown(wait=True)

    def begin_anew(self) -> None:
        """Forget when the next cycles were to be, and spread them from now on."""
        jobs = self._scheduler.get_jobs()
        now = self._clock.now()
        for number, job in enumerate(jobs):
            job.modify(next_run_time=now + self._interval * number / len(jobs))

    def _overrun(self, event: JobSubmissionEvent) -> None:
        self._on_overrun(event.job_id)

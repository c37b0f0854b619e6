"""Loops that come and go, and the threads that run them."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.adapters.clock import SystemClock
from autoscaler.daemon.fleet import Fleet
from autoscaler.daemon.scheduler import WORKERS, CycleScheduler
from autoscaler.loop import Plan, Ports
from tests.cycles import POLICY, QUERIES, FakeClock, FakeReporter, FakeSource, FakeTarget

HOUR = timedelta(hours=1)


class Rig:
    """A fleet whose targets are in memory."""

    def __init__(self):
        self.log = []
        self.source = FakeSource(4.0)
        self.reporter = FakeReporter()
        self.clock = FakeClock()
        self.targets = {}
        self.fleet = Fleet(
            lambda name: self.log.append(f"+{name}"), lambda name: self.log.append(f"-{name}")
        )

    def put(self, *names, policy=POLICY):
        """Have exactly these targets."""
        inputs = {}
        for name in names:
            target = self.targets.setdefault(name, FakeTarget())
            ports = Ports(
                source=self.source, target=target, clock=self.clock, reporters=(self.reporter,)
            )
            inputs[name] = (Plan(name=name, policy=policy, queries=QUERIES), ports)
        self.fleet.put(inputs)

    def cycle(self, name):
        """Run one cycle."""
        self.clock.pass_by()
        self.fleet.cycles[name]()
        return self.reporter.reports[-1]


def test_a_target_that_stays_keeps_its_state():
    """Its new policy holds from the next cycle: it knows when it has grown last."""
    rig = Rig()
    rig.put("a")
    assert rig.cycle("a").outcome == "scaled"
    cool = replace(POLICY, scale_up=replace(POLICY.scale_up, cooldown=HOUR), max_replicas=9)
    rig.put("a", policy=cool)
    rig.source.value = 8.0
    assert rig.cycle("a").record.decision.reason == "CoolingDown"
    assert rig.log == ["+a"]


def test_targets_come_and_go():
    """Each is told of once; one that has gone runs no more, also where it was to run just now."""
    rig = Rig()
    rig.put("a", "b")
    late = rig.fleet.cycles["b"]
    rig.put("a", "c")
    assert rig.log == ["+a", "+b", "-b", "+c"]
    late()
    assert rig.reporter.reports == []
    assert set(rig.fleet.cycles) == {"a", "c"}


def test_a_target_leaves_after_its_last_cycle():
    """So that nothing is told of it any more once it is forgotten."""
    rig = Rig()
    rig.put("a")
    began, end = threading.Event(), threading.Event()

    class Slow(FakeTarget):
        def read(self):
            began.set()
            assert end.wait(10)
            return super().read()

    rig.targets["a"] = Slow()
    rig.put()
    rig.put("a")
    cycle = threading.Thread(target=rig.fleet.cycles["a"])
    cycle.start()
    assert began.wait(10)
    rig.log.clear()
    rig.put()
    assert rig.log == []
    end.set()
    cycle.join(10)
    assert rig.log == ["-a"]
    assert len(rig.reporter.reports) == 1


# --- scheduler ------------------------------------------------------------------------------------


@pytest.fixture
def scheduler():
    """Return a scheduler that runs."""
    scheduler = CycleScheduler(SystemClock(), lambda target: None)
    scheduler.start()
    yield scheduler
    scheduler.finish()


def times(scheduler):
    """Return when each target is to run next."""
    return {job.id: job.next_run_time for job in scheduler._scheduler.get_jobs()}


def test_first_cycles_are_spread_over_the_interval():
    """The first, and so a single one, at once."""
    clock = FakeClock(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
    scheduler = CycleScheduler(clock, lambda target: None)
    scheduler._scheduler.start(paused=True)
    try:
        scheduler.put(dict.fromkeys("abcd", print), timedelta(seconds=8))
        starts = [at - clock.at for at in times(scheduler).values()]
        assert starts == [timedelta(seconds=2 * n) for n in range(4)]
        clock.at -= HOUR
        scheduler.begin_anew()
        assert {at - clock.at for at in times(scheduler).values()} == set(starts)
        scheduler.put({"e": print}, timedelta(seconds=8))
        assert times(scheduler) == {"e": clock.at}
    finally:
        scheduler.finish()


def test_what_stays_keeps_its_times_unless_the_interval_changes():
    """Then all are spread anew."""
    clock = FakeClock(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
    scheduler = CycleScheduler(clock, lambda target: None)
    scheduler._scheduler.start(paused=True)
    try:
        scheduler.put({"a": print, "b": print}, timedelta(seconds=8))
        before = times(scheduler)
        clock.at += timedelta(seconds=1)
        scheduler.put({"a": print, "b": print, "c": print}, timedelta(seconds=8))
        assert times(scheduler) == before | {"c": clock.at}
        scheduler.put({"a": print, "b": print}, timedelta(seconds=4))
        assert times(scheduler) == {"a": clock.at, "b": clock.at + timedelta(seconds=2)}
    finally:
        scheduler.finish()


def test_one_that_hangs_holds_up_itself_alone(scheduler):
    """As many as there are workers, less one: the others go on as if nothing was."""
    end = threading.Event()
    runs = []
    cycles = {f"hangs-{n}": lambda: end.wait(30) for n in range(WORKERS - 1)}
    cycles |= {f"runs-{n}": lambda n=n: runs.append((n, time.monotonic())) for n in range(20)}
    scheduler.put(cycles, timedelta(seconds=0.2))
    time.sleep(2.0)
    end.set()
    for n in range(20):
        seen = [at for number, at in runs if number == n]
        assert len(seen) >= 6


def test_more_than_the_workers_that_hang_make_the_others_late_and_no_more(scheduler):
    """Each hangs for so long as its calls may; every target has its turn all the same."""
    runs = []
    cycles = {f"hangs-{n}": lambda: time.sleep(0.3) for n in range(3 * WORKERS)}
    cycles |= {f"runs-{n}": lambda n=n: runs.append(n) for n in range(20)}
    scheduler.put(cycles, timedelta(seconds=0.2))
    time.sleep(3.0)
    assert set(runs) == set(range(20))
    assert len(runs) >= 20 * 3

"""The thread that keeps at the Lease: it tells of changes, hurries, and stops in time."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.adapters.kubernetes.elector import Elector, Timing, Write
from autoscaler.adapters.kubernetes.leadership import LeadershipListeners, LeaseLeadership
from autoscaler.adapters.kubernetes.lease import Claim
from autoscaler.errors import ConflictError, TargetReadError
from tests.adapters.elections import LeaseBox, Notes

TIMING = Timing(duration=timedelta(seconds=1), write=timedelta(seconds=0.1))


class Clock:
    """Real seconds, which a test may move on."""

    def __init__(self):
        self.ahead = 0.0

    def now(self):
        """Return a time for people."""
        return datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

    def boottime(self):
        """Return seconds."""
        return time.monotonic() + self.ahead


class Access:
    """A Lease in memory, behind calls that a test may hold up or let fail."""

    def __init__(self):
        self.box = LeaseBox()
        self.error = None
        self.open = threading.Event()
        self.open.set()
        self.asked = []

    def read(self):
        """Return the Lease."""
        return self._ask("read", None)

    def write(self, claim, over, now):
        """Write it."""
        return self._ask("write", Write(claim=claim, over=over))

    def _ask(self, kind, request):
        self.asked.append(kind)
        assert self.open.wait(10)
        if self.error:
            raise self.error
        try:
            return self.box.carry_out(request)
        except LookupError:
            raise ConflictError("somebody else wrote") from None


class Rig:
    """A leadership and all that it tells."""

    def __init__(self):
        self.clock = Clock()
        self.access = Access()
        self.told = []
        self.changed = threading.Condition()
        elector = Elector("me", TIMING, Notes("me"), lambda: 0.0)
        listeners = LeadershipListeners(
            on_leads=self.teller("leads"),
            on_stands_by=self.teller("stands by"),
            on_lost=self.teller("lost"),
            on_failure=self.teller("failure"),
            on_trouble=self.teller("trouble"),
        )
        self.leadership = LeaseLeadership(elector, self.access, self.clock, listeners)

    def teller(self, what):
        """Return a listener that notes what it is told, and breaks afterwards."""

        def tell(argument):
            with self.changed:
                self.told.append((what, argument))
                self.changed.notify_all()
            raise ZeroDivisionError

        return tell

    def wait(self, *told):
        """Return once this has been told."""
        with self.changed:
            assert self.changed.wait_for(lambda: told in self.told, 10), self.told

    def vacate(self):
        """Let nobody hold the Lease."""
        self.access.box.keep(Claim(holder="", duration=TIMING.duration, given_back=True))


@pytest.fixture
def rig():
    """Return a leadership that is not started."""
    rig = Rig()
    yield rig
    rig.access.open.set()
    rig.leadership.stop()


def test_it_leads_until_it_is_stopped(rig):
    """Each change is told once, whatever the listeners do; then the Lease is free."""
    rig.vacate()
    rig.leadership.start()
    rig.wait("leads", 1)
    time.sleep(0.6)
    assert rig.leadership.term() == 1
    rig.leadership.stop()
    assert rig.leadership.term() is None
    assert rig.access.box.lease.claim.given_back
    assert rig.told == [("leads", 1), ("lost", "the daemon stops")]


def test_it_is_stopped_while_it_renews(rig):
    """The renewal that is on its way ends first, and then the Lease is given back all the same."""
    rig.vacate()
    rig.leadership.start()
    rig.wait("leads", 1)
    rig.access.open.clear()
    seen = len(rig.access.asked)
    while len(rig.access.asked) == seen:
        time.sleep(0.01)
    stopping = threading.Thread(target=rig.leadership.stop)
    stopping.start()
    time.sleep(0.05)
    assert rig.leadership.term() is None
    rig.access.open.set()
    stopping.join(10)
    assert rig.access.box.lease.claim.given_back


def test_an_end_that_nobody_answers_is_an_end(rig):
    """A Lease that cannot be given back runs out."""
    rig.vacate()
    rig.leadership.start()
    rig.wait("leads", 1)
    rig.access.error = TargetReadError("gone")
    began = time.monotonic()
    rig.leadership.stop()
    assert time.monotonic() - began < 1
    assert rig.access.box.lease.claim.holder == "me"


def test_a_loss_is_told_with_its_reason(rig):
    """As soon as the time is over, not only when the next request has failed."""
    rig.vacate()
    rig.leadership.start()
    rig.wait("leads", 1)
    rig.access.error = TargetReadError("gone")
    rig.wait("lost", "gone")
    assert rig.leadership.term() is None
    rig.access.error = None
    rig.told.clear()
    rig.wait("leads", 1)


def test_a_sleep_of_the_machine_counts(rig):
    """The term is over at the very moment in which it is asked for."""
    rig.vacate()
    rig.leadership.start()
    rig.wait("leads", 1)
    rig.access.open.clear()
    rig.clock.ahead = 60.0
    assert rig.leadership.term() is None
    rig.access.open.set()


def test_another_holder_is_named(rig):
    """Who stands by says behind whom."""
    rig.access.box.keep(Claim(holder="other", duration=timedelta(minutes=1)))
    rig.leadership.start()
    rig.wait("stands by", "other")
    assert rig.leadership.term() is None


def test_a_hurry_brings_the_renewal_forward(rig):
    """Much within the time that it would have taken."""
    slow = Rig()
    slow.leadership._elector._timing = Timing(
        duration=timedelta(seconds=6), write=timedelta(seconds=0.1)
    )
    slow.vacate()
    slow.leadership.start()
    slow.wait("leads", 1)
    seen = len(slow.access.asked)
    began = time.monotonic()
    slow.leadership.hurry()
    while len(slow.access.asked) == seen:
        time.sleep(0.01)
    assert time.monotonic() - began < 1.1
    slow.leadership.stop()


def test_a_refusal_by_another_writer_is_no_failure(rig):
    """The Lease is looked at again."""
    rig.vacate()
    rig.leadership.start()
    rig.wait("leads", 1)
    rig.access.box.touch()
    time.sleep(0.6)
    assert rig.leadership.term() == 1
    assert [each for each in rig.told if each[0] == "failure"] == []


def test_what_never_began_can_be_stopped(rig):
    """Nothing is asked."""
    rig.leadership.stop()
    assert rig.access.asked == []

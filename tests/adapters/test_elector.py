"""Who leads: one at a time, whatever happens to machines, clocks and answers."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.kubernetes.elector import Elector, Read, Timing, Write
from autoscaler.adapters.kubernetes.lease import Claim
from tests.adapters.elections import TIMING, Election, LeaseBox, Notes

FIFTEEN = timedelta(seconds=15)


class Alone:
    """One elector whose requests are carried out at once, on a clock that the test moves."""

    def __init__(self, box, name="me"):
        self.box = box
        self.notes = Notes(name)
        self.elector = Elector(name, TIMING, self.notes, lambda: 0.0)
        self.now = 1000.0

    def act(self, takes=0.0):
        """Do what is due, once."""
        self.now += self.elector.pause(self.now)
        request = self.elector.due(self.now)
        if request is None:
            return None
        sent = self.now
        try:
            lease = self.box.carry_out(request)
        except LookupError:
            self.elector.failed(self.now)
        else:
            self.now += takes
            self.elector.answered(request, lease, sent=sent, now=self.now)
        return request

    def act_until(self, found):
        """Go on until something is so; return how long that took."""
        began = self.now
        for _ in range(100):
            if found():
                return self.now - began
            self.act()
        raise AssertionError("never came")

    @property
    def term(self):
        """Return the present term."""
        return self.elector.term(self.now)


@pytest.fixture
def box():
    """Return a Lease that is not there yet."""
    return LeaseBox()


def held(box, holder="other", *, duration=FIFTEEN, given_back=False):
    """Let somebody hold the Lease, for the third time, with a state in it."""
    box.keep(
        Claim(
            holder=holder, duration=duration, transitions=3, state="theirs", given_back=given_back
        )
    )


# --- taking, keeping, losing ----------------------------------------------------------------------


def test_a_lease_that_is_not_there_is_waited_for(box):
    """It may have been removed under somebody who leads, and does not know yet."""
    me = Alone(box)
    assert me.act_until(lambda: me.term is not None) == pytest.approx(15)
    assert box.lease.claim.holder == "me"
    assert me.notes.begun == [""]


def test_a_lease_that_was_given_back_is_taken_at_once(box):
    """With the next number and what was left in it."""
    held(box, holder="", given_back=True)
    me = Alone(box)
    assert me.act_until(lambda: me.term is not None) == 0
    assert me.term == 4
    assert me.notes.begun == ["theirs"]
    assert box.lease.claim.state == "theirs"


def test_a_lease_that_was_emptied_by_somebody_is_waited_for(box):
    """Its holder leads until it learns of that."""
    held(box)
    box.rob()
    me = Alone(box)
    assert me.act_until(lambda: me.term is not None) == pytest.approx(15)


def test_a_lease_that_does_not_change_is_taken(box):
    """After its duration, seen from here; who changes it in time keeps it."""
    held(box)
    me = Alone(box)
    for _ in range(20):
        me.act()
        box.touch()
    assert me.term is None
    me.act()
    assert me.act_until(lambda: me.term is not None) == pytest.approx(15)
    assert me.term == 4


@pytest.mark.parametrize(("theirs", "patience"), [(5, 15), (60, 60)])
def test_the_longer_duration_holds(box, theirs, patience):
    """The holder's counts where it is longer than ours, and ours where its is shorter."""
    held(box, duration=timedelta(seconds=theirs))
    me = Alone(box)
    assert me.act_until(lambda: me.term is not None) == pytest.approx(patience)


def test_our_own_hostname_is_nobody_special(box):
    """A holder of the same host is another process: it may still run."""
    held(box, holder="host_1")
    me = Alone(box, name="host_2")
    assert me.act_until(lambda: me.term is not None) == pytest.approx(15)


@pytest.fixture
def leader(box):
    """Return one that has just begun to lead."""
    me = Alone(box)
    me.act_until(lambda: me.term is not None)
    return me


def test_a_leader_counts_from_before_the_request(box, leader):
    """What the answer took is not its own: until duration, less drift, less a write."""
    leader.act(takes=2.0)
    assert leader.elector.ends(leader.now) == pytest.approx(15 * 0.9 - 5 - 2)
    leader.now += 6.49
    assert leader.term == 1
    leader.now += 0.02
    assert leader.term is None


def test_a_leader_renews_in_time_and_writes_what_it_knows(box, leader):
    """Every fifth of the duration."""
    seen = [(leader.act(), leader.now)[1] for _ in range(4)]
    assert [later - earlier for earlier, later in pairwise(seen)] == [3, 3, 3]
    assert box.lease.claim.state == "me 4"
    assert leader.term == 1


def test_a_hurry_renews_soon_but_not_at_once(leader):
    """At most every fifteenth of the duration."""
    assert leader.elector.pause(leader.now) == 3
    assert leader.elector.pause(leader.now, hurry=True) == 1
    leader.now += 2
    assert leader.elector.pause(leader.now, hurry=True) == 0


def test_a_failure_is_tried_again_soon(box, leader):
    """And the Lease is looked at first: what failed may have happened."""
    leader.now += leader.elector.pause(leader.now)
    request = leader.elector.due(leader.now)
    box.carry_out(request)
    leader.elector.failed(leader.now)
    assert leader.elector.pause(leader.now) == 1
    assert isinstance(leader.act(), Read)
    assert isinstance(leader.act(), Write)
    assert leader.elector.ends(leader.now) == pytest.approx(8.5)


def test_a_leader_that_was_late_goes_on_in_its_term(box, leader):
    """Nobody else led in between, so what it knows is the newest."""
    leader.now += 60
    assert leader.term is None
    leader.act_until(lambda: leader.term is not None)
    assert leader.term == 1
    assert leader.notes.begun == [""]


def test_a_leader_that_was_followed_begins_a_new_term(box, leader):
    """With what the other one has left."""
    other = Alone(box, name="other")
    other.act_until(lambda: other.term is not None)
    other.act()
    other.elector.resign()
    while other.act():
        pass
    assert box.lease.claim.holder == ""
    leader.now += 60
    leader.act_until(lambda: leader.term is not None)
    assert leader.term == 3
    assert leader.notes.begun == ["", "other 2"]


def test_another_holder_ends_a_term_at_once(box, leader):
    """However that came about."""
    held(box)
    leader.act()
    leader.act()
    assert leader.term is None


def test_a_removed_lease_is_made_again_by_its_holder(box, leader):
    """In the same term; only others have to wait."""
    box.lease = None
    leader.act()
    assert leader.term == 1
    leader.act_until(lambda: box.lease is not None)
    assert leader.term == 1
    assert leader.notes.begun == [""]


def test_a_taking_whose_answer_was_lost_overwrites_nothing(box):
    """What the leader before has left is read before anything else is put in its place."""
    held(box)
    me = Alone(box)
    me.act()
    me.now += 15
    box.carry_out(me.elector.due(me.now))
    me.elector.failed(me.now)
    assert me.term is None
    me.act_until(lambda: me.term is not None)
    assert me.notes.begun == ["theirs"]
    assert me.term == 4


# --- giving back ----------------------------------------------------------------------------------


def test_a_lease_is_given_back_with_what_is_known(box, leader):
    """We lead no more before anybody else may."""
    leader.elector.resign()
    assert leader.term is None
    leader.act()
    assert (box.lease.claim.holder, box.lease.claim.state) == ("", "me 1")
    assert box.lease.claim.given_back
    assert leader.act() is None


def test_nothing_is_given_back_that_is_not_ours(box):
    """Who stands by leaves as it came."""
    held(box)
    me = Alone(box)
    me.act()
    before = box.lease
    me.elector.resign()
    assert me.act() is None
    assert box.lease is before


# --- several --------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), contenders=st.integers(2, 3))
def test_two_never_lead_at_once(seed, contenders):
    """Nor does a write that the one has begun still run as the other one begins to lead."""
    election = Election(seed, contenders=contenders)
    random = election.random
    for _ in range(60):
        election.run(random.uniform(1, 20))
        happens = random.random()
        if happens < 0.05:
            election.box.lease = None
        elif happens < 0.1:
            election.box.rob()
        elif happens < 0.2:
            election.box.touch()
        elif happens < 0.25:
            election.resign(random.choice(election.contenders))
            election.join()
    assert election.overlaps == []
    for contender in election.contenders:
        assert len(contender.terms) == len(set(contender.terms))


class Careless(Timing):
    """Counts on the Lease for as long as others wait, and not a margin less."""

    @property
    def validity(self):
        """Return all of the duration."""
        return self.duration.total_seconds()


def test_a_leader_without_a_margin_is_found_out():
    """The elections above would not be won by whoever stops too late."""
    careless = Careless(duration=TIMING.duration, write=TIMING.write)
    found = 0
    for seed in range(50):
        election = Election(seed, timing=careless)
        election.run(600)
        found += len(election.overlaps)
    assert found > 10


@given(seed=st.integers(0, 2**32))
def test_somebody_leads_once_all_is_well(seed):
    """After whatever has happened, and stays the leader."""
    election = Election(seed)
    election.run(300)
    election.trouble = 0.0
    election.run(120)
    leading = [each for each in election.contenders if each.leads(election.now)]
    assert len(leading) == 1
    for _ in range(60):
        election.run(5)
        assert leading[0].leads(election.now)


@given(seed=st.integers(0, 2**32))
def test_what_was_left_is_what_is_found(seed):
    """Each term begins with the last text that was written before it."""
    election = Election(seed)
    found, keep = [], election.box.keep

    def noted(claim):
        if election.box.lease and claim.transitions != election.box.lease.claim.transitions:
            found.append((election.box.lease.claim.state, claim.state))
        keep(claim)

    election.box.keep = noted
    election.run(600)
    assert all(before == after for before, after in found)


def test_terms_leave_room_for_failures():
    """By default a renewal may fail once before the leadership is lost."""
    timing = Timing(duration=FIFTEEN, write=timedelta(seconds=5))
    assert timing.validity == pytest.approx(8.5)
    assert timing.renewal + 3 + 2 * timing.retry <= timing.validity

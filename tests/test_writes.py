"""Whose write the replicas show: ours, ours without an answer, or somebody else's."""

from datetime import timedelta

import pytest

from autoscaler.decision.model import ForeignWrite, ScaleEvent
from autoscaler.ports import LastWriter, TargetState
from autoscaler.writes import OwnWrites
from tests.cycles import START

LATER = START + timedelta(minutes=1)
US = LastWriter(manager="ollama-autoscaler", at=None, is_us=True)
PERSON = LastWriter(manager="kubectl", at=START, is_us=False)
NOBODY_TELLS = None
WRITERS = pytest.mark.parametrize("writer", [US, PERSON, NOBODY_TELLS], ids=["us", "other", "-"])


def seen(current, writer=NOBODY_TELLS):
    """Return what the API shows."""
    return TargetState(current=current, ready=current, pods=(), writer=writer)


def look(writes, state, *, zero_is_off=True):
    """Return what one cycle makes of it: the write of ours that arrived, and the foreign one."""
    arrived = writes.arrived(state, LATER)
    foreign = writes.foreign(state, zero_is_off=zero_is_off)
    writes.accept(state)
    return arrived, foreign


def after(number, writer=US):
    """Return what is known after a first look at a number."""
    writes = OwnWrites()
    assert look(writes, seen(number, writer)) == (None, None)
    return writes


@WRITERS
def test_the_first_look_knows_nothing_and_blames_nobody(writer):
    """Whoever has written what is there."""
    assert after(3, writer).expected == 3


@WRITERS
def test_what_we_wrote_is_what_we_expect(writer):
    """Also where the API does not tell who wrote it."""
    writes = after(3, writer)
    writes.wrote(5)
    assert look(writes, seen(5, None if writer is None else US)) == (None, None)


@pytest.mark.parametrize(
    ("writer", "told"),
    [
        (PERSON, ForeignWrite(manager="kubectl", at=START, replicas=5)),
        (NOBODY_TELLS, ForeignWrite(manager="unknown", replicas=5)),
        (US, ForeignWrite(manager="another ollama-autoscaler", replicas=5)),
    ],
    ids=["other", "-", "another of us"],
)
def test_another_number_is_foreign_once(writer, told):
    """It is expected from then on."""
    writes = after(3)
    assert look(writes, seen(5, writer)) == (None, told)
    assert look(writes, seen(5, writer)) == (None, None)


def test_a_foreign_write_is_foreign_until_it_is_accepted():
    """A cycle that ends before its decision has not taken note of it."""
    writes = after(3)
    for _ in range(2):
        assert writes.foreign(seen(5, PERSON), zero_is_off=True) is not None


def test_the_same_number_is_foreign_where_somebody_else_wrote_it_after_us():
    """A GitOps controller that applies its manifest again, before or after our next look."""
    for looks in (0, 1):
        writes = after(3, PERSON)
        writes.wrote(5)
        for _ in range(looks):
            look(writes, seen(5, US))
        assert look(writes, seen(5, PERSON))[1].manager == "kubectl"
        assert look(writes, seen(5, PERSON)) == (None, None)


def test_the_same_number_is_not_foreign_where_it_was_theirs_before():
    """Nothing has changed."""
    assert look(after(3, PERSON), seen(3, PERSON)) == (None, None)


@pytest.mark.parametrize(("before", "now"), [(3, 0), (0, 3), (0, 0)])
def test_zero_is_a_switch_where_it_is_nothing_that_we_ask_for(before, now):
    """Elsewhere a number like any other, which a person may set as well."""
    assert look(after(before), seen(now, PERSON), zero_is_off=True)[1] is None
    foreign = look(after(before), seen(now, PERSON), zero_is_off=False)[1]
    assert foreign is not None
    assert foreign.replicas == now


# --- answers that were lost ---------------------------------------------------------------------


@pytest.mark.parametrize("writer", [US, NOBODY_TELLS], ids=["us", "-"])
def test_a_write_whose_answer_was_lost_arrives_once(writer):
    """With the time at which it was made; and then it is expected."""
    writes = after(3, writer)
    writes.lost(3, 5, START)
    assert look(writes, seen(5, writer)) == (ScaleEvent(at=START, change=2), None)
    assert look(writes, seen(5, writer)) == (None, None)


def test_a_write_that_did_not_happen_never_arrives():
    """It is still in doubt, and the next one that succeeds ends that."""
    writes = after(3)
    writes.lost(3, 5, START)
    assert look(writes, seen(3, US)) == (None, None)
    writes.wrote(4)
    assert look(writes, seen(5, US))[1] is not None


def test_the_same_number_of_somebody_else_is_no_write_of_ours():
    """Where the API tells who it was."""
    writes = after(3)
    writes.lost(3, 5, START)
    arrived, foreign = look(writes, seen(5, PERSON))
    assert arrived is None
    assert foreign.manager == "kubectl"


def test_where_nobody_tells_only_the_very_number_in_doubt_is_ours():
    """Any other is foreign, and ends the doubt."""
    writes = after(3, NOBODY_TELLS)
    writes.lost(3, 5, START)
    assert look(writes, seen(4))[1] is not None
    assert look(writes, seen(5))[1] is not None


def test_one_of_several_writes_in_doubt_arrives():
    """Where the API names us, it is ours, whichever of them it was."""
    writes = after(3)
    writes.lost(3, 5, START)
    writes.lost(3, 6, LATER)
    assert look(writes, seen(5, US))[0] == ScaleEvent(at=LATER, change=2)


# --- over a restart -----------------------------------------------------------------------------


def test_a_write_that_nobody_lived_to_remember_arrives():
    """The API names us; when it was, it does not tell."""
    writes = OwnWrites(3)
    assert look(writes, seen(5, US)) == (ScaleEvent(at=LATER, change=2), None)


def test_a_write_that_nobody_lived_to_remember_has_the_time_that_is_told():
    """Where there is one."""
    writes = OwnWrites(3)
    told = LastWriter(manager="ollama-autoscaler", at=START, is_us=True)
    assert look(writes, seen(5, told)) == (ScaleEvent(at=START, change=2), None)


@pytest.mark.parametrize("writer", [PERSON, NOBODY_TELLS], ids=["other", "-"])
def test_what_somebody_else_wrote_meanwhile_is_foreign(writer):
    """Where nobody tells, that is the careful reading of it."""
    assert look(OwnWrites(3), seen(5, writer))[1] is not None


def test_only_the_first_look_may_find_what_was_not_remembered():
    """Later, another of our name is another daemon."""
    writes = OwnWrites(3)
    assert look(writes, seen(3, US)) == (None, None)
    assert look(writes, seen(5, US))[1].manager == "another ollama-autoscaler"

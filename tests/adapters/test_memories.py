"""What the leader remembers, as one text: whole, bounded, and read whatever it is."""

import base64
import json
import zlib
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.adapters.memories import LONGEST_TEXT, Memories
from autoscaler.decision.model import Recommendation, ScaleEvent, ScalingState
from autoscaler.ports import Memory

AT = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)
STATE = ScalingState(
    last_cycle=AT,
    recommendations=(Recommendation(at=AT, replicas=3),),
    events=(ScaleEvent(at=AT, change=2),),
    last_up=AT,
    holds={"queue_depth": AT},
    stuck={"ollama-a": AT},
)
MEMORY = Memory(state=STATE, expected=5)


class Rig:
    """Memories in a term that the test sets."""

    def __init__(self, *targets):
        self.term = 1
        self.losses = []
        self.writes = 0
        self.memories = Memories(
            targets or ("a/b",),
            term=lambda: self.term,
            on_loss=self.losses.append,
            on_write=self.note,
        )

    def note(self):
        """Count."""
        self.writes += 1

    def keep(self, target, memory):
        """Do as a loop does at the beginning of a term."""
        self.memories.load(target)
        self.memories.save(target, memory)

    def text(self):
        """Return the text."""
        return self.memories.text()


@pytest.fixture
def rig():
    """Return memories of one target."""
    return Rig()


def test_nothing_is_lost_from_one_leader_to_the_next(rig):
    """Every field of every target."""
    rig = Rig("a/b", "a/c")
    rig.keep("a/b", MEMORY)
    rig.keep("a/c", Memory(state=ScalingState(), expected=None))
    other = Rig("a/b", "a/c")
    other.memories.begin(rig.text())
    assert other.memories.load("a/b") == MEMORY
    assert other.memories.load("a/c") == Memory(state=ScalingState(), expected=None)
    assert other.losses == []


def test_what_is_new_takes_the_place_of_what_was(rig):
    """Of the same target."""
    rig.keep("a/b", Memory(state=ScalingState(), expected=1))
    rig.memories.save("a/b", MEMORY)
    other = Rig()
    other.memories.begin(rig.text())
    assert other.memories.load("a/b") == MEMORY


def test_a_new_term_forgets_what_it_does_not_find(rig):
    """Else what we knew long ago would come back."""
    rig.keep("a/b", MEMORY)
    rig.memories.begin("")
    assert rig.memories.load("a/b") is None


def test_what_belongs_to_another_term_is_let_go(rig):
    """A cycle that began in the term before ends in this one: what it knows is old."""
    rig.memories.load("a/b")
    rig.term = 2
    rig.memories.begin("")
    rig.memories.save("a/b", MEMORY)
    assert rig.memories.load("a/b") is None
    rig.term = None
    rig.memories.save("a/b", MEMORY)
    assert rig.memories.load("a/b") is None


def test_a_write_is_worth_a_hurry(rig):
    """What changes with every cycle is not."""
    rig.keep("a/b", MEMORY)
    assert rig.writes == 1
    calm = Memory(state=ScalingState(last_cycle=AT, last_up=AT), expected=5)
    rig.memories.save("a/b", calm)
    assert rig.writes == 1
    later = ScalingState(last_cycle=AT, last_up=AT + timedelta(seconds=5))
    rig.memories.save("a/b", Memory(state=later, expected=5))
    rig.memories.save("a/b", Memory(state=later, expected=6))
    assert rig.writes == 3


def test_targets_that_are_configured_no_more_are_dropped():
    """Be they ours until now, or the leader's before us."""
    rig = Rig("a/b", "a/c")
    rig.keep("a/b", MEMORY)
    rig.keep("a/c", MEMORY)
    text = rig.text()
    rig.memories.keep_only(["a/c"])
    other = Rig("a/b", "a/c")
    other.memories.begin(rig.text())
    assert other.memories.load("a/b") is None
    assert other.memories.load("a/c") == MEMORY
    only = Rig("a/c")
    only.memories.begin(text)
    assert only.memories.load("a/b") is None
    rig.memories.save("a/b", MEMORY)
    assert rig.memories.load("a/b") is None


# --- texts of any kind ----------------------------------------------------------------------------


def packed(data):
    """Write data as a text of ours."""
    return base64.b64encode(zlib.compress(json.dumps(data).encode())).decode()


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "abc",
        base64.b64encode(b"no zlib").decode(),
        packed([]),
        packed({"version": 1}),
        packed({"version": 2, "targets": {}}),
        packed({"version": 1, "targets": []}),
        base64.b64encode(zlib.compress(b"{")).decode(),
        base64.b64encode(zlib.compress(b"[" * 100_000)).decode(),
        base64.b64encode(zlib.compress(b"{}")[:-3]).decode(),
        base64.b64encode(zlib.compress(b" " * (33 * 2**20))).decode(),
    ],
)
def test_a_text_that_nobody_understands_is_no_memory(rig, text):
    """One line says so, and there is none of the text in it."""
    rig.keep("a/b", MEMORY)
    rig.memories.begin(text)
    assert rig.memories.load("a/b") is None
    (told,) = rig.losses
    assert "begins afresh" in told
    assert len(told) < 200


def test_a_damaged_target_takes_no_other_with_it():
    """It begins afresh alone; a field of a newer version is such a damage."""
    rig = Rig("a/b", "a/c")
    rig.keep("a/b", MEMORY)
    whole = json.loads(zlib.decompress(base64.b64decode(rig.text())))
    whole["targets"]["a/c"] = {"state": {"of_tomorrow": 1}, "expected": 2}
    rig.memories.begin(packed(whole))
    assert rig.memories.load("a/b") == MEMORY
    assert rig.memories.load("a/c") is None
    (told,) = rig.losses
    assert "a/c: state.of_tomorrow = 1, unknown key" in told


@given(st.text() | st.binary().map(lambda each: base64.b64encode(each).decode()))
def test_no_text_raises(text):
    """Whatever it is."""
    Rig().memories.begin(text)


# --- size -----------------------------------------------------------------------------------------


def long(random, length):
    """Return a memory that does not compress well."""
    recommendations = tuple(
        Recommendation(at=AT + timedelta(microseconds=random.randrange(10**9)), replicas=n)
        for n in range(length)
    )
    return Memory(state=ScalingState(recommendations=recommendations), expected=2)


def test_what_does_not_fit_is_left_out_and_told_of_once():
    """The longest first: most targets lose nothing."""
    random = Random(1)
    names = [f"a/t{number:03}" for number in range(100)]
    rig = Rig(*names)
    for number, name in enumerate(names):
        rig.keep(name, long(random, 4 if number % 10 else 3000))
    text = rig.text()
    assert LONGEST_TEXT / 2 < len(text) <= LONGEST_TEXT
    rig.text()
    (told,) = rig.losses
    assert "of 100 targets does not fit" in told
    other = Rig(*names)
    other.memories.begin(text)
    kept = [name for name in names if other.memories.load(name)]
    assert {name for number, name in enumerate(names) if number % 10} <= set(kept)


def test_a_thousand_targets_fit():
    """With the entries that a window of five minutes usually has."""
    random = Random(1)
    names = [f"team-{number % 20}/ollama-{number:04}" for number in range(1000)]
    rig = Rig(*names)
    for name in names:
        rig.keep(name, Memory(state=usual(random), expected=random.randrange(2, 7)))
    assert len(rig.text()) < LONGEST_TEXT
    assert rig.losses == []


def usual(random):
    """Return the state of a target that has moved lately."""
    times = [AT + timedelta(microseconds=random.randrange(10**9)) for _ in range(5)]
    return ScalingState(
        last_cycle=times[0],
        recommendations=tuple(Recommendation(at=at, replicas=2) for at in times[1:4]),
        events=(ScaleEvent(at=times[4], change=1),),
        last_up=times[4],
    )

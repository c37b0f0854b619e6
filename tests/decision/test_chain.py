"""Lines that go on from each other, and the honest reasons why one does not."""

from dataclasses import replace

import pytest

from autoscaler.decision.chain import _KEPT, Chain, Kind
from autoscaler.decision.decide import decide, remember
from autoscaler.decision.model import ScalingState
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.shift import shifted
from autoscaler.decision.stabilize import resumed
from autoscaler.decision.verify import check
from autoscaler.decision.words import Direction, Mode, WriteResult
from tests.decision.build import at, pods_per, policy, seconds, seen

POLICY = policy(down_stabilization_window=seconds(60), up_policies=(pods_per(4, 60),))


def record(now, state, current=2, queue=1.6, **observed):
    """Return an honest record."""
    observation = seen(current, now=now, queue=queue, **observed)
    verdict = decide(POLICY, state, observation)
    moves = verdict.decision.direction is not Direction.HOLD
    done = Outcome.SCALED if observation.write is WriteResult.OK else Outcome.FAILED
    return Record(
        target="llm/ollama",
        policy=POLICY,
        observation=observation,
        state=state,
        steps=verdict.steps,
        decision=verdict.decision,
        outcome=done if moves else Outcome.HELD,
        mode=Mode.ACT,
    )


class Line:
    """A chain, and the memory that its last line has left."""

    def __init__(self):
        self.chain = Chain()
        self.left = ScalingState()

    def add(self, now, state=None, **rest):
        """Add a cycle that goes on from a state, or from what the last has left."""
        made = record(now, self.left if state is None else state, **rest)
        self.left = check(made).after
        return made, self.chain.add(made, self.left)


@pytest.fixture
def line():
    """Return a chain of three lines, with a write in the second."""
    line = Line()
    kinds = [line.add(0)[1].kind, line.add(5, queue=3.2)[1].kind, line.add(10, current=4)[1].kind]
    assert kinds == [Kind.FIRST, Kind.FOLLOWS, Kind.FOLLOWS]
    return line


def test_a_start_without_memory(line):
    """Says so, and takes nothing along."""
    made, link = line.add(15, state=ScalingState(), current=4)
    assert link.kind is Kind.AFRESH
    assert link.carry(line.left, POLICY, made) == ScalingState()


def test_cycles_that_could_not_see(line):
    """The window begins with the current replicas again."""
    before = line.left
    made, link = line.add(100, state=resumed(POLICY, before, at(100), 4), current=4)
    assert link.kind is Kind.RESUMED
    assert link.carry(before, POLICY, made) == made.state


def test_a_clock_that_was_set(line):
    """All times have moved, and nothing else has changed."""
    before = line.left
    made, link = line.add(3610, state=shifted(before, seconds(3595)), current=4)
    assert (link.kind, link.shift) == (Kind.CLOCK_SET, seconds(3595))
    assert link.carry(before, POLICY, made) == made.state


def test_a_clock_is_not_set_by_a_few_seconds(line):
    """The daemon takes no notice of so little: somebody has edited a time."""
    _, link = line.add(15, state=shifted(line.left, seconds(-3)), current=4)
    assert link.kind is Kind.BROKEN


def test_a_write_whose_answer_was_lost():
    """It is remembered once it is seen."""
    line = Line()
    line.add(0)
    line.add(5, queue=3.2, write=WriteResult.FAILED)
    before = line.left
    made, link = line.add(10, state=remember(POLICY, before, 2, at(5)), current=4)
    assert (link.kind, link.write.change) == (Kind.ARRIVED, 2)
    assert link.carry(before, POLICY, made) == made.state


def test_a_lost_write_before_cycles_that_could_not_see():
    """Both at once."""
    line = Line()
    line.add(0)
    line.add(5, queue=3.2, write=WriteResult.FAILED)
    arrived = remember(POLICY, line.left, 2, at(5))
    _, link = line.add(100, state=resumed(POLICY, arrived, at(100), 4), current=4)
    assert (link.kind, link.resumes) == (Kind.ARRIVED, True)


def test_a_lost_shrinking():
    """As much as a lost growth."""
    line = Line()
    line.add(0, current=4, queue=3.2)
    _, link = line.add(10, state=remember(POLICY, line.left, -1, at(5)), current=3, queue=3.2)
    assert (link.kind, link.write.change) == (Kind.ARRIVED, -1)


def test_a_restart_that_had_lost_the_last_lines():
    """It goes on from an earlier one."""
    chain = Line()
    chain.add(0)
    earlier = chain.left
    chain.add(5)
    _, link = chain.add(10, state=earlier)
    assert link.kind is Kind.OLDER
    chain.add(15)
    _, link = chain.add(100, state=resumed(POLICY, earlier, at(100), 2))
    assert link.kind is Kind.OLDER


def test_a_memory_of_a_cycle_that_is_not_here(line):
    """Another daemon has led in between."""
    other = Line()
    other.left = line.left
    other.add(15, current=4, queue=2.4)
    _, link = line.add(20, state=other.left, current=4)
    assert link.kind is Kind.ELSEWHERE


def test_another_time_alone_is_no_other_cycle(line):
    """A cycle would have left its recommendation."""
    edited = replace(line.left, last_cycle=at(12))
    _, link = line.add(15, state=edited, current=4)
    (found,) = link.differences
    assert (link.kind, found.where) == (Kind.BROKEN, "state.last_cycle")
    assert (found.recorded, found.decided) == ("2026-11-23T10:00:12Z", "2026-11-23T10:00:10Z")


def test_another_time_alone_may_be_a_cycle_that_recommended_nothing():
    """One that was switched off leaves nothing but its time."""
    line = Line()
    line.add(0, current=0, queue=0)
    line.add(5, current=0, queue=0)
    _, link = line.add(15, state=replace(line.left, last_cycle=at(10)), current=0, queue=0)
    assert link.kind is Kind.ELSEWHERE


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"last_up": at(3)}, "state.last_up"),
        ({"last_cycle": None}, "state.last_cycle"),
        ({"conflict_with": "kubectl"}, "state.conflict_with"),
        ({"holds": {"queue_depth": at(2)}}, "state.holds.queue_depth"),
        ({"last_cycle": at(-60)}, "state.last_cycle"),
    ],
)
def test_an_edited_memory_is_told_with_what_the_line_before_has_left(line, changes, where):
    """Each field alone."""
    before = line.left
    made, link = line.add(15, state=replace(before, **changes), current=4)
    assert link.kind is Kind.BROKEN
    assert where in [found.where for found in link.differences]
    assert link.carry(before, POLICY, made) == made.state


def test_a_time_that_an_earlier_line_has_with_another_memory(line):
    """Neither that line's, nor the last one's."""
    _, link = line.add(15, state=ScalingState(last_cycle=at(5), last_down=at(1)), current=4)
    assert link.kind is Kind.BROKEN


def test_only_so_many_lines_are_kept_in_mind():
    """Of a file of any length."""
    line = Line()
    for second in range(_KEPT + 20):
        line.add(second)
    assert len(line.chain._left) == _KEPT

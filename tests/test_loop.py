"""One cycle: what becomes of the replicas, of the state and of the report, whatever goes wrong."""

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.model import Scaling
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import MissingKind, Mode, Reason, WriteResult
from autoscaler.errors import (
    ForbiddenError,
    TargetReadError,
    TargetWriteError,
    UnknownWriteError,
)
from tests.cycles import CONFLICT, POLICY, QUERIES, STEP, UNREADABLE, FakeReporter, Rig

IN_BAND, MUCH, LITTLE = 1.6, 4.0, 0.1


def test_scales_up_and_says_so():
    """A load above the target ends in one write and one report."""
    rig = Rig()
    report = rig.cycle(MUCH)
    assert rig.target.writes == [(2, 5)]
    assert report.outcome == Outcome.SCALED
    assert report.record.decision.reason is Reason.ABOVE_TARGET
    assert rig.reporter.reports == [report]


def test_holds_without_a_write():
    """Nothing is written where nothing moves."""
    rig = Rig()
    report = rig.cycle(IN_BAND)
    assert rig.target.writes == []
    assert report.outcome == Outcome.HELD


def test_asks_every_query_once_a_cycle():
    """The metrics of one cycle are asked for together."""
    rig = Rig()
    rig.cycle()
    assert rig.source.asked == [QUERIES]


def test_a_cycle_takes_its_time_once():
    """`now` is the same for the question, the decision and the report."""
    rig = Rig()
    report = rig.cycle()
    assert report.at == report.record.observation.now == rig.clock.at


def test_the_record_decides_again():
    """Policy, state and observation of the record give the very same decision."""
    rig = Rig()
    for value in (IN_BAND, MUCH, LITTLE, MissingKind.FAILED, LITTLE):
        record = rig.cycle(value).record
        again = decide(record.policy, record.state, record.observation)
        assert (again.decision, again.steps) == (record.decision, record.steps)


@pytest.mark.parametrize("kind", list(MissingKind))
def test_a_missing_metric_never_shrinks(kind):
    """However often it is missing, the replicas stay."""
    rig = Rig()
    rig.target.replicas = 5
    for _ in range(400):
        rig.cycle(kind)
    assert rig.target.replicas == 5


# --- writes that do not succeed -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "outcome", "write"),
    [
        (CONFLICT, Outcome.CONFLICTED, WriteResult.CONFLICT),
        (ForbiddenError("may not"), Outcome.FAILED, WriteResult.FAILED),
        (TargetWriteError("no answer"), Outcome.FAILED, WriteResult.FAILED),
    ],
)
def test_a_write_that_fails_is_told_and_tried_again(error, outcome, write):
    """The report and the record know; the next cycle looks again."""
    rig = Rig()
    rig.target.write_error = error
    report = rig.cycle(MUCH)
    assert (report.outcome, report.error) == (outcome, str(error))
    assert report.record.observation.write is write
    rig.target.write_error = None
    assert rig.cycle().outcome == Outcome.SCALED
    assert rig.target.replicas == 5


def test_only_a_successful_write_starts_the_cooldown():
    """A failed write leaves the way free, a successful one closes it."""
    policy = replace(POLICY, scale_up=replace(POLICY.scale_up, cooldown=timedelta(minutes=1)))
    rig = Rig(policy)
    rig.target.write_error = TargetWriteError("no answer")
    rig.cycle(2.4)
    rig.target.write_error = None
    assert rig.cycle(2.4).outcome == Outcome.SCALED
    report = rig.cycle(4.8)
    assert report.record.decision.reason is Reason.COOLING_DOWN
    assert rig.target.replicas == 3


# --- shadow -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rig",
    [Rig(replace(POLICY, mode=Mode.SHADOW)), Rig(dry_run=True)],
    ids=["mode: shadow", "--dry-run"],
)
def test_a_shadow_decides_and_never_writes(rig):
    """The outcome says that nothing was written; the reason is the decision's own."""
    for _ in range(3):
        report = rig.cycle(MUCH)
        assert report.outcome == Outcome.DRY_RUN
        assert report.record.decision.to == 5
        assert report.record.decision.reason is Reason.ABOVE_TARGET
        assert report.record.mode is Mode.SHADOW
    assert rig.cycle(IN_BAND).outcome == Outcome.HELD
    assert rig.target.writes == []


# --- what must never end the loop ---------------------------------------------------------------


def test_a_target_that_cannot_be_read_holds():
    """No metric is asked for, nothing is written, and the report says what happened."""
    rig = Rig()
    rig.target.read_error = UNREADABLE
    report = rig.cycle(MUCH)
    assert (report.outcome, report.error, report.record) == (
        Outcome.FAILED,
        str(UNREADABLE),
        None,
    )
    assert rig.target.writes == rig.source.asked == []


def test_a_bug_is_an_outcome_with_its_place():
    """An unexpected error is told with type and line, and the next cycle runs."""
    rig = Rig()
    report = rig.cycle(KeyError("oh\nno"))
    assert report.outcome == Outcome.FAILED
    assert report.error.startswith("KeyError: ")
    assert "(cycles.py:" in report.error
    assert len(report.error.splitlines()) == 1
    assert rig.cycle(MUCH).outcome == Outcome.SCALED


def test_a_reporter_that_fails_stops_nothing():
    """Neither the loop nor the reporters after it."""

    class Broken:
        def report(self, report):
            raise BrokenPipeError

    rig = Rig(reporters=(Broken(),))
    assert rig.cycle(MUCH).outcome == Outcome.SCALED
    assert len(rig.reporter.reports) == 1


def test_reporters_are_told_in_their_order():
    """The heartbeat comes last, so that a cycle counts when all is told."""
    order = []

    class Named(FakeReporter):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def report(self, report):
            order.append(self.name)

    Rig(reporters=(Named("log"), Named("heart"))).cycle()
    assert order == ["log", "heart"]


def test_the_duration_is_measured_by_the_clock_that_never_runs_back():
    """A wall clock that is set during a cycle does not make its duration negative."""
    rig = Rig()

    class Slow(type(rig.source)):
        def ask(self, queries, now):
            rig.clock.seconds += 1.5
            rig.clock.at -= timedelta(hours=1)
            return super().ask(queries, now)

    rig.source.__class__ = Slow
    assert rig.cycle().duration == timedelta(seconds=1.5)


# --- clocks -------------------------------------------------------------------------------------


def test_a_clock_that_stands_still_skips_the_cycle():
    """Decisions need time to pass; the state waits for it."""
    rig = Rig()
    rig.cycle(IN_BAND)
    report = rig.loop.run_once()
    assert report.outcome == Outcome.SKIPPED
    assert "the clock says" in report.error
    assert rig.cycle(MUCH).outcome == Outcome.SCALED


def test_a_clock_put_back_moves_what_is_remembered_along():
    """After an hour's step back the window is as full as before: no move, no cycle lost."""
    rig = Rig()
    rig.target.replicas = 5
    rig.cycle(IN_BAND)
    rig.clock.at -= timedelta(hours=1)
    report = rig.cycle(LITTLE)
    assert report.outcome == Outcome.HELD
    assert report.record.decision.reason is Reason.STABILIZED
    assert rig.cycle(MUCH + 0.8).outcome == Outcome.SCALED


def test_a_clock_put_forward_is_survived():
    """A day's step forward empties the windows; shrinking still takes its measured load."""
    rig = Rig()
    rig.target.replicas = 4
    rig.cycle(3.2)
    rig.clock.at += timedelta(days=1)
    assert rig.cycle(3.2).outcome == Outcome.HELD


# --- restarts -----------------------------------------------------------------------------------


def test_a_restart_moves_nothing():
    """A new loop under a load that asks for less waits for a whole window first."""
    rig = Rig()
    rig.target.replicas = 5
    rig.cycle(4.0)
    waited = timedelta(0)
    for _ in range(20):
        rig.restart()
        assert rig.cycle(LITTLE).outcome == Outcome.HELD
    while rig.target.replicas == 5:
        rig.cycle(LITTLE)
        waited += STEP
    assert waited >= timedelta(minutes=5) - STEP


def test_a_long_outage_leaves_no_empty_window():
    """After ten minutes without a look, the first quiet second does not shrink what was busy."""
    rig = Rig()
    rig.target.replicas = 5
    rig.cycle(4.0)
    rig.target.read_error = UNREADABLE
    for _ in range(120):
        rig.cycle()
    rig.target.read_error = None
    reports = [rig.cycle(LITTLE) for _ in range(60)]
    assert {report.record.decision.reason for report in reports} == {Reason.STABILIZED}
    assert rig.cycle(LITTLE).outcome == Outcome.SCALED


def test_a_restart_makes_a_pending_move_up_once():
    """What the load asks for now is given, and not again."""
    rig = Rig()
    rig.target.write_error = TargetWriteError("killed before it arrived")
    rig.cycle(2.4)
    rig.target.write_error = None
    rig.restart()
    rig.cycle(2.4)
    rig.restart()
    rig.cycle(2.4)
    assert rig.target.writes[1:] == [(2, 3)]


def test_an_error_while_reading_keeps_the_state():
    """A failed cycle in between does not restart the stabilization window."""
    rig = Rig()
    rig.target.replicas = 5
    for number in range(62):
        rig.target.read_error = TargetReadError("gone") if number % 2 else None
        rig.cycle(LITTLE)
    assert rig.target.replicas < 5


# --- whose write was that ---------------------------------------------------------------------


def cooling(rig):
    """Return a rig whose policy lets it grow once in ten minutes."""
    slow = replace(POLICY, scale_up=Scaling(tolerance=0.1, cooldown=timedelta(minutes=10)))
    return Rig(policy=slow)


def test_a_write_whose_answer_was_lost_counts_once_it_is_seen():
    """Cooldown and rates hold as if the answer had come."""
    rig = cooling(Rig())
    rig.target.write_error, rig.target.writes_all_the_same = UnknownWriteError("timeout"), True
    rig.source.value = 2.4
    assert rig.loop.run_once().outcome == Outcome.FAILED
    assert rig.target.replicas == 3
    rig.source.value = 4.8
    rig.clock.pass_by()
    report = rig.loop.run_once()
    assert report.record.decision.reason is Reason.COOLING_DOWN
    assert rig.target.writes == [(2, 3)]


def test_a_write_whose_answer_was_lost_is_tried_again_where_it_did_not_happen():
    """The replicas are what they were, so nothing is to be remembered."""
    rig = cooling(Rig())
    rig.target.write_error = UnknownWriteError("timeout")
    rig.source.value = 2.4
    rig.loop.run_once()
    rig.target.write_error = None
    rig.clock.pass_by()
    assert rig.loop.run_once().outcome == Outcome.SCALED
    assert rig.target.writes == [(2, 3), (2, 3)]


def test_replicas_that_somebody_else_has_set_are_left_alone_for_a_while():
    """A person's number stands for conflict_hold, and then the load counts again."""
    rig = Rig()
    rig.loop.run_once()
    rig.target.replicas = 5
    for _ in range(3):
        rig.clock.pass_by()
        report = rig.loop.run_once()
        assert report.record.decision.reason is Reason.CONFLICT
    assert report.record.observation.foreign_write is None
    rig.clock.pass_by(POLICY.conflict_hold)
    rig.source.value = 4.8
    rig.loop.run_once()
    assert rig.target.writes == [(5, 6)]


def test_own_writes_are_no_conflict():
    """What we have written is what we expect to see."""
    rig = Rig()
    for value in (2.4, 3.2, 4.8):
        rig.source.value = value
        rig.loop.run_once()
        rig.clock.pass_by()
    assert rig.target.writes == [(2, 3), (3, 4), (4, 6)]


def test_switching_off_and_on_by_zero_replicas_is_no_conflict():
    """It is a switch of its own: on again, the load counts at once."""
    rig = Rig()
    reasons = []
    for replicas in (2, 0, 2):
        rig.target.replicas = replicas
        reasons.append(rig.loop.run_once().record.decision.reason)
        rig.clock.pass_by()
    assert reasons == [
        Reason.WITHIN_TOLERANCE,
        Reason.SCALING_DISABLED,
        Reason.WITHIN_TOLERANCE,
    ]


def test_a_shadow_beside_another_writer_goes_on_deciding():
    """The other one writes as it likes; the shadow compares."""
    rig = Rig(dry_run=True)
    for replicas in (2, 5, 3):
        rig.target.replicas = replicas
        rig.source.value = 4.8
        report = rig.loop.run_once()
        rig.clock.pass_by()
        assert report.record.decision.to == 6

"""One cycle: what becomes of the replicas, of the state and of the report, whatever goes wrong."""

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import MissingKind, Mode, Reason, WriteResult
from autoscaler.errors import (
    ForbiddenError,
    TargetWriteError,
)
from tests.cycles import (
    CONFLICT,
    POLICY,
    QUERIES,
    STEP,
    UNREADABLE,
    FakeReporter,
    FakeStore,
    Rig,
)

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


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_is_set_ends_no_span_early_and_none_late(step):
    """The window of five minutes lasts five minutes, whatever the wall clock says of them."""
    rig = Rig()
    rig.target.replicas = 5
    rig.cycle(4.0)
    rig.clock.at += step
    waited = STEP
    while rig.cycle(LITTLE).outcome == Outcome.HELD:
        waited += STEP
    assert waited == timedelta(minutes=5)


def test_the_clock_of_the_leader_before_may_have_been_another():
    """An hour ahead of ours: what it remembers lies as far back as it did for it."""
    rig = Rig()
    rig.store = FakeStore()
    rig.restart()
    rig.target.replicas = 5
    rig.cycle(4.0)
    rig.clock.at -= timedelta(hours=1)
    rig.restart()
    assert rig.cycle(LITTLE).outcome == Outcome.SKIPPED
    waited = STEP
    while rig.cycle(LITTLE).outcome == Outcome.HELD:
        waited += STEP
    assert waited == timedelta(minutes=5)


def test_what_was_seen_long_ago_is_not_acted_on():
    """A process that was halted between its look and its write looks again."""
    rig = Rig()

    class Halted(type(rig.source)):
        def ask(self, queries, now):
            rig.clock.pass_by(timedelta(minutes=1))
            return super().ask(queries, now)

    rig.source.__class__ = Halted
    report = rig.cycle(MUCH)
    assert (report.outcome, report.error) == (Outcome.SKIPPED, "what was seen is 60s old")
    assert report.record.observation.write is WriteResult.FAILED
    assert rig.target.writes == []

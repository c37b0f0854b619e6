"""From cycle to cycle: what survives a restart, who leads, and whose writes are seen."""

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.decision.model import Scaling
from autoscaler.decision.record import Outcome, to_json
from autoscaler.decision.words import Mode, Reason, WriteResult
from autoscaler.errors import TargetReadError, TargetWriteError, UnknownWriteError
from autoscaler.ports import LastWriter
from tests.cycles import POLICY, START, STEP, UNREADABLE, US, FakeStore, Rig

LITTLE = 0.1
SLOW = replace(POLICY, scale_up=Scaling(tolerance=0.1, cooldown=timedelta(minutes=10)))
"""It may grow once in ten minutes."""


def remembering(policy=POLICY):
    """Return a rig whose store outlives the process."""
    rig = Rig(policy)
    rig.store = FakeStore()
    rig.restart()
    return rig


def reason_of(report):
    """Return why the number is what it is."""
    return report.record.decision.reason


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


def test_a_restart_keeps_the_cooldown_and_the_window():
    """What the store has kept goes on as if nothing had been."""
    rig = remembering(SLOW)
    assert rig.cycle(2.4).outcome == Outcome.SCALED
    rig.restart()
    assert reason_of(rig.cycle(4.8)) is Reason.COOLING_DOWN
    waited = 2 * STEP
    while rig.cycle(LITTLE).outcome == Outcome.HELD:
        rig.restart()
        waited += STEP
    assert waited == timedelta(minutes=5) + STEP


def test_a_store_that_fails_stops_nothing():
    """What was written is told of all the same."""

    class Full(FakeStore):
        def save(self, target, memory):
            raise OSError("no space left")

    rig = Rig()
    rig.store = Full()
    rig.restart()
    report = rig.cycle(2.4)
    assert report.outcome == Outcome.SCALED
    assert report.record is not None


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


# --- terms --------------------------------------------------------------------------------------


def test_who_does_not_lead_looks_at_nothing():
    """It says so, and nothing else."""
    rig = remembering()
    rig.leadership.now = None
    report = rig.cycle(4.8)
    assert (report.outcome, report.reason, report.record) == (
        Outcome.SKIPPED,
        Reason.NOT_LEADER,
        None,
    )
    assert rig.source.asked == rig.target.writes == []
    assert rig.store.kept == {}


def test_a_new_term_goes_on_from_what_the_leader_before_has_left():
    """Its own old memory counts no more: the other one has grown meanwhile."""
    rig = remembering(SLOW)
    rig.cycle(1.6)
    rig.leadership.now = None
    rig.cycle()
    rig.leadership.now = 2
    ours, theirs = rig.loop, remembering(SLOW)
    theirs.clock, theirs.target, theirs.store = rig.clock, rig.target, rig.store
    theirs.restart()
    assert theirs.cycle(2.4).outcome == Outcome.SCALED
    rig.leadership.now = 3
    assert rig.loop is ours
    report = rig.cycle(4.8)
    assert report.record.observation.foreign_write is None
    assert reason_of(report) is Reason.COOLING_DOWN


def test_where_nothing_is_left_it_goes_on_from_what_it_knows():
    """The store was lost, the process was not."""
    rig = remembering(SLOW)
    rig.cycle(2.4)
    rig.store.kept.clear()
    rig.leadership.now = 2
    assert reason_of(rig.cycle(4.8)) is Reason.COOLING_DOWN


def test_a_leader_no_more_writes_no_more():
    """It is asked just before the write; what it has seen then is not kept either."""
    rig = remembering()
    rig.leadership.next = [1, 2, 2]
    report = rig.cycle(4.8)
    assert (report.outcome, report.error) == (Outcome.SKIPPED, "the leadership has been lost")
    assert report.record.observation.write is WriteResult.FAILED
    assert rig.target.writes == []
    rig.leadership.next, rig.leadership.now = [1], None
    rig.cycle(1.6)
    assert rig.store.kept == {}


def test_a_plan_is_taken_over_between_two_cycles():
    """The state goes on under the new one."""
    rig = Rig(SLOW)
    rig.cycle(2.4)
    assert reason_of(rig.cycle(4.8)) is Reason.COOLING_DOWN
    rig.loop.adopt(replace(rig.plan, policy=replace(SLOW, max_replicas=4, scale_up=Scaling())))
    report = rig.cycle()
    assert (report.record.decision.to, report.record.policy.max_replicas) == (4, 4)
    assert report.record.observation.foreign_write is None


# --- whose write was that ---------------------------------------------------------------------


def test_a_write_whose_answer_was_lost_counts_once_it_is_seen():
    """Cooldown and rates hold as if the answer had come."""
    rig = Rig(SLOW)
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
    rig = Rig(SLOW)
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


def test_a_shadow_keeps_in_mind_who_writes_and_decides_nothing_by_it():
    """The record names the writer; a daemon that acts has its own word for that, a conflict."""
    rig = Rig(dry_run=True)
    rig.target.set_by("kube-controller-manager", 3)
    seen = rig.cycle(2.4).record
    assert seen.observation.foreign_write is None
    assert to_json(seen)["observation"]["writer"] == "kube-controller-manager"
    acting = Rig()
    acting.target.set_by("kube-controller-manager", 3)
    seen = acting.cycle(2.4).record
    assert seen.observation.writer is None
    assert "writer" not in to_json(seen)["observation"]


def test_an_unexpected_error_leaves_the_write_in_doubt():
    """Nobody knows how far it came; the cycle is remembered and told like any other."""
    rig = Rig(SLOW)
    rig.target.write_error, rig.target.writes_all_the_same = KeyError("oh"), True
    report = rig.cycle(2.4)
    assert report.outcome == Outcome.FAILED
    assert report.error.startswith("KeyError: 'oh' (cycles.py:")
    assert report.record.decision.to == 3
    assert reason_of(rig.cycle(4.8)) is Reason.COOLING_DOWN


def test_a_write_that_nobody_lived_to_remember_starts_the_cooldown():
    """The API names us as the last writer: no conflict, and no second move."""
    rig = remembering(SLOW)
    rig.target.set_by(US, 2)
    rig.cycle(1.6)
    rig.target.set_by(US, 3)
    rig.restart()
    report = rig.cycle(4.8)
    assert report.record.observation.foreign_write is None
    assert reason_of(report) is Reason.COOLING_DOWN


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_the_api_bends_no_cooldown(hours):
    """A write that was not remembered lies between the last cycle and now."""
    rig = remembering(SLOW)
    rig.cycle(1.6)
    rig.target.set_by(US, 3)
    rig.target.writer = LastWriter(manager=US, at=START + timedelta(hours=hours), is_us=True)
    rig.restart()
    assert reason_of(rig.cycle(4.8)) is Reason.COOLING_DOWN
    rig.clock.pass_by(timedelta(minutes=10))
    assert rig.cycle().outcome == Outcome.SCALED


def test_a_conflict_outlives_the_process():
    """A restart is no way around it."""
    rig = remembering()
    rig.cycle(1.6)
    rig.target.set_by("kubectl", 5)
    assert reason_of(rig.cycle(4.8)) is Reason.CONFLICT
    rig.restart()
    assert reason_of(rig.cycle()) is Reason.CONFLICT
    assert rig.target.writes == []


def test_what_somebody_wrote_while_nobody_looked_is_a_conflict():
    """It is not the number that was remembered, and the API names another."""
    rig = remembering()
    rig.cycle(1.6)
    rig.target.set_by("kube-controller-manager", 5)
    rig.restart()
    report = rig.cycle(4.8)
    assert reason_of(report) is Reason.CONFLICT
    assert report.record.observation.foreign_write.manager == "kube-controller-manager"


def test_the_same_number_applied_again_is_a_conflict():
    """A GitOps controller has taken the replicas over, and would take every other number back."""
    rig = Rig()
    rig.target.set_by("argocd", 2)
    assert rig.cycle(2.4).outcome == Outcome.SCALED
    rig.target.set_by("argocd", 3)
    assert reason_of(rig.cycle(4.8)) is Reason.CONFLICT


def test_zero_is_a_number_like_any_other_where_we_may_ask_for_it():
    """A person who scales to zero, or up from it, is respected."""
    for before, now in ((2, 0), (0, 2)):
        rig = Rig(replace(POLICY, min_replicas=0))
        rig.target.set_by(US, before)
        rig.cycle(0.8 * before)
        rig.target.set_by("kubectl", now)
        assert reason_of(rig.cycle(4.8)) is Reason.CONFLICT


def test_a_foreign_write_outlives_a_cycle_that_fails():
    """What a cycle saw before it went wrong, the next one sees again."""
    rig = Rig()
    rig.cycle(1.6)
    rig.target.set_by("kubectl", 5)
    rig.cycle(KeyError("oh"))
    assert reason_of(rig.cycle(4.8)) is Reason.CONFLICT


def test_a_shadow_that_begins_to_act_does_not_fight_what_it_has_watched():
    """What others wrote meanwhile is what it begins with."""
    rig = Rig(replace(POLICY, mode=Mode.SHADOW))
    rig.cycle(1.6)
    rig.target.set_by("kubectl", 4)
    rig.cycle(3.2)
    rig.loop.adopt(replace(rig.plan, policy=POLICY))
    assert rig.cycle(4.8).outcome == Outcome.SCALED

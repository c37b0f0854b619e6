"""What comes next: stories in literal time, and that whatever is stated is true."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decision.ahead import Start, cycles_ahead, start_after
from autoscaler.decision.decide import Verdict, decide
from autoscaler.decision.edges import value_of, with_value
from autoscaler.decision.foretold import foretell
from autoscaler.decision.model import ForeignWrite, Missing, Pod, Samples, Schedule
from autoscaler.decision.outlook import Condition, Move, Outlook, foresee
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.words import Direction, Mode, OnEmpty, Reason, WriteResult
from tests.decision.build import (
    CPU,
    QUEUE,
    Story,
    at,
    missing,
    pending,
    per_pod,
    percent_per,
    pods_per,
    policy,
    running,
    seconds,
    seen,
)
from tests.decision.test_properties import histories, stuck_histories

STEP = seconds(5)


def record_of(policy, state, observation, verdict: Verdict) -> Record:
    """Return the record of a cycle whose write, if any, had the result that it says."""
    outcome = Outcome.HELD
    if verdict.decision.direction is not Direction.HOLD:
        ok = observation.write is WriteResult.OK
        outcome = Outcome.SCALED if ok else Outcome.FAILED
    elif verdict.decision.replace:
        outcome = Outcome.REPLACED
    return Record(
        target="llm/ollama",
        policy=policy,
        observation=observation,
        state=state,
        steps=verdict.steps,
        decision=verdict.decision,
        outcome=outcome,
        mode=Mode.ACT,
    )


class Foretold(Story):
    """A story that is looked ahead from after its last cycle."""

    record: Record

    def cycle(self, now: float, **rest) -> Verdict:
        """Run one cycle and keep its record."""
        before, observation = self.state, seen(self.current, now=now, **rest)
        verdict = super().cycle(now, **rest)
        self.record = record_of(self.policy, before, observation, verdict)
        return verdict

    def outlook(self, horizon: float = 3600) -> Outlook:
        """Look ahead."""
        return foresee(self.record, STEP, seconds(horizon))

    def told(self) -> str:
        """Return what is to come in one sentence."""
        return foretell(self.outlook())


# --- stories ------------------------------------------------------------------------------------


def test_nothing_to_do():
    """How far the metric may go, and what would come beyond each of them."""
    story = Foretold(policy(min_replicas=2, max_replicas=6), 3)
    story.cycle(0, queue=2.4)
    assert story.outlook().move is None
    assert story.told() == (
        "nothing to do: stays at 3 while queue_depth stays between 1.6 and 2.64; "
        "would shrink to 2 once queue_depth is under 1.6; "
        "would grow to 4 once queue_depth is above 2.64"
    )


def test_shrinking_waits_for_its_window():
    """When, under which condition, and what holds it back until then."""
    story = Foretold(policy(down_stabilization_window=seconds(300)), 4)
    story.cycle(0, queue=3.2)
    story.cycle(30, queue=1.5)
    outlook = story.outlook()
    assert outlook.move == Move(at=at(300), to=2, reason=Reason.BELOW_TARGET)
    assert outlook.conditions == (Condition(metric="queue_depth", high=pytest.approx(1.6)),)
    assert not outlook.further  # what was wanted since is still in the window
    assert story.told() == (
        "shrinks to 2 at 10:05:00Z if queue_depth stays under 1.6 (BelowTarget); "
        "until then Stabilized (highest recommendation of the last 300s is 4)"
    )


def test_a_metric_may_be_on_an_edge():
    """Then that is where its condition ends."""
    story = Foretold(policy(min_replicas=2, down_stabilization_window=seconds(300)), 4)
    story.cycle(0, queue=1.6)
    assert "if queue_depth stays under 1.6 (" in story.told()


def test_two_holds_follow_each_other():
    """A window that ends before a cooldown does."""
    story = Foretold(
        policy(min_replicas=2, down_stabilization_window=seconds(60), down_cooldown=seconds(120)), 6
    )
    story.cycle(0, queue=4.8)
    story.cycle(60, queue=2.4)
    assert story.current == 3
    story.cycle(65, queue=1.5)
    outlook = story.outlook()
    assert outlook.move == Move(at=at(180), to=2, reason=Reason.BELOW_TARGET)
    assert [(hold.reason, hold.until) for hold in outlook.holds] == [
        (Reason.STABILIZED, at(120)),
        (Reason.COOLING_DOWN, at(180)),
    ]
    assert not outlook.further  # the minimum is the end


def test_a_rate_policy_lets_the_next_step_through():
    """At the end of its period, for a metric that stays as high."""
    story = Foretold(policy(up_policies=(pods_per(2, 15), percent_per(10, 15))), 2)
    story.cycle(0, queue=1.6)
    story.cycle(5, queue=8.0)
    assert story.current == 4
    assert story.told().startswith("grows to 6 at 10:00:20Z if queue_depth stays above 4 (")
    assert "until then RateLimited (rate policies allow 4 now)" in story.told()


def test_after_a_conflict_it_goes_on():
    """Nothing may come of it: then it is told that and when it ends."""
    story = Foretold(policy(min_replicas=2), 2)
    story.cycle(0, queue=1.5, foreign_write=ForeignWrite(manager="kubectl"))
    assert story.told() == (
        "goes on at 10:10:00Z when conflict_hold ends; "
        "stays at 2 while queue_depth stays under 1.76; "
        "would grow to 3 once queue_depth has been above 1.76 for 10m"
    )
    story.cycle(5, queue=5.0)
    assert story.told() == (
        "grows to 7 or more at 10:10:00Z if queue_depth stays above 4.8 (AboveTarget); "
        "until then Conflict (kubectl changed replicas, seen at 2026-11-23T10:00:00+00:00)"
    )


def test_what_has_no_end_is_told_as_such():
    """A pause, a minimum and a rate that is switched off end by no clock."""
    story = Foretold(policy(min_replicas=2), 2)
    story.cycle(0, queue=9.0, paused=True)
    assert story.told() == "stays at 2: Paused (paused)"
    story.cycle(5, queue=0.1)
    assert story.told() == (
        "stays at 2: AtMinimum (min_replicas 2, max_replicas 20); "
        "would grow to 3 once queue_depth is above 1.76"
    )


def test_a_missing_metric_has_no_condition():
    """It blocks until its limit, and then the number that is declared applies."""
    story = Foretold(policy(metrics=(QUEUE, CPU)), 4)
    story.cycle(0, queue=0.1, cpu=missing())
    outlook = story.outlook()
    assert [each.metric for each in outlook.conditions] == ["queue_depth"]
    assert outlook.move == Move(at=at(900), to=1, reason=Reason.BELOW_TARGET)
    assert [(hold.reason, hold.until) for hold in outlook.holds] == [
        (Reason.METRIC_FAILED, at(900))
    ]
    story.cycle(5, queue=missing(), cpu=missing())
    told = story.told()
    assert told.startswith("goes on at 10:15:05Z when hold_limit ends; stays at 4: HoldExpired")


def test_the_last_replica_goes_when_nothing_has_been_in_the_system():
    """For its period, and only at 0."""
    story = Foretold(policy(min_replicas=0, idle_period=seconds(600)), 1)
    story.cycle(0, queue=0.0)
    assert story.told() == (
        "shrinks to 0 at 10:10:00Z if queue_depth stays at 0 (BelowTarget); "
        "until then NotIdle (idle for 5s of 600s)"
    )
    story.cycle(5, queue=0.5)
    assert "would shrink to 0 once queue_depth has been 0 for 10m 5s" in story.told()
    asleep = Foretold(policy(min_replicas=0, idle_period=seconds(600)), 0)
    asleep.cycle(0, queue=0.0)
    assert asleep.told() == (
        "nothing to do: stays at 0 while queue_depth stays at 0; "
        "would grow to 1 once queue_depth is above 0"
    )


def test_a_schedule_is_seen_coming():
    """Its window opens within the hour."""
    morning = Schedule(name="morning", start="30 10 * * *", end="0 20 * * *", min_replicas=4)
    story = Foretold(policy(min_replicas=2, schedules=(morning,)), 2)
    story.cycle(0, queue=1.5)
    assert story.told() == "grows to 4 at 10:30:00Z if queue_depth stays under 1.76 (AtMinimum)"
    assert story.outlook(horizon=600).move is None


def test_a_stuck_pod_is_replaced():
    """When its clock runs out; of a metric by which it looks so, no condition is told."""
    watching = policy(metrics=(QUEUE, CPU), stuck_after=seconds(120), restart_stuck=True)
    story = Foretold(watching, 2)
    pods = tuple(Pod(name=name, in_flight=1, created=at(-3600)) for name in ("a", "b"))
    story.cycle(0, queue=1.5, cpu=per_pod({"a": 0.0, "b": 0.7}), pods=pods)
    outlook = story.outlook()
    assert [each.metric for each in outlook.conditions] == ["queue_depth"]
    assert outlook.move is not None
    assert outlook.move.at == at(120)
    story = Foretold(replace(watching, max_replicas=2), 2)
    story.cycle(0, queue=1.5, cpu=per_pod({"a": 0.0, "b": 0.7}), pods=pods)
    assert story.told().startswith("replaces a at 10:02:00Z if queue_depth stays above 0.8 (")
    story.cycle(60, queue=1.5, cpu=per_pod({"a": 0.0, "b": 0.7}, now=60), pods=pods)
    story.cycle(120, queue=1.5, cpu=per_pod({"a": 0.0, "b": 0.7}, now=120), pods=pods)
    assert story.record.outcome is Outcome.REPLACED
    assert "replaces" not in story.told()


def test_a_use_at_which_pods_would_look_stuck_is_an_edge():
    """With requests in flight and next to no use."""
    watching = policy(
        metrics=(QUEUE, CPU),
        min_replicas=2,
        max_replicas=2,
        stuck_after=seconds(120),
        restart_stuck=True,
    )
    story = Foretold(watching, 2)
    one, other = Pod(name="a", in_flight=1, created=at(-60)), Pod(name="b", created=at(-60))
    story.cycle(0, queue=1.5, cpu=per_pod({"a": 0.4, "b": 0.4}), pods=(one, other))
    assert story.told().endswith("would replace a once cpu_to_limit has been under 0.035 for 2m 5s")


def test_replicas_that_find_no_node_are_given_back():
    """When `pending_limit` ends."""
    story = Foretold(policy(), 3)
    pods = (*running("a"), *pending("b", "c", born=-100))
    story.cycle(0, queue=2.4, ready=1, pods=pods)
    outlook = story.outlook()
    assert outlook.move == Move(at=at(200), to=1, reason=Reason.GIVEN_BACK)


def test_victims_are_gone_in_what_follows():
    """So that what was just decided is not decided once more."""
    story = Foretold(policy(metrics=(CPU,)), 3)
    cpu = per_pod({"a": 0.2, "b": 0.2, "c": 0.2})
    story.cycle(0, cpu=cpu, pods=running("a", "b", "c"))
    assert story.current == 1
    start = start_after(story.record, STEP)
    assert [pod.name for pod in start.observation.pods or ()] == ["c"]
    assert (start.observation.current, start.observation.ready) == (1, 1)


def test_a_write_that_failed_is_tried_again():
    """In the next cycle."""
    story = Foretold(policy(), 2)
    story.cycle(0, queue=5.0, write=WriteResult.FAILED)
    assert story.outlook().move == Move(at=at(5), to=7, reason=Reason.ABOVE_TARGET)


def test_a_metric_without_a_sample_has_no_condition():
    """An empty answer that counts as 0 has no value that could be another."""
    story = Foretold(policy(metrics=(replace(QUEUE, on_empty=OnEmpty.ZERO),)), 1)
    story.cycle(0, queue=Samples(samples=()))
    outlook = story.outlook()
    assert (outlook.conditions, outlook.turns) == ((), ())
    assert story.told().startswith("stays at 1: AtMinimum")


def test_clocks_that_run_out_all_the_time_end_the_look_ahead():
    """It costs no more than some hundred decisions."""
    story = Foretold(policy(hold_limit=seconds(1), metrics=(CPU,)), 2)
    story.cycle(0, cpu=per_pod({"a": 0.6}), pods=running("a", "b"))
    story.state = replace(story.state, holds={"cpu_to_limit": at(-1)})
    story.cycle(5, cpu=per_pod({"a": 0.6}, now=5), pods=running("a", "b"))
    assert len(list(cycles_ahead(start_after(story.record, STEP)))) <= 201
    assert at(900) < story.outlook().until < at(3605)


def test_a_step_longer_than_the_horizon_is_one_cycle():
    """The next one is always looked at."""
    story = Foretold(policy(), 2)
    story.cycle(0, queue=5.0, write=WriteResult.FAILED)
    outlook = foresee(story.record, seconds(7200), seconds(3600))
    assert (outlook.until, outlook.move and outlook.move.to) == (at(7200), 7)


# --- whatever is stated is true -----------------------------------------------------------------

LONG = seconds(600)


def every_cycle(start: Start) -> Move | None:
    """Return the first move, found by deciding each single cycle."""
    state = start.state
    for cycle in range(1, start.cycles + 1):
        by = cycle * start.step
        observation = start.observation
        metrics = {
            name: answer
            if isinstance(answer, Missing)
            else Samples(samples=tuple(replace(each, at=each.at + by) for each in answer.samples))
            for name, answer in observation.metrics.items()
        }
        later = replace(observation, now=observation.now + by, metrics=metrics)
        verdict = decide(start.policy, state, later)
        state, decision = verdict.state, verdict.decision
        if decision.direction is not Direction.HOLD or decision.replace:
            reason, pod = decision.reason, decision.replace
            return Move(at=later.now, to=decision.to, reason=reason, replace=pod)
    return None


@st.composite
def records(draw: st.DrawFn) -> tuple[Record, timedelta]:
    """Return the record of the last cycle of some history, and an interval."""
    policy, cycles = draw(histories() | stuck_histories())
    state, observation, verdict = cycles[-1]
    written = draw(st.sampled_from([WriteResult.OK, WriteResult.FAILED]))
    record = record_of(policy, state, replace(observation, write=written), verdict)
    return record, seconds(draw(st.integers(3, 40)))


@given(records())
def test_the_first_move_is_that_of_deciding_each_cycle(drawn):
    """Leaving out the cycles in between changes neither its time, its number nor its reason."""
    record, step = drawn
    start = start_after(record, step, LONG)
    assert foresee(record, step, LONG).move == every_cycle(start)


def same(outlook: Outlook, found: Move | None) -> bool:
    """Tell whether it came as stated: at its time, and at least as far."""
    stated = outlook.move
    if stated is None or found is None:
        return found is stated
    if (found.at, found.replace) != (stated.at, stated.replace):
        return False
    way = 1 if stated.to > outlook.current else -1
    return (found.to - stated.to) * way >= 0


@given(records(), st.floats(0, 1), st.sampled_from([1e-4, 0.01, 0.3]))
def test_within_a_condition_it_comes_and_beyond_it_does_not(drawn, share, beyond):
    """By deciding each cycle, with the metric at that value all the time."""
    record, step = drawn
    outlook = foresee(record, step, LONG)
    start = start_after(record, step, LONG)
    readings = {each.metric.name: each for each in next(cycles_ahead(start)).readings}
    if outlook.move is not None:
        start = replace(start, cycles=(outlook.move.at - record.observation.now) // step)

    def comes(metric: str, value: float) -> Move | None:
        present = value_of(readings[metric], start.observation)
        other = with_value(start.observation, metric, present, value)
        return every_cycle(replace(start, observation=other))

    for condition in outlook.conditions:
        low = 0.0 if condition.low is None else condition.low
        high = low + 50 if condition.high is None else condition.high
        margin = readings[condition.metric].metric.target * beyond
        inner = readings[condition.metric].metric.target * 1e-5
        within = min(low + inner + share * max(0.0, high - low - 2 * inner), high)
        if low + inner <= within <= high - inner:
            assert same(outlook, comes(condition.metric, within))
        if condition.high is not None:
            assert not same(outlook, comes(condition.metric, high + margin))
        if condition.low is not None and low - margin >= 0:
            assert not same(outlook, comes(condition.metric, low - margin))
    for turn in outlook.turns:
        margin = readings[turn.metric].metric.target * 1e-6
        value = turn.value + margin if turn.above else max(0.0, turn.value - margin)
        assert comes(turn.metric, value) == turn.move


@given(records())
def test_every_outlook_can_be_told(drawn):
    """On one line, whatever it is."""
    record, step = drawn
    told = foretell(foresee(record, step, LONG))
    assert told
    assert told.isprintable()

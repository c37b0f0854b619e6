"""Small worlds whose course can be worked out by hand."""

from math import isnan

import pytest

from autoscaler.backtest.engine import simulate
from autoscaler.backtest.figures import Status
from autoscaler.backtest.scaler import Fixed
from tests.backtest.build import Script, service, timed


def waits(run) -> list[float]:
    """Return the waits, as far as double precision lets them be told apart."""
    return [round(each, 9) for each in run.wait]


def test_one_replica_serves_one_after_the_other():
    """First come, first served: 0 to 10, 10 to 15, 15 to 20."""
    run = simulate(timed([(0, 10), (1, 5), (2, 5)]), service(), Fixed())

    assert waits(run) == [0, 9, 13]
    assert list(run.left) == [10, 15, 20]
    assert run.end == 20
    assert run.figures(9).share == pytest.approx(2 / 3)


def test_a_free_replica_is_taken_at_once_and_the_least_recently_used_first():
    """`leastconn` takes turns among the idle: the third request goes to the first replica."""
    script = Script({12.0: 1}, period=1.0, marks="1")
    run = simulate(timed([(0, 2), (3, 2), (6, 20)]), service(), script, initial=2)

    assert waits(run) == [0, 0, 0]
    assert run.left[2] == 26  # the marked replica 1 was idle and went at once; 0 has the request
    assert [visit.ended for visit in run.visits] == [12, 26]


def test_requests_share_a_replica_by_phi():
    """At phi 0.8 two at once run at 1/1.8.

    The first has 5 s left at 5 and ends at 14; then one is alone, and 5 of its 10 s are done.
    """
    run = simulate(timed([(0, 10), (5, 10)]), service(slots=2, phi=0.8), Fixed())

    assert waits(run) == [0, 0]
    assert list(run.left) == pytest.approx([14, 19])


def test_slots_fill_where_the_fewest_requests_are():
    """Three requests on two replicas of two slots: the third shares with the first alone."""
    two = service(slots=2, phi=1.0)
    run = simulate(timed([(0, 10), (0, 30), (1, 4)]), two, Fixed(), initial=2)

    assert list(run.left) == pytest.approx([14, 30, 9])


def test_a_new_replica_takes_who_waits_when_it_is_ready():
    """Ordered at 5, ready at 35, paid from 5 on; the first one as if it had started at -30."""
    run = simulate(timed([(0, 100), (1, 10)]), service(), Script({5.0: 2}), initial=1)

    assert waits(run) == [0, 34]
    assert [(visit.created, visit.ready_at, visit.ended) for visit in run.visits] == [
        (-30, 0, 100),
        (5, 35, 100),
    ]
    assert run.figures(10).replica_hours == pytest.approx((130 + 95) / 3600)
    assert run.figures(10).starts == 1


def test_start_up_times_vary_by_the_seed_alone():
    """A lognormal factor for each replica; the median is the set's."""
    jittered = service(start_sigma=0.3)
    ready = [
        [visit.ready_at - visit.created for visit in run.visits if visit.created > 0]
        for seed in (0, 0, 1)
        for run in [simulate(timed([(0, 500)]), jittered, Script({5.0: 9}), seed=seed)]
    ]

    assert ready[0] == ready[1]
    assert ready[0] != ready[2]
    assert len(set(ready[0])) == 8
    assert sum(span < 30 for span in ready[0] + ready[2]) in range(3, 14)


def test_who_goes_finishes_first_and_is_paid_until_then():
    """Shrunk at 10 while both are busy: the marked one takes nothing more, and ends at 40."""
    script = Script({10.0: 1}, marks="0")
    run = simulate(timed([(0, 40), (0, 60), (20, 10)]), service(), script, initial=2)

    assert waits(run) == [0, 0, 40]
    assert [visit.ended for visit in run.visits] == [40, 70]
    assert run.figures(10).cut == 0


def test_who_does_not_finish_within_the_grace_is_cut_off():
    """120 s after the order, the answer ends, whatever is missing."""
    script = Script({10.0: 1}, marks="0")
    run = simulate(timed([(0, 400), (0, 20)]), service(), script, initial=2)

    assert run.status[0] == Status.CUT
    assert run.left[0] == 130
    assert run.visits[0].ended == 130
    assert run.figures(10).cut == 1
    assert run.figures(10).share == 1.0  # it had its slot in time; the table counts it apart


def test_starting_replicas_go_first_then_marked_ones_then_the_youngest():
    """As a ReplicaSet sorts: readiness counts before the cost of deletion."""
    orders = {5.0: 3, 10.0: 2, 100.0: 3, 200.0: 2, 300.0: 1}
    run = simulate(timed([(0, 1)], span=400.0), service(), Script(orders, marks="0"), initial=2)

    assert [(round(visit.created), visit.ended) for visit in run.visits] == [
        (5, 10),  # had not started
        (-30, 200),  # marked
        (100, 300),  # the youngest
        (-30, 400),
    ]


def test_a_model_that_rested_too_long_is_loaded_again():
    """5 minutes without a request: the next one has a slot at once, and 7 s more to wait for."""
    run = simulate(
        timed([(0, 10), (309, 10), (630, 10)]), service(idle_unload=300.0, load=7.0), Fixed()
    )

    assert waits(run) == [0, 0, 0]
    assert list(run.left) == [10, 319, 647]


def test_nothing_progresses_while_the_model_loads():
    """Two in the slots of a replica that loads until 407: then each at half speed."""
    rested = service(idle_unload=300.0, load=7.0, slots=2, phi=1.0)
    run = simulate(timed([(400, 10), (402, 10)]), rested, Fixed())

    assert list(run.left) == pytest.approx([427, 427])


def test_patience_ends_in_the_queue():
    """Who has waited 120 s leaves; whoever is behind moves up."""
    run = simulate(timed([(0, 130), (1, 10), (15, 10)]), service(patience=120.0), Fixed())

    assert list(run.status) == [Status.SERVED, Status.GAVE_UP, Status.SERVED]
    assert waits(run) == [0, 120, 115]
    assert run.left[1] == 121
    assert run.figures(120).share == pytest.approx(2 / 3)
    assert run.figures(10).gave_up == 1


def test_a_full_queue_turns_away():
    """One serves, one waits, the third is dropped, and that is a miss."""
    run = simulate(timed([(0, 10), (1, 10), (2, 10), (12, 1)]), service(queue_limit=1), Fixed())

    assert list(run.status) == [Status.SERVED, Status.SERVED, Status.DROPPED, Status.SERVED]
    assert isnan(run.wait[2])
    assert run.figures(100).share == pytest.approx(3 / 4)
    assert run.figures(100).drops == 1


def test_a_replica_without_a_node_waits_for_one_and_costs_nothing():
    """Room for two: the third is placed when one that drains has gone."""
    script = Script({5.0: 3, 10.0: 2, 15.0: 3}, marks="0")
    run = simulate(timed([(0, 50), (0, 200)]), service(capacity=2), script, initial=2)

    third = next(visit for visit in run.visits if visit.created == 5)
    fourth = next(visit for visit in run.visits if visit.created == 15)
    assert (third.placed, third.ended, third.seconds) == (None, 10, 0)
    assert (fourth.placed, fourth.ready_at) == (None, None)
    script = Script({5.0: 1, 15.0: 2}, marks="0")
    run = simulate(timed([(0, 50), (0, 200)]), service(capacity=2), script, initial=2)
    late = next(visit for visit in run.visits if visit.created == 15)
    assert (late.placed, late.ready_at) == (50, 80)


def test_a_policy_sees_the_moment_as_it_is():
    """Waiting, running and the integral of both; arrivals at a tick come before it."""
    script = Script({}, period=5.0)
    simulate(timed([(0, 7), (5, 4)]), service(), script)

    assert script.seen == [
        (0.0, 1, 0, 1, 0.0),
        (5.0, 1, 1, 1, 5.0),
        (10.0, 1, 0, 1, 5.0 + 2 * 2 + 3.0),
    ]


def test_views_tell_slot_time_and_processor_time_apart():
    """Two slots busy for 9 s, of which 5 s one and 4 s both: 13 slot-seconds, 9 CPU seconds."""
    found = []

    class Looks(Fixed):
        period = 9.0

        def tick(self, truth):
            found.append((truth.ready, truth.in_system, truth.replicas))

    simulate(timed([(0, 20), (5, 20)]), service(slots=2, phi=1.0), Looks())

    ready, in_system, (view,) = found[1]
    assert (ready, in_system) == (1, 2)
    assert (view.name, view.created, view.ready_at, view.draining) == (
        "ollama-00000",
        -30,
        0,
        False,
    )
    assert (view.running, view.busy_seconds, view.cpu_seconds) == (2, 13, 9)


def test_a_run_ends_with_its_span_or_with_the_last_request():
    """Quiet time at the end is paid, too."""
    assert simulate(timed([(0, 10)], span=100.0), service(), Fixed()).end == 100
    assert simulate(timed([(0, 10)], span=5.0), service(), Fixed()).end == 10
    assert simulate(timed([], span=50.0), service(), Fixed()).figures(10).share == 1.0


def test_progress_rises_to_the_whole():
    """Whoever waits for a run is told how far it is."""
    parts = []
    simulate(timed([(0, 1)], span=10_000.0), service(), Script({}), progress=parts.append)

    assert parts == sorted(parts)
    assert len(parts) == pytest.approx(200, abs=2)
    assert parts[-1] == 1.0

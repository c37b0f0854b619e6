"""One cycle and the pods: who serves what, who goes first, and marks that nobody needs any more."""

from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.decision.model import Metric, Pod, Scaling
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import MetricType, Mode, Reason
from autoscaler.errors import ForbiddenError, TargetWriteError
from autoscaler.ports import MetricQuery
from tests.cycles import POLICY, UNREADABLE, Rig

AT_ONCE = replace(POLICY, scale_down=Scaling(tolerance=0.1))
NAMES = ("a", "b", "c", "d")


def serving(policy=AT_ONCE, dry_run=False, **requests):
    """Return a rig with a ready pod for each name, and its requests in flight."""
    rig = Rig(policy, dry_run=dry_run)
    show(rig, *requests)
    rig.gateway.requests = {
        rig.target.addresses[name]: count for name, count in requests.items() if count is not None
    }
    rig.target.replicas = len(requests)
    return rig


def show(rig, *names, **changes):
    """Let the API show these pods."""
    rig.target.pods = tuple(Pod(name=name, **changes) for name in names)
    rig.target.addresses = {name: f"10.0.0.{number}" for number, name in enumerate(names)}


# --- in flight ----------------------------------------------------------------------------------


def test_requests_in_flight_come_to_the_pods_by_their_addresses():
    """A pod that the gateway does not know, or that has no address yet, is not idle."""
    rig = serving(a=2, b=0, c=None)
    del rig.target.addresses["b"]
    pods = rig.cycle(2.4).record.observation.pods
    assert {pod.name: pod.in_flight for pod in pods} == {"a": 2, "b": None, "c": None}


def test_where_the_gateway_cannot_be_asked_nothing_is_known():
    """The decision still works, and says that it chose blindly."""
    rig = serving(a=2, b=0, c=0)
    rig.gateway.requests = None
    report = rig.cycle(1.6)
    assert report.outcome == Outcome.SCALED
    assert {pod.in_flight for pod in report.record.observation.pods} == {None}
    assert report.record.steps[-1].reason is Reason.VICTIMS_UNKNOWN


def test_the_idle_ones_are_marked():
    """Those, and before the number is set."""
    rig = serving(a=1, b=0, c=2, d=0)
    rig.cycle(1.6)
    assert (rig.target.writes, rig.target.victims) == ([(4, 2)], ("b", "d"))


def test_nobody_is_marked_to_grow():
    """Whatever is marked already."""
    rig = serving(a=0, b=0, c=0)
    rig.target.marked, rig.target.replicas = {"c"}, 2
    rig.cycle(4.8)
    assert (rig.target.writes, rig.target.victims) == ([(2, 6)], ())


# --- marks that nobody needs --------------------------------------------------------------------


def test_marks_without_a_shrinking_behind_them_are_taken_back():
    """The daemon died between the mark and the write."""
    rig = serving(a=0, b=0)
    rig.target.marked = {"a"}
    assert rig.cycle(1.6).outcome == Outcome.HELD
    assert (rig.target.unmarked, rig.target.marked) == ([("a",)], set())


@pytest.mark.parametrize("changes", [{"deleting": True}, {"phase": "Failed"}])
def test_pods_that_do_not_count_leave_no_shrinking_to_wait_for(changes):
    """As many as replicas stay, with the marked one among them."""
    rig = serving(a=0, b=0)
    rig.target.pods += (Pod(name="going", **changes),)
    rig.target.marked = {"a"}
    rig.cycle(1.6)
    assert rig.target.unmarked == [("a",)]


def test_marks_stay_while_their_shrinking_is_under_way():
    """There are more pods than replicas: the marked ones are about to go."""
    rig = serving(a=0, b=0, c=0)
    rig.target.marked, rig.target.replicas = {"c"}, 2
    rig.cycle(1.6)
    assert rig.target.unmarked == []


def test_a_second_shrinking_puts_the_marked_ones_behind_its_victims():
    """They have got requests since, and would go first; their marks are still needed."""
    rig = serving(a=1, b=0, c=0, d=1)
    rig.target.marked, rig.target.replicas = {"a"}, 3
    rig.cycle(1.6)
    assert (rig.target.writes, rig.target.victims) == ([(3, 2)], ("b", "c", "a"))


def test_a_shadow_takes_no_mark_back():
    """It writes nothing at all."""
    for rig in (
        serving(dry_run=True, a=0, b=0),
        serving(replace(AT_ONCE, mode=Mode.SHADOW), a=0, b=0),
    ):
        rig.target.marked = {"a"}
        rig.cycle(1.6)
        assert rig.target.unmarked == []


def test_a_leader_no_more_takes_no_mark_back():
    """The next one does."""
    rig = serving(a=0, b=0)
    rig.target.marked = {"a"}
    rig.leadership.next = [1, 2]
    rig.cycle(1.6)
    assert rig.target.unmarked == []


def test_a_mark_that_cannot_be_taken_back_stops_no_growing():
    """It does no harm before the next shrinking, which then marks in its order, or fails."""
    rig = serving(a=0, b=0)
    rig.target.marked, rig.target.unmark_error = {"a"}, ForbiddenError("may not")
    assert rig.cycle(4.8).outcome == Outcome.SCALED
    rig = serving(a=1, b=0, c=0)
    rig.target.marked, rig.target.unmark_error = {"a"}, ForbiddenError("may not")
    rig.cycle(1.6)
    assert rig.target.victims == ("b", "a")


# --- replacing ----------------------------------------------------------------------------------

CPU = Metric(name="queue_depth", type=MetricType.POD, target=0.8)
RESTARTS = replace(
    AT_ONCE,
    metrics=(CPU,),
    stuck_after=timedelta(seconds=10),
    restart_stuck=True,
)


def stuck():
    """Return a rig in which one pod of two has a request and does nothing, for long enough."""
    rig = serving(RESTARTS, a=1, b=1)
    query = MetricQuery(name=CPU.name, query="x", per_pod=True)
    rig.plan = replace(rig.plan, queries=(query,))
    rig.loop.adopt(rig.plan)
    rig.source.per_pod = {"a": 0.0, "b": 0.8}
    for _ in range(2):
        assert rig.cycle().outcome == Outcome.HELD
    return rig


def test_a_stuck_pod_is_replaced():
    """It is deleted, the number stays, and the report says so."""
    rig = stuck()
    report = rig.cycle()
    assert (report.outcome, report.record.decision.reason) == (
        Outcome.REPLACED,
        Reason.REPLICA_STUCK,
    )
    assert (rig.target.replaced, rig.target.writes) == (["a"], [])


def test_a_stuck_pod_that_cannot_be_deleted_is_tried_again():
    """The failure is told."""
    rig = stuck()
    rig.target.write_error = TargetWriteError("no answer")
    report = rig.cycle()
    assert (report.outcome, report.error) == (Outcome.FAILED, "no answer")
    rig.target.write_error = None
    assert rig.cycle().outcome == Outcome.REPLACED


@pytest.mark.parametrize(
    ("terms", "policy", "outcome"),
    [
        ([1, 2], RESTARTS, Outcome.SKIPPED),
        ([], replace(RESTARTS, mode=Mode.SHADOW), Outcome.DRY_RUN),
    ],
    ids=["no leader any more", "shadow"],
)
def test_who_may_not_write_replaces_nothing(terms, policy, outcome):
    """To delete a pod is a write like any other."""
    rig = stuck()
    rig.loop.adopt(replace(rig.plan, policy=policy))
    rig.leadership.next = terms
    assert rig.cycle().outcome == outcome
    assert rig.target.replaced == []


def test_a_target_that_cannot_be_read_is_not_written():
    """No pod is unmarked or replaced on what was seen before."""
    rig = stuck()
    rig.target.marked, rig.target.read_error = {"a"}, UNREADABLE
    assert rig.cycle().outcome == Outcome.FAILED
    assert rig.target.unmarked == rig.target.replaced == []

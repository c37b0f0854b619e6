"""Replicas that cannot run are given back."""

from dataclasses import replace

from autoscaler.decision.model import Pod
from autoscaler.decision.words import Reason
from tests.decision.build import (
    CPU,
    QUEUE,
    Story,
    at,
    missing,
    pending,
    per_pod,
    policy,
    running,
)


def test_pods_pending_for_the_limit_are_given_back_and_not_asked_for_at_once():
    """Five minutes unschedulable: back to what runs, and no new attempt for another five."""
    story = Story(policy(), current=4)
    stuck = (*running("a", "b"), *pending("c", "d", born=0))
    assert story.cycle(299, queue=3.2, ready=2, pods=stuck).decision.to == 4
    back = story.cycle(300, queue=3.2, ready=2, pods=stuck).decision
    assert (back.to, back.reason, set(back.victims)) == (2, Reason.GIVEN_BACK, {"c", "d"})
    held = story.cycle(305, queue=3.2, pods=running("a", "b")).decision
    assert (held.to, held.reason) == (2, Reason.PODS_PENDING)
    assert story.cycle(600, queue=3.2, pods=running("a", "b")).decision.to == 4


def test_giving_back_stops_at_the_minimum():
    """Bounds always hold."""
    story = Story(policy(min_replicas=3), current=4)
    stuck = (*running("a"), *pending("b", "c", "d", born=0))
    assert story.cycle(300, queue=3.2, ready=1, pods=stuck).decision.to == 3


def test_missing_data_never_shrinks_not_even_to_give_back():
    """What is stuck waits; growth on the account of stuck pods does too."""
    story = Story(policy(), current=4)
    stuck = (*running("a", "b"), *pending("c", "d", born=0))
    assert story.cycle(400, queue=missing(), ready=2, pods=stuck).decision.to == 4


def test_stuck_pods_never_block_shrinking():
    """The load has gone: further down than what runs."""
    story = Story(policy(), current=4)
    stuck = (*running("a", "b"), *pending("c", "d", born=0))
    assert story.cycle(300, queue=0.8, ready=2, pods=stuck).decision.to == 1


def test_growth_waits_while_pods_are_stuck_at_the_minimum():
    """Where nothing can be given back, more is not asked for either."""
    story = Story(policy(min_replicas=2), current=2)
    stuck = (*running("a"), *pending("b", born=0))
    held = story.cycle(300, queue=8, ready=1, pods=stuck).decision
    assert (held.to, held.reason) == (2, Reason.AT_MINIMUM)


def test_a_surge_pod_that_does_not_fit_takes_no_serving_replica_away():
    """During a rolling update four serve and a fifth waits: there is nothing to give back."""
    story = Story(policy(), current=4)
    pods = (*running(*"abcd"), *pending("new", born=0))
    for now in (400, 405, 410):
        assert story.cycle(now, queue=3.2, pods=pods).decision.to == 4


def test_a_rollout_that_does_not_come_up_takes_no_serving_replica_away():
    """A Deployment that shrinks takes old pods as well as new ones, so nothing is given back."""
    story = Story(policy(), current=4)
    old = tuple(replace(pod, template="old") for pod in running("a", "b", "c"))
    new = tuple(replace(pod, template="new") for pod in pending("n", born=0))
    for now in (300, 305, 310):
        assert story.cycle(now, queue=3.2, ready=3, pods=(*old, *new)).decision.to == 4
    held = story.cycle(315, queue=8, ready=3, pods=(*old, *new)).decision
    assert (held.to, held.reason) == (4, Reason.PODS_PENDING)
    undone = tuple(replace(pod, template="old") for pod in running("a", "b", "c", "d"))
    assert story.cycle(320, queue=8, pods=undone).decision.to == 10


def test_what_a_finished_rollout_has_left_behind_does_not_count():
    """Old pods that end are no rollout: the lost ones of the new template are given back."""
    story = Story(policy(), current=3)
    old = Pod(name="a", template="old", deleting=True)
    new = (*running("b"), *pending("c", "d", born=0))
    pods = (old, *(replace(pod, template="new") for pod in new))
    assert story.cycle(300, queue=2.4, ready=1, pods=pods).decision.to == 1


def test_a_list_of_pods_that_lags_behind_gives_nothing_back_twice():
    """The pod that was given back is still listed one cycle later."""
    story = Story(policy(), current=3)
    pods = (*running("a", "b"), *pending("n", born=0))
    assert story.cycle(300, queue=2.4, ready=2, pods=pods).decision.to == 2
    assert story.cycle(305, queue=2.4, ready=2, pods=pods).decision.to == 2


def test_pods_that_were_never_created_are_given_back_with_the_stuck_ones():
    """A quota lets three of six be: what is stuck goes, the others may still come."""
    story = Story(policy(), current=6)
    pods = (
        *running("a", "b"),
        *pending("n", born=0),
        Pod(name="gone", phase="Failed", ready=False),
    )
    assert story.cycle(300, queue=4.8, ready=2, pods=pods).decision.to == 5


def test_a_pod_that_found_a_node_is_not_stuck_while_it_pulls_its_image():
    """Pending is more than unschedulable, where that is known."""
    story = Story(policy(), current=3)
    pulling = tuple(replace(pod, unschedulable=False) for pod in pending("n", born=0))
    pods = (*running("a", "b"), *pulling)
    assert story.cycle(900, queue=2.4, ready=2, pods=pods).decision.to == 3


def test_the_last_replica_is_not_given_back():
    """A cluster may only add a node for a pod that waits."""
    story = Story(policy(min_replicas=0), current=1)
    assert story.cycle(300, queue=0.8, ready=0, pods=pending("n", born=0)).decision.to == 1


def test_growth_is_free_again_once_more_run_than_could_before():
    """A node has come: no need to wait for the rest of the time."""
    story = Story(policy(), current=3)
    pods = (*running("a", "b"), *pending("n", born=0))
    assert story.cycle(300, queue=2.4, ready=2, pods=pods).decision.to == 2
    story.current = 3
    assert story.cycle(310, queue=8, pods=running("a", "b", "c")).decision.to == 10


def test_nothing_given_back_bans_nothing():
    """While a metric is missing stuck pods stay; once they run, growth is free."""
    story = Story(policy(), current=3)
    pods = (*running("a", "b"), *pending("n", born=0))
    story.cycle(300, queue=missing(), ready=2, pods=pods)
    assert story.state.given_back is None
    assert story.cycle(305, queue=8, pods=running("a", "b", "n")).decision.to == 10


def test_stuck_pods_are_not_added_to_while_they_cannot_be_given_back():
    """The other metric asks for more, and more could not run either."""
    story = Story(policy(metrics=(QUEUE, CPU)), current=3)
    pods = (*running("a", "b"), *pending("n", born=0))
    held = story.cycle(300, queue=8, cpu=missing(), ready=2, pods=pods).decision
    assert (held.to, held.reason) == (3, Reason.PODS_PENDING)


def test_a_hold_tells_from_when_on_more_are_asked_for_again():
    """Five minutes from the last cycle in which they were there."""
    story = Story(policy(), current=3)
    pods = (*running("a", "b"), *pending("n", born=0))
    story.cycle(300, queue=2.4, ready=2, pods=pods)
    held = story.cycle(305, queue=2.4, pods=running("a", "b"))
    told = "more than 2 could not be started, asked for again at 2026-11-23T10:10:00+00:00"
    assert held.steps[-1].detail == told


# --- failing ------------------------------------------------------------------------------------


def failing(*names, phase="Running"):
    """Return pods whose container does not come up."""
    return tuple(
        Pod(
            name=name,
            phase=phase,
            ready=False,
            created=at(-3600),
            failing=True,
            unschedulable=False,
        )
        for name in names
    )


def test_pods_that_fail_to_come_up_for_the_limit_are_given_back():
    """A crash loop and an image that cannot be pulled; counted from when it was first seen."""
    for phase in ("Running", "Pending"):
        story = Story(policy(), current=4)
        pods = (*running("a", "b"), *failing("c", "d", phase=phase))
        assert story.cycle(0, queue=3.2, ready=2, pods=pods).decision.to == 4
        assert story.cycle(299, queue=3.2, ready=2, pods=pods).decision.to == 4
        back = story.cycle(300, queue=3.2, ready=2, pods=pods).decision
        assert (back.to, back.reason, set(back.victims)) == (2, Reason.GIVEN_BACK, {"c", "d"})
        held = story.cycle(305, queue=3.2, pods=running("a", "b")).decision
        assert (held.to, held.reason) == (2, Reason.PODS_PENDING)


def test_a_crash_loop_runs_for_a_moment_in_between():
    """Only being ready ends it; a pod that has gone is forgotten."""
    story = Story(policy(), current=3)
    between = (*running("a", "b"), replace(failing("c")[0], failing=None))
    story.cycle(0, queue=2.4, ready=2, pods=(*running("a", "b"), *failing("c")))
    story.cycle(150, queue=2.4, ready=2, pods=between)
    assert story.state.failing == {"c": at(0)}
    assert story.cycle(300, queue=2.4, ready=2, pods=between).decision.to == 2
    story.cycle(305, queue=1.6, pods=running("a", "b"))
    assert story.state.failing == {}


def test_a_pod_that_becomes_ready_has_failed_no_more():
    """The clock begins anew."""
    story = Story(policy(), current=3)
    pods = (*running("a", "b"), *failing("c"))
    story.cycle(0, queue=2.4, ready=2, pods=pods)
    story.cycle(150, queue=2.4, pods=running("a", "b", "c"))
    assert story.cycle(300, queue=2.4, ready=2, pods=pods).decision.to == 3


def test_a_list_of_pods_that_is_not_known_ends_no_clock():
    """It was not seen that they are ready."""
    story = Story(policy(), current=3)
    pods = (*running("a", "b"), *failing("c"))
    story.cycle(0, queue=2.4, ready=2, pods=pods)
    story.cycle(150, queue=2.4, ready=2)
    assert story.cycle(300, queue=2.4, ready=2, pods=pods).decision.to == 2


def test_failing_pods_are_no_capacity_on_its_way():
    """Four are asked for, two serve; two that start carry what is over, two that fail do not."""
    cpu = per_pod({"a": 1.5, "b": 1.5})
    given = policy(metrics=(CPU,))
    starting = (*running("a", "b"), *pending("c", "d"))
    held = Story(given, current=4).cycle(0, cpu=cpu, ready=2, pods=starting).decision
    assert (held.to, held.reason) == (4, Reason.PODS_PENDING)
    pods = (*running("a", "b"), *failing("c", "d"))
    assert Story(given, current=4).cycle(0, cpu=cpu, ready=2, pods=pods).decision.to == 5


def test_failing_pods_never_block_shrinking():
    """The load has gone; who fails goes before who serves."""
    story = Story(policy(), current=3)
    pods = (*running("a", "b"), *failing("c"))
    down = story.cycle(0, queue=1.6, ready=2, pods=pods).decision
    assert (down.to, down.victims) == (2, ("c",))

"""Who goes first."""

from autoscaler.decision.model import Pod
from autoscaler.decision.victims import choose_victims
from autoscaler.decision.words import PodPhase, Reason, Stage
from tests.decision.build import Story, at, policy, running, seen

BUSY = Pod(name="busy", created=at(-10), in_flight=2)
IDLE_OLD = Pod(name="idle-old", created=at(-900), in_flight=0)
IDLE_YOUNG = Pod(name="idle-young", created=at(-100), in_flight=0)
UNASKED = Pod(name="unasked", created=at(-1), in_flight=None)
WARMING = Pod(name="warming", ready=False, created=at(-9000), in_flight=9)
STARTING = Pod(name="starting", phase=PodPhase.PENDING, ready=False)
GOING = Pod(name="going", deleting=True, in_flight=0)
DONE = Pod(name="done", phase=PodPhase.SUCCEEDED, ready=False)


def test_not_running_then_not_ready_then_least_in_flight_then_youngest():
    """The whole order; pods that are going or done are not in it."""
    pods = (BUSY, IDLE_OLD, UNASKED, GOING, WARMING, IDLE_YOUNG, DONE, STARTING)
    order = choose_victims(seen(6, pods=pods), 0)
    assert [pod.name for pod in order] == [
        "starting",
        "warming",
        "idle-young",
        "idle-old",
        "busy",
        "unasked",
    ]


def test_only_a_decision_that_shrinks_names_victims():
    """As many as it takes away."""
    story = Story(policy(), current=3)
    assert story.cycle(0, queue=2.4, pods=running("a", "b", "c")).decision.victims == ()
    assert len(story.cycle(1, queue=0.8, pods=running("a", "b", "c")).decision.victims) == 2


def test_the_pods_are_counted_not_the_replicas():
    """An earlier shrinking is not over yet, or an earlier growing not begun."""
    more = Story(policy(), current=3).cycle(0, queue=1.6, pods=running("a", "b", "c", "d"))
    assert (more.decision.to, more.decision.victims) == (2, ("a", "b"))
    fewer = Story(policy(), current=4).cycle(0, queue=1.6, pods=running("a", "b"))
    assert (fewer.decision.to, fewer.decision.victims) == (2, ())
    assert fewer.steps[-1].detail == "no pod has to go"
    assert fewer.steps[-1].reason is Reason.BELOW_TARGET


def test_without_pods_nobody_is_named():
    """The decision stands all the same."""
    decision = Story(policy(), current=3).cycle(0, queue=0.8).decision
    assert (decision.to, decision.victims) == (1, ())


def shrink(*pods, queue=0.8, current=3):
    """Return the step that names the victims of a shrink to one."""
    step = Story(policy(), current=current).cycle(0, queue=queue, pods=pods).steps[-1]
    assert (step.stage, step.from_, step.to) == (Stage.VICTIMS, 1, 1)
    return step


def test_a_shrink_tells_who_goes_and_with_how_many_requests():
    """The decision's reason, where it was chosen by them."""
    step = shrink(BUSY, IDLE_OLD, IDLE_YOUNG)
    assert step.reason is Reason.BELOW_TARGET
    assert step.detail == "idle-young (0 in flight), idle-old (0 in flight)"


def test_a_shrink_that_knows_no_requests_says_that_it_chose_blindly():
    """One that nobody could ask is enough."""
    step = shrink(BUSY, IDLE_OLD, UNASKED)
    assert step.reason is Reason.VICTIMS_UNKNOWN
    assert step.detail == "chosen blindly: idle-old (0 in flight), busy (2 in flight)"
    assert shrink(*running("a", "b", "c")).detail == "chosen blindly: a, b"


def test_a_shrink_without_known_pods_is_blind_too():
    """Kubernetes chooses."""
    step = Story(policy(), current=3).cycle(0, queue=0.8).steps[-1]
    assert step.reason is Reason.VICTIMS_UNKNOWN
    assert step.detail == "chosen blindly: the pods are not known"


def test_who_serves_nothing_is_not_chosen_blindly():
    """No request can be lost with them, whoever else could not be asked."""
    step = shrink(UNASKED, WARMING, STARTING)
    assert step.reason is Reason.BELOW_TARGET
    assert step.detail == "starting (Pending), warming (not ready)"


def test_pods_that_are_no_candidates_need_not_be_known():
    """Only who serves matters."""
    step = shrink(BUSY, IDLE_OLD, Pod(name="going", deleting=True), WARMING)
    assert step.reason is Reason.BELOW_TARGET

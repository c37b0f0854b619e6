"""The daemon's view of a Deployment and what it writes, against the API."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.adapters.kubernetes import FIELD_MANAGER
from autoscaler.adapters.kubernetes.annotations import COST, MARK, PAUSED
from autoscaler.decision.words import Direction, PodPhase
from autoscaler.errors import ConflictError, TargetReadError, TargetWriteError, UnknownWriteError
from tests.contract.world import NAME

FIRST = {COST: "-1000", MARK: "true"}
SECOND = {COST: "-999", MARK: "true"}


@pytest.fixture
def target(world):
    """Look at the Deployment of two pods, after a first read."""
    target = world.target()
    target.read()
    return target


def of_three(empty):
    """Make a Deployment of three pods that stay while they go, and look at it."""
    empty.hold()
    empty.deploy(3)
    target = empty.target()
    target.read()
    return target


def notes(world) -> dict[str, dict[str, str]]:
    """Return the annotations of each pod."""
    pods = world.pods().items()
    return {name: pod["metadata"].get("annotations") or {} for name, pod in pods}


def scale_by_hand(world, count) -> None:
    """Scale as somebody."""
    world.patch(f"deployments/{NAME}/scale", {"spec": {"replicas": count}}, agent="kubectl")


# --- what is seen -------------------------------------------------------------------------------


def test_pods_and_replicas_are_seen(world, target):
    """As they are, with the addresses by which the gateway knows them."""
    state = target.read()
    pods = world.pods()
    assert (state.current, state.ready, state.marked) == (2, 2, ())
    assert {pod.name for pod in state.pods} == pods.keys()
    assert state.addresses == {name: pod["status"]["podIP"] for name, pod in pods.items()}
    for pod in state.pods:
        assert (pod.phase, pod.ready, pod.deleting) == (PodPhase.RUNNING, True, False)
        assert (pod.unschedulable, pod.failing) == (False, False)
        assert abs(datetime.now(UTC) - pod.created) < timedelta(minutes=2)
    assert (state.writer.manager, state.writer.is_us) == ("kubectl-client-side-apply", False)
    assert state.writer.at is not None


def test_the_deployment_is_known_by_its_uid(world, target):
    """So that an event about it is found with it."""
    assert target.about.uid == world.deployment()["metadata"]["uid"]


def test_pods_without_a_place_are_seen(empty):
    """They are there, and can be told from those that only start."""
    empty.deploy(3, places=1)
    state = empty.target().read()
    waiting = [pod for pod in state.pods if pod.unschedulable]
    assert (state.current, state.ready, len(waiting)) == (3, 1, 2)
    assert {pod.phase for pod in waiting} == {PodPhase.PENDING}
    assert not {pod.name for pod in waiting} & state.addresses.keys()


def test_pods_that_are_not_ready_are_seen(empty):
    """They run."""
    empty.deploy(2, ready=False)
    state = empty.target().read()
    assert (state.current, state.ready) == (2, 0)
    assert {(pod.phase, pod.ready) for pod in state.pods} == {(PodPhase.RUNNING, False)}


def test_pods_that_go_are_seen_and_do_not_count(world, target):
    """They may still have requests."""
    world.hold()
    scale_by_hand(world, 1)
    world.until(lambda: len(world.staying()) == 1)
    state = target.read()
    assert (state.current, state.ready) == (1, 1)
    assert sorted(pod.deleting for pod in state.pods) == [False, True]


def test_pods_of_others_are_not_seen(world, target):
    """Neither where they have the same labels nor where the names are alike."""
    own = next(iter(world.pods().values()))["metadata"]
    (owner,) = own["ownerReferences"]
    alone = {"name": f"{NAME}-5d96b7958f-abcde", "labels": {"app": NAME}}
    of_another = {
        "name": f"{NAME}-web-5d96b7958f-abcde",
        "labels": own["labels"],
        "ownerReferences": [{**owner, "name": f"{NAME}-web-5d96b7958f", "uid": "0-0"}],
    }
    container = {"name": "x", "image": "sandbox/replica"}
    for metadata in (alone, of_another):
        world.make_pod({"metadata": metadata, "spec": {"containers": [container]}})
    assert len(world.pods()) == 4
    assert len(target.read().pods) == 2


@pytest.mark.parametrize(
    ("value", "both", "one"),
    [
        ("true", True, None),
        ("scale-up", False, Direction.UP),
        ("scale-down", False, Direction.DOWN),
        ("", False, None),
        ("nonsense", True, None),
    ],
)
def test_a_pause_is_seen(world, target, value, both, one):
    """As `kubectl annotate` writes it."""
    assert world.annotate(f"deployments/{NAME}", {PAUSED: value}).code == 200
    state = target.read()
    assert (state.paused, state.paused_direction) == (both, one)


def test_a_missing_deployment_cannot_be_read(empty):
    """The error says what was not found."""
    with pytest.raises(TargetReadError, match=f'deployments.apps "{NAME}" not found'):
        empty.target().read()


# --- scaling ------------------------------------------------------------------------------------


def test_it_grows_under_our_name(world, target):
    """With one write, which takes the replicas from whoever had them."""
    target.scale(2, 4)
    state = target.read()
    assert (state.current, state.writer.manager, state.writer.is_us) == (4, FIELD_MANAGER, True)
    assert state.writer.at is None
    assert world.writes() == [("patch", "deployments/scale", 200)]


def test_it_shrinks_by_its_victims(empty):
    """Exactly they go, in whatever order Kubernetes would have taken them."""
    target = of_three(empty)
    chosen = sorted(empty.pods())[:2]
    target.scale(3, 1, chosen)
    empty.until(lambda: len(empty.staying()) == 1)
    assert empty.pods().keys() - empty.staying() == set(chosen)
    assert {name: notes(empty)[name] for name in chosen} == {chosen[0]: FIRST, chosen[1]: SECOND}
    assert empty.writes() == [
        ("patch", "pods", 200),
        ("patch", "pods", 200),
        ("patch", "deployments/scale", 200),
    ]


def test_the_first_of_its_victims_goes_where_fewer_go(empty):
    """Somebody may set another number right after."""
    target = of_three(empty)
    first, second = sorted(empty.pods())[1:]
    target.scale(3, 2, [first, second])
    empty.until(lambda: len(empty.staying()) == 2)
    assert empty.pods().keys() - empty.staying() == {first}
    assert target.read().marked == (second,)


def test_it_goes_to_zero_and_comes_back(world, target):
    """The scale has no count there, and the test on it holds all the same."""
    target.scale(2, 0)
    assert target.read().current == 0
    world.until(lambda: not world.pods())
    target.scale(0, 3)
    world.until(lambda: target.read().ready == 3)
    assert target.read().current == 3


def test_after_zero_nobody_is_known_to_have_written(world, target):
    """Not even after our next write, until somebody writes the Deployment itself."""
    target.scale(2, 0)
    assert target.read().writer is None
    target.scale(0, 1)
    assert target.read().writer is None
    world.patch(f"deployments/{NAME}?fieldManager=kubectl-edit", {"spec": {"replicas": 2}})
    assert target.read().writer.manager == "kubectl-edit"
    target.scale(2, 3)
    assert target.read().writer.is_us


@pytest.mark.parametrize(("theirs", "ours", "to"), [(4, 2, 1), (0, 2, 1), (1, 0, 2), (4, 3, 0)])
def test_another_number_than_was_read_is_a_conflict(world, target, theirs, ours, to):
    """Zero included, on either side."""
    scale_by_hand(world, theirs)
    with pytest.raises(ConflictError):
        target.scale(ours, to)
    assert world.replicas() == theirs


def test_a_conflict_takes_the_marks_back(empty):
    """Pods stay as they were, those with a cost of somebody else's too."""
    target = of_three(empty)
    first, second, _ = sorted(empty.pods())
    assert empty.annotate(f"pods/{first}", {COST: "7"}).code == 200
    target.read()
    scale_by_hand(empty, 4)
    with pytest.raises(ConflictError):
        target.scale(3, 1, [first, second])
    assert notes(empty)[first] == {COST: "7"}
    assert notes(empty)[second] == {}
    assert len(empty.staying()) >= 3


@pytest.mark.parametrize("number", [-1, 2**31])
def test_an_impossible_number_is_no_conflict(world, target, number):
    """Nor is there any doubt whether it was written."""
    with pytest.raises(TargetWriteError) as raised:
        target.scale(2, number)
    assert not isinstance(raised.value, UnknownWriteError)
    assert world.replicas() == 2


def test_a_deployment_that_is_gone_is_no_conflict(empty):
    """It is told that it was not found."""
    with pytest.raises(TargetWriteError, match=f'deployments.apps "{NAME}" not found'):
        empty.target().scale(2, 3)


# --- marks --------------------------------------------------------------------------------------


def test_marks_are_seen_and_taken_back(empty):
    """A cost of before is put back, whatever form it has."""
    target = of_three(empty)
    first, second, third = sorted(empty.pods())
    assert empty.annotate(f"pods/{first}", {COST: "-01"}).code == 200
    assert empty.annotate(f"pods/{second}", {COST: "5"}).code == 200
    target.read()
    for rank, name in enumerate((first, second, third)):
        target._mark(name, rank)
    assert set(target.read().marked) == {first, second, third}
    assert notes(empty)[second] == {COST: "-999", MARK: "5"}
    target.unmark([first, second, third])
    assert target.read().marked == ()
    assert notes(empty) == {first: {COST: "-01"}, second: {COST: "5"}, third: {}}


def test_another_reader_takes_marks_back(empty):
    """What was there before stands in the mark, so whoever leads next can."""
    target = of_three(empty)
    name = min(empty.pods())
    assert empty.annotate(f"pods/{name}", {COST: "7"}).code == 200
    target.read()
    target._mark(name, 0)
    other = empty.target()
    assert other.read().marked == (name,)
    other.unmark([name])
    assert notes(empty)[name] == {COST: "7"}


def test_a_pod_that_is_gone_is_passed_over(world, target):
    """It needs neither mark nor unmarking, and the number is set all the same."""
    name = min(world.pods())
    assert world.raw("DELETE", f"pods/{name}?gracePeriodSeconds=0").code == 200
    world.until(lambda: name not in world.pods())
    target.unmark([name])
    target.scale(2, 1, [name])
    assert world.replicas() == 1


def test_a_pod_that_goes_is_marked_all_the_same(world, target):
    """It makes no difference to it."""
    world.hold()
    name = min(world.pods())
    assert world.raw("DELETE", f"pods/{name}").code == 200
    target.scale(2, 1, [name])
    assert notes(world)[name] == FIRST
    assert target.read().marked == ()  # it is on its way


# --- replacing ----------------------------------------------------------------------------------


def test_a_pod_is_replaced(world, target):
    """Another one comes at once, and the number stays."""
    world.give_right("delete", "pods")
    world.hold()
    name = min(world.pods())
    target.replace(name)
    world.until(lambda: len(world.staying()) == 2)
    assert name in world.pods().keys() - world.staying()
    assert target.read().current == 2
    assert world.writes() == [("delete", "pods", 200)]


def test_a_pod_that_is_gone_is_not_replaced_again(world, target):
    """Nothing is left to do."""
    world.give_right("delete", "pods")
    name = min(world.pods())
    assert world.raw("DELETE", f"pods/{name}?gracePeriodSeconds=0").code == 200
    world.until(lambda: name not in world.pods())
    target.replace(name)
    assert world.writes() == [("delete", "pods", 404)]


def test_another_pod_of_the_name_is_not_replaced(world, target):
    """Its uid is not the one that was read."""
    world.give_right("delete", "pods")
    name = min(world.pods())
    target._pods = {**target._pods, name: replace(target._pods[name], uid="0-0")}
    with pytest.raises(ConflictError, match="the UID in the precondition"):
        target.replace(name)
    assert name in world.staying()

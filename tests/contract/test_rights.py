"""Rights: the shipped Roles are enough, and what is missing is told before it is needed."""

import re
from decimal import Decimal

import pytest

from autoscaler.adapters.kubernetes import KubernetesChecks, LeaseChecks, OtherScaler
from autoscaler.adapters.kubernetes.annotations import MARK
from autoscaler.errors import ForbiddenError, TargetReadError
from tests.contract.world import NAME

READING = ["get deployments.apps", "list pods"]
ACTING = [
    *READING,
    "patch deployments/scale.apps",
    "patch pods",
    "patch deployments.apps",
    "create events",
]
LEADING = [f"{verb} leases.coordination.k8s.io" for verb in ("create", "get", "update")]


@pytest.fixture
def checks(world) -> KubernetesChecks:
    """Ask as `autoscaler check` does."""
    return KubernetesChecks(name=NAME, **world.client())


def scaler(name, aim, *, owner=None) -> dict:
    """Write a HorizontalPodAutoscaler."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": aim}
    owned = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": owner, "uid": "u"}
    return {
        "metadata": {"name": name, "ownerReferences": [owned] if owner else []},
        "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 9},
    }


# --- what may be done ---------------------------------------------------------------------------


def test_the_shipped_roles_are_what_it_needs(world, checks):
    """To look, to act and to lead, but not to replace, which is a component of its own."""
    assert checks.rights(acts=False, replaces=False) == dict.fromkeys(READING, True)
    assert checks.rights(acts=True, replaces=False) == dict.fromkeys(ACTING, True)
    assert checks.rights(acts=True, replaces=True)["delete pods"] is False
    lease = LeaseChecks(name="autoscaler", **world.client())
    assert lease.rights() == dict.fromkeys(LEADING, True)


@pytest.mark.parametrize(
    ("verb", "resource", "group"),
    [
        ("get", "deployments", "apps"),
        ("list", "pods", ""),
        ("patch", "deployments/scale", "apps"),
        ("patch", "pods", ""),
        ("patch", "deployments", "apps"),
        ("create", "events", ""),
    ],
)
def test_a_right_that_is_missing_is_told(world, checks, verb, resource, group):
    """That one, and no other."""
    world.take_right(verb, resource, group)
    told = checks.rights(acts=True, replaces=False)
    missing = f"{verb} {resource}.{group}" if group else f"{verb} {resource}"
    assert told == {**dict.fromkeys(ACTING, True), missing: False}


@pytest.mark.parametrize("verb", ["create", "get", "update"])
def test_a_right_to_lead_that_is_missing_is_told(empty, verb):
    """They are asked for by the Lease's name, but for its creation."""
    empty.take_right(verb, "leases", "coordination.k8s.io")
    told = LeaseChecks(name="autoscaler", **empty.client()).rights()
    assert [right for right, held in told.items() if not held] == [
        f"{verb} leases.coordination.k8s.io"
    ]


def test_the_right_to_replace_is_told(world, checks):
    """Once it is given."""
    world.give_right("delete", "pods")
    assert checks.rights(acts=True, replaces=True) == dict.fromkeys([*ACTING, "delete pods"], True)


@pytest.mark.parametrize(
    ("verb", "resource", "group", "act", "kind"),
    [
        ("get", "deployments", "apps", lambda t, _: t.read(), TargetReadError),
        ("list", "pods", "", lambda t, _: t.read(), TargetReadError),
        ("patch", "deployments/scale", "apps", lambda t, _: t.scale(2, 3), ForbiddenError),
        ("patch", "pods", "", lambda t, pod: t.scale(2, 1, [pod]), ForbiddenError),
        ("delete", "pods", "", lambda t, pod: t.replace(pod), ForbiddenError),
    ],
)
def test_what_is_done_without_a_right_is_told_as_such(  # noqa: PLR0917 - one column each
    world, verb, resource, group, act, kind
):
    """With the right's name, and nothing is changed."""
    target = world.target()
    pod = target.read().pods[0].name
    world.take_right(verb, resource, group)
    told = rf'HTTP 403: .* cannot {verb} resource "{resource}" in API group "{group}" in the names'
    with pytest.raises(kind, match=told):
        act(target, pod)
    assert world.replicas() == 2
    assert len(world.staying()) == 2
    assert MARK not in world.pods()[pod]["metadata"].get("annotations", {})


def test_a_scale_without_its_right_leaves_no_mark(world):
    """Marked before, and taken back."""
    target = world.target()
    pod = target.read().pods[0].name
    world.take_right("patch", "deployments/scale", "apps")
    with pytest.raises(ForbiddenError):
        target.scale(2, 1, [pod])
    assert target.read().marked == ()
    assert world.writes() == [
        ("patch", "pods", 200),
        ("patch", "deployments/scale", 403),
        ("patch", "pods", 200),
    ]


def test_a_refusal_names_what_was_asked_for(world):
    """The resource without its subresource stands in the details, with it in the message."""
    world.take_right("patch", "deployments/scale", "apps")
    target = world.target()
    with pytest.raises(ForbiddenError) as raised:
        target.scale(2, 3)
    told = re.sub('User "[^"]+"', "User X", str(raised.value))
    assert told == (
        f"{world.namespace}/{NAME}: cannot scale from 2 to 3: HTTP 403: "
        f'deployments.apps "{NAME}" is forbidden: User X cannot patch resource '
        f'"deployments/scale" in API group "apps" in the namespace "{world.namespace}"'
    )


# --- what `check` asks --------------------------------------------------------------------------


def test_other_scalers_are_found(world, checks):
    """Those of this Deployment."""
    for each in (scaler("mine", NAME), scaler("other", "x"), scaler("keda", NAME, owner="so")):
        assert world.raw("POST", "horizontalpodautoscalers", each).code == 201
    assert checks.other_scalers() == (
        OtherScaler(kind="HorizontalPodAutoscaler", name="mine", min_replicas=1, max_replicas=9),
    )


def test_scaled_objects_are_found(world, checks):
    """Where the cluster has KEDA."""
    with world.scaled_objects():
        for name, aim in (("so", {"name": NAME}), ("set", {"name": NAME, "kind": "StatefulSet"})):
            spec = {"scaleTargetRef": aim, "maxReplicaCount": 7}
            made = {
                "apiVersion": "keda.sh/v1alpha1",
                "kind": "ScaledObject",
                "metadata": {"name": name},
                "spec": spec,
            }
            assert world.raw("POST", "scaledobjects", made).code == 201
        assert checks.other_scalers() == (
            OtherScaler(kind="ScaledObject", name="so", min_replicas=None, max_replicas=7),
        )


def test_scalers_that_may_not_be_listed_are_no_clean_bill(world, checks):
    """Whoever takes that right away is told so."""
    world.take_right("list", "horizontalpodautoscalers", "autoscaling")
    with pytest.raises(TargetReadError, match=r"cannot list horizontalpodautoscalers\.autoscaling"):
        checks.other_scalers()


@pytest.mark.parametrize(("limit", "cores"), [("2", "2"), ("500m", "0.5"), (None, None)])
def test_a_cpu_limit_is_in_cores(world, checks, limit, cores):
    """Whatever notation the manifest has; none is not zero."""
    container = {"name": "ollama", "resources": {"limits": {"cpu": limit}}}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    assert world.raw("PATCH", f"deployments/{NAME}", body).code == 200
    (container,) = checks.written().containers
    assert container.cpu_limit == (None if cores is None else Decimal(cores))


def test_annotations_that_mean_nothing_are_told(world, checks):
    """With their value, one line long."""
    wrong = {"ollama-autoscaler/pause": "true\nnow", "ollama-autoscaler/paused": "scale-up"}
    assert world.annotate(f"deployments/{NAME}", wrong).code == 200
    assert checks.written().unknown_annotations == {"ollama-autoscaler/pause": "true?now"}

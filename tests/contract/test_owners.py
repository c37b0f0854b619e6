"""Who wrote the replicas last, by the managed fields that each way of writing leaves."""

import pytest

from autoscaler.adapters.kubernetes import FIELD_MANAGER
from tests.contract.world import APPLY, JSON, MERGE, STRATEGIC

DEPLOYMENT = "deployments/ollama"
SCALE = f"{DEPLOYMENT}/scale"
APPLIED = ("kubectl-client-side-apply", "Update", "", True)
SCALED = ("kubectl", "Update", "scale", False)
OURS = (FIELD_MANAGER, "Update", "scale", False)
EDITED = ("kubectl-edit", "Update", "", True)
SERVER = ("kubectl", "Apply", "", True)


def put(world, path, count, agent="contract"):
    """Put what is there with another number, and again where a controller was faster."""

    def is_put() -> bool:
        body = world.get(path)
        body["spec"]["replicas"] = count
        return world.raw("PUT", path, body, agent=agent).code == 200

    world.until(is_put)


def scale_by_hand(world, count):
    """Write as `kubectl scale` does."""
    world.patch(SCALE, {"spec": {"replicas": count}}, MERGE, agent="kubectl")


def scale_as_we_do(world, count):
    """Write as the daemon does, without its client."""
    now = world.replicas() or None
    patch = [
        {"op": "test", "path": "/spec/replicas", "value": now},
        {"op": "replace" if now else "add", "path": "/spec/replicas", "value": count},
    ]
    world.patch(f"{SCALE}?fieldManager={FIELD_MANAGER}", patch, JSON)


def scale_as_an_autoscaler(world, count):
    """Write as the controller of a HorizontalPodAutoscaler does."""
    put(world, SCALE, count, agent="kube-controller-manager")


def edit(world, count):
    """Write as `kubectl edit` does."""
    body = {"spec": {"replicas": count}}
    world.patch(f"{DEPLOYMENT}?fieldManager=kubectl-edit", body, STRATEGIC)


def apply(world, count):
    """Write as `kubectl apply` does."""
    body = {"spec": {"replicas": count}}
    world.patch(f"{DEPLOYMENT}?fieldManager=kubectl-client-side-apply", body, STRATEGIC)


def replace(world, count):
    """Write as `kubectl replace` does."""
    put(world, f"{DEPLOYMENT}?fieldManager=kubectl-replace", count)


def apply_on_the_server(world, count, *, force=True):
    """Write as `kubectl apply --server-side` does; a count of None is left out."""
    found = world.deployment()
    kept = {key: found[key] for key in ("apiVersion", "kind")}
    spec = {key: found["spec"][key] for key in ("selector", "template")}
    if count is not None:
        spec["replicas"] = count
    body = {**kept, "metadata": {"name": "ollama"}, "spec": spec}
    query = f"fieldManager=kubectl&force={str(force).lower()}"
    return world.raw("PATCH", f"{DEPLOYMENT}?{query}", body, APPLY)


def owners(world) -> list[tuple]:
    """List who owns the count: manager, operation, subresource, and whether a time is told."""
    entries = world.deployment()["metadata"].get("managedFields", ())
    return sorted(
        (each["manager"], each["operation"], each.get("subresource", ""), "time" in each)
        for each in entries
        if "f:replicas" in each["fieldsV1"].get("f:spec", {})
    )


def writer(world) -> str | None:
    """Return whom the daemon takes for the last writer."""
    found = world.target().read().writer
    return None if found is None else found.manager


@pytest.mark.parametrize(
    ("writes", "owner"),
    [
        ([], APPLIED),
        ([(scale_by_hand, 3)], SCALED),
        ([(scale_as_we_do, 3)], OURS),
        ([(scale_as_an_autoscaler, 3)], ("kube-controller-manager", "Update", "scale", False)),
        ([(edit, 3)], EDITED),
        ([(replace, 3)], ("kubectl-replace", "Update", "", True)),
        ([(scale_as_we_do, 3), (apply, 2)], APPLIED),
        ([(scale_as_we_do, 3), (scale_by_hand, 4)], SCALED),
        ([(scale_by_hand, 3), (scale_as_we_do, 4)], OURS),
        ([(scale_as_we_do, 3), (apply_on_the_server, 4)], SERVER),
        ([(apply_on_the_server, 4), (scale_as_we_do, 3)], OURS),
        ([(edit, 3), (scale_by_hand, 4), (edit, 5)], EDITED),
        ([(scale_as_we_do, 0)], None),
        ([(edit, 0)], EDITED),
        ([(scale_by_hand, 0), (scale_as_we_do, 2)], None),
        ([(scale_by_hand, 0), (scale_by_hand, 2), (scale_by_hand, 3)], None),
        ([(scale_as_we_do, 0), (edit, 2)], EDITED),
        ([(scale_as_we_do, 0), (edit, 2), (scale_by_hand, 3)], SCALED),
        ([(edit, 0), (scale_as_we_do, 2)], OURS),
    ],
    ids=lambda value: (
        "-".join(f"{how.__name__}-{count}" for how, count in value)
        if isinstance(value, list)
        else ""
    ),
)
def test_the_count_has_one_owner(world, writes, owner):
    """It is who changed it last; after a zero by the scale it is nobody, until an edit."""
    for how, count in writes:
        how(world, count)
    assert owners(world) == ([owner] if owner else [])
    assert writer(world) == (owner[0] if owner else None)


def test_a_write_of_the_same_number_leaves_the_owner(world):
    """Whichever way it is written."""
    scale_as_we_do(world, 3)
    for how in (scale_by_hand, edit, replace, scale_as_an_autoscaler):
        how(world, 3)
    assert owners(world) == [OURS]


@pytest.mark.parametrize(
    ("before", "owner"),
    [
        ([], APPLIED[0]),
        ([(edit, 3)], "kubectl-edit"),
        ([(edit, 0)], "kubectl-edit"),
        ([(scale_as_we_do, 3)], FIELD_MANAGER),
    ],
    ids=["applied", "edited", "zero", "ours"],
)
def test_a_scale_to_the_same_number_takes_the_owners_time(world, before, owner):
    """So a time that is gone is no new write.

    A second one may take the count itself from an owner that has other fields as well; that is left
    to the real server alone.
    """
    for how, count in before:
        how(world, count)
    scale_by_hand(world, world.replicas())
    assert [(each[0], each[3]) for each in owners(world)] == [(owner, False)]
    assert writer(world) == owner


def test_a_note_at_the_deployment_is_no_write_of_the_count(world):
    """Nor is what the controllers write into its status."""
    scale_as_we_do(world, 3)
    assert world.annotate(DEPLOYMENT, {"ollama-autoscaler/paused": "true"}).code == 200
    world.until(lambda: world.deployment()["status"].get("readyReplicas") == 3)
    assert owners(world) == [OURS]


@pytest.mark.parametrize(("how", "owner"), [(scale_as_we_do, OURS), (edit, EDITED)])
def test_an_apply_of_the_same_number_shares_it(world, how, owner):
    """The later of the two is the one that applies, whatever their times say."""
    how(world, 3)
    assert apply_on_the_server(world, 3, force=False).code == 200
    # Whether the apply has a time depends on what else it took over.
    assert {each[:3] for each in owners(world)} == {SERVER[:3], owner[:3]}
    assert writer(world) == "kubectl"


def test_an_apply_of_another_number_is_refused(world):
    """Unless it is forced; the refusal names who owns the count, and the field."""
    scale_as_we_do(world, 3)
    answer = apply_on_the_server(world, 4, force=False)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert (".spec.replicas", "FieldManagerConflict") in answer.causes
    assert f'conflict with "{FIELD_MANAGER}" with subresource "scale"' in answer.body["message"]
    assert world.replicas() == 3


def test_an_apply_that_no_longer_names_the_number_gives_it_up(world):
    """Where nobody else has it, it is one; else it stays."""
    assert apply_on_the_server(world, 3).code == 200
    assert apply_on_the_server(world, None).code == 200
    assert world.replicas() == 1
    assert apply_on_the_server(world, 3).code == 200
    scale_as_we_do(world, 4)
    assert apply_on_the_server(world, None).code == 200
    assert (world.replicas(), owners(world)) == (4, [OURS])


def test_a_count_that_is_taken_away_is_owned_by_the_default(world):
    """Who removed it has set it to one."""
    scale_as_we_do(world, 3)
    world.patch(f"{DEPLOYMENT}?fieldManager=kubectl-patch", {"spec": {"replicas": None}}, MERGE)
    assert owners(world) == [("kubectl-patch", "Update", "", True)]

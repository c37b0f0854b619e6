"""The Lease: what the API takes as one, and who gets it of several that contend."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.adapters.kubernetes import Elector, LeaseClient, Timing
from autoscaler.adapters.kubernetes.elector import Read, Write
from autoscaler.adapters.kubernetes.lease import STATE, Claim
from autoscaler.errors import ConflictError, ForbiddenError, TargetReadError, TargetWriteError
from tests.adapters.elections import Notes

NAME = "autoscaler"
LEASE = f"leases/{NAME}"
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
"""Without microseconds, which the API insists on all the same."""
MINE = Claim(holder="me", duration=timedelta(seconds=15), transitions=3, state="abc")
TIMING = Timing(duration=timedelta(seconds=15), write=timedelta(seconds=5))


def body(**spec) -> dict:
    """Write a Lease."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME},
        "spec": spec,
    }


@pytest.fixture
def lease(empty) -> LeaseClient:
    """Return the daemon's access to the Lease, which is not there yet."""
    return LeaseClient(name=NAME, **empty.client())


# --- what the API takes -------------------------------------------------------------------------


def test_a_lease_is_created_once(empty):
    """The second one of the name is refused, and told from one that was changed."""
    first = empty.raw("POST", "leases", body(holderIdentity="a", leaseTransitions=0))
    assert (first.code, first.body["spec"]) == (201, {"holderIdentity": "a", "leaseTransitions": 0})
    assert {"name", "namespace", "uid", "resourceVersion"} <= first.body["metadata"].keys()
    assert "generation" not in first.body["metadata"]
    second = empty.raw("POST", "leases", body(holderIdentity="b"))
    assert (second.code, second.reason) == (409, "AlreadyExists")
    assert second.body["details"] == {
        "name": NAME,
        "group": "coordination.k8s.io",
        "kind": "leases",
    }


@pytest.mark.parametrize("version", [None, "1"])
def test_a_put_makes_a_lease_that_is_not_there(empty, version):
    """Whatever version it names."""
    wanted = body(holderIdentity="a")
    if version:
        wanted["metadata"]["resourceVersion"] = version
    answer = empty.raw("PUT", LEASE, wanted)
    assert (answer.code, answer.body["spec"]) == (201, {"holderIdentity": "a"})


def test_a_put_does_not_make_a_lease_that_was_there(empty):
    """One that names the uid of before is refused."""
    made = empty.raw("POST", "leases", body()).body
    assert empty.raw("DELETE", LEASE).body["status"] == "Success"
    answer = empty.raw("PUT", LEASE, made)
    assert (answer.code, answer.reason) == (409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.body["message"]
    assert empty.raw("GET", LEASE).code == 404


def test_a_put_says_what_it_has_read(empty):
    """Without a version it is invalid, with an old one a conflict."""
    old = empty.raw("POST", "leases", body()).body
    blind = empty.raw("PUT", LEASE, body(holderIdentity="b"))
    assert (blind.code, blind.reason) == (422, "Invalid")
    assert blind.causes == [("metadata.resourceVersion", "FieldValueInvalid")]
    empty.patch(LEASE, {"spec": {"holderIdentity": "b"}})
    late = empty.raw("PUT", LEASE, old)
    assert (late.code, late.reason) == (409, "Conflict")


def test_a_put_that_changes_nothing_keeps_the_version(empty):
    """So whoever renews must write another time."""
    made = empty.raw("POST", "leases", body(holderIdentity="a")).body
    again = empty.raw("PUT", LEASE, made)
    assert again.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    made["spec"]["renewTime"] = "2026-11-23T10:00:00.000001Z"
    renewed = empty.raw("PUT", LEASE, made)
    assert renewed.body["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2026-11-23T10:00:00.000001Z", "2026-11-23T10:00:00.000001Z"),
        ("2026-11-23T10:00:00.123456+00:00", "2026-11-23T10:00:00.123456Z"),
        ("2026-11-23T12:00:00.123456+02:00", "2026-11-23T10:00:00.123456Z"),
    ],
)
def test_a_time_is_kept_in_utc(empty, written, kept):
    """With its six digits."""
    empty.raw("POST", "leases", body(renewTime=written))
    assert empty.get(LEASE)["spec"] == {"renewTime": kept}


@pytest.mark.parametrize(
    "spec",
    [
        {"renewTime": "2026-11-23T10:00:00Z"},
        {"acquireTime": "2026-11-23T10:00:00Z"},
        {"renewTime": "2026-11-23T10:00:00.123Z"},
        {"renewTime": "2026-11-23T10:00:00.1234567Z"},
        {"renewTime": "2026-11-23T10:00:00.123456"},
        {"renewTime": "soon"},
        {"leaseDurationSeconds": "15"},
        {"leaseDurationSeconds": 1.5},
        {"leaseTransitions": 2**31},
    ],
    ids=str,
)
def test_a_time_has_six_digits_and_a_number_is_one(empty, spec):
    """Else the body is no Lease."""
    answer = empty.raw("POST", "leases", body(**spec))
    assert (answer.code, answer.reason) == (400, "BadRequest")
    assert 'Lease in version "v1" cannot be handled as a Lease' in answer.body["message"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"leaseDurationSeconds": 0}, "spec.leaseDurationSeconds"),
        ({"leaseTransitions": -1}, "spec.leaseTransitions"),
    ],
)
def test_a_number_that_cannot_be_is_named(empty, spec, field):
    """A duration of zero is none."""
    answer = empty.raw("POST", "leases", body(**spec))
    assert (answer.code, answer.causes) == (422, [(field, "FieldValueInvalid")])


def test_a_lease_needs_a_name(empty):
    """In its body, also where the address has it."""
    nameless = {**body(), "metadata": {}}
    answer = empty.raw("POST", "leases", nameless)
    assert (answer.code, answer.causes) == (422, [("metadata.name", "FieldValueRequired")])
    assert empty.raw("PUT", LEASE, nameless).code == 400


# --- the daemon's access ------------------------------------------------------------------------


def test_there_is_none_at_first(lease):
    """That is an answer, and no failure."""
    assert lease.read() is None


def test_what_is_written_is_read(lease, empty):
    """With a time that the API takes although it has no fraction."""
    written = lease.write(MINE, None, NOW)
    assert written.claim == MINE
    assert lease.read() == written
    assert empty.get(LEASE)["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-23T10:00:00.000001Z",
        "renewTime": "2026-11-23T10:00:00.000001Z",
        "leaseTransitions": 3,
    }


def test_a_renewal_keeps_the_rest(lease, empty):
    """Labels and annotations of others, and since when it is held."""
    lease.write(MINE, None, NOW)
    mine = {"labels": {"app": "x"}, "annotations": {"note": "by hand"}}
    empty.patch(LEASE, {"metadata": mine})
    lease.write(replace(MINE, state="def"), lease.read(), NOW + timedelta(seconds=3))
    kept = empty.get(LEASE)
    assert kept["metadata"]["labels"] == {"app": "x"}
    assert kept["metadata"]["annotations"] == {"note": "by hand", STATE: "def"}
    assert kept["spec"]["acquireTime"] == "2026-11-23T10:00:00.000001Z"
    assert kept["spec"]["renewTime"] == "2026-11-23T10:00:03.000001Z"


def test_a_renewal_of_the_same_second_is_another_version(lease):
    """Others tell by it that the holder is alive."""
    first = lease.write(MINE, None, NOW)
    second = lease.write(MINE, first, NOW + timedelta(microseconds=2))
    assert second.version != first.version


def test_a_lease_that_is_given_back_says_so(lease, empty):
    """By having neither a holder nor a time since when it is held."""
    first = lease.write(MINE, None, NOW)
    given = lease.write(replace(MINE, holder="", given_back=True), first, NOW)
    assert given.claim.given_back
    assert lease.read().claim.given_back
    spec = empty.get(LEASE)["spec"]
    assert (spec.get("holderIdentity", ""), "acquireTime" in spec) == ("", False)


def test_one_that_was_made_for_nobody_is_not_given_back(lease):
    """Its first holder has to see it unchanged for a while."""
    lease.write(replace(MINE, holder=""), None, NOW)
    found = lease.read()
    assert (found.claim.holder, found.claim.given_back) == ("", False)


@pytest.mark.parametrize("how", ["changed", "removed", "made anew", "made by another"])
def test_nobody_writes_over_what_was_not_read(lease, empty, how):
    """Whatever another one did with it in between."""
    first = None if how == "made by another" else lease.write(MINE, None, NOW)
    if how in ("removed", "made anew"):
        empty.raw("DELETE", LEASE)
    if how.startswith("made"):
        assert empty.raw("POST", "leases", body(holderIdentity="x")).code == 201
    if how == "changed":
        empty.patch(LEASE, {"spec": {"holderIdentity": "x"}})
    with pytest.raises(ConflictError):
        lease.write(replace(MINE, state="late"), first, NOW)
    found = lease.read()
    assert (found.claim.holder if found else None) == (None if how == "removed" else "x")


def test_a_state_of_a_hundred_kilobytes_is_kept(lease):
    """It is what the memory of many targets takes."""
    state = "x" * 100_000
    lease.write(replace(MINE, state=state), None, NOW)
    assert lease.read().claim.state == state


def test_a_state_that_is_too_long_is_no_conflict(lease):
    """Nobody else wrote: the leader is not to think so."""
    first = lease.write(MINE, None, NOW)
    with pytest.raises(TargetWriteError, match=r"metadata\.annotations: Too long"):
        lease.write(replace(MINE, state="x" * 2**18), first, NOW)
    assert lease.read().claim.state == "abc"


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("get", TargetReadError), ("create", ForbiddenError), ("update", ForbiddenError)],
)
def test_a_missing_right_is_told(lease, empty, verb, kind):
    """Reading is one thing, writing another."""
    first = None if verb == "create" else lease.write(MINE, None, NOW)
    empty.take_right(verb, "leases", "coordination.k8s.io")
    with pytest.raises(kind, match=f"cannot {verb} "):
        lease.read() if verb == "get" else lease.write(MINE, first, NOW)


# --- who leads ----------------------------------------------------------------------------------


class Contender:
    """One daemon that wants to lead, on a clock that the case moves."""

    def __init__(self, name, world):
        self.notes = Notes(name)
        self.elector = Elector(name, TIMING, self.notes, lambda: 0.5)
        self._lease = LeaseClient(name=NAME, **world.client())

    def ask(self, now) -> str:
        """Do what is due, and name it."""
        request = self.elector.due(now)
        if request is None:
            return "nothing"
        try:
            if isinstance(request, Read):
                found = self._lease.read()
            else:
                at = NOW + timedelta(seconds=now)
                found = self._lease.write(request.claim, request.over, at)
        except ConflictError:
            self.elector.failed(now)
            return "conflict"
        self.elector.answered(request, found, sent=now, now=now)
        return "write" if isinstance(request, Write) else "read"

    def leads(self, now) -> bool:
        """Tell whether it leads."""
        return self.elector.term(now) is not None

    def take(self, now) -> None:
        """Ask until it leads."""
        for _ in range(4):
            if not self.leads(now):
                self.ask(now)


def test_the_first_one_makes_the_lease_and_waits(empty):
    """It leads after a whole duration in which nobody changed what it made."""
    one = Contender("one", empty)
    assert [one.ask(0.0), one.ask(0.0), one.ask(10.0)] == ["read", "write", "read"]
    assert not one.leads(10.0)
    one.take(15.0)
    assert one.leads(15.0)
    assert empty.get(LEASE)["spec"]["holderIdentity"] == "one"
    assert empty.get(LEASE)["spec"]["leaseTransitions"] == 1


def test_another_takes_it_when_the_holder_is_silent(empty):
    """Not before it has seen the same version for the whole duration, and with a new term."""
    one, two = Contender("one", empty), Contender("two", empty)
    one.take(0.0)
    one.take(15.0)
    two.ask(16.0)
    one.ask(20.0)  # a renewal
    assert two.ask(21.0) == "read"
    assert two.ask(31.0) == "read"
    assert not two.leads(35.9)
    assert two.ask(36.0) == "write"
    assert two.leads(36.0)
    assert not one.leads(36.0)
    spec = empty.get(LEASE)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 2)
    assert two.notes.begun == [one.notes.begun and f"one {one.notes.count}"]


def test_who_was_replaced_learns_it_by_its_own_renewal(empty):
    """The write is refused, and what it finds then is another's."""
    one, two = Contender("one", empty), Contender("two", empty)
    one.take(0.0)
    one.take(15.0)
    two.ask(16.0)
    two.take(31.0)
    assert two.leads(31.0)
    assert one.ask(31.0) == "conflict"
    assert one.ask(32.0) == "read"
    assert (one.leads(32.0), one.elector.holder) == (False, "two")


def test_of_two_that_take_it_at_once_one_gets_it(empty):
    """Both have read the same version."""
    one, two = Contender("one", empty), Contender("two", empty)
    one.ask(0.0)
    one.ask(0.0)
    two.ask(0.0)
    one.ask(1.0)
    assert {one.ask(16.0), two.ask(16.0)} == {"write", "conflict"}
    assert one.leads(16.0) is not two.leads(16.0)


def test_what_is_given_back_is_taken_at_once(empty):
    """With what the one before has left."""
    one, two = Contender("one", empty), Contender("two", empty)
    one.take(0.0)
    one.take(15.0)
    one.elector.resign()
    assert [one.ask(16.0), one.ask(16.0)] == ["write", "nothing"]
    two.take(16.0)
    assert two.leads(16.0)
    assert two.notes.begun == [f"one {one.notes.count}"]


def test_a_lease_that_somebody_removed_ends_no_term(empty):
    """It is made again by its holder, in the same term."""
    one = Contender("one", empty)
    one.take(0.0)
    one.take(15.0)
    term = one.elector.term(15.0)
    empty.raw("DELETE", LEASE)
    assert one.ask(18.0) == "conflict"
    assert [one.ask(19.0), one.ask(19.0)] == ["read", "write"]
    assert one.elector.term(19.0) == term
    assert empty.get(LEASE)["spec"]["holderIdentity"] == "one"

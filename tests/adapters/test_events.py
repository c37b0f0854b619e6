"""Kubernetes events: against the emulated API, and a server that misbehaves."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from kubernetes import client as k

from autoscaler.adapters.cycle_view import view_of
from autoscaler.adapters.kubernetes import EventReporter, Events, ObjectRef, load_client
from autoscaler.adapters.kubernetes.event_reporter import WRITE_FAILED
from autoscaler.decision.model import Decision, Step
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import Direction, Mode, Reason, Stage
from autoscaler.errors import ConflictError, TargetWriteError
from tests.cycles import START, UNREADABLE, FakeClock, report_of
from tests.sandbox.kube_cluster import ClusterThread

NS = "llm"
ABOUT = ObjectRef(api_version="apps/v1", kind="Deployment", namespace=NS, name="ollama", uid="u-1")
LEASE = ObjectRef(
    api_version="coordination.k8s.io/v1", kind="Lease", namespace=NS, name="autoscaler"
)
SOON = timedelta(seconds=10)


@pytest.fixture
def kube(tmp_path) -> Iterator[ClusterThread]:
    """Run an empty cluster."""
    thread = ClusterThread(tmp_path)
    yield thread
    thread.close()


@pytest.fixture
def client(kube) -> k.ApiClient:
    """Connect as the daemon does."""
    return load_client(str(kube.cluster.kubeconfig_path))


@pytest.fixture
def clock() -> FakeClock:
    """Begin in the morning."""
    return FakeClock()


@pytest.fixture
def complaints() -> list[str]:
    """Keep what is complained of."""
    return []


@pytest.fixture
def events(client, clock, complaints) -> Iterator[Events]:
    """Tell the emulated API."""
    events = Events(client, clock, complaints.append, timeout=timedelta(seconds=2))
    yield events
    events.close(SOON)


def told(client) -> list[k.CoreV1Event]:
    """List all events, in the order in which they came."""
    items = k.CoreV1Api(client).list_namespaced_event(NS).items
    return sorted(items, key=lambda event: int(event.metadata.resource_version))


# --- events -------------------------------------------------------------------------------------


def test_an_event_has_what_kubectl_shows(events, client, kube):
    """`describe` finds it by the object's uid; who, when, why, how often are in their columns."""
    events.tell(ABOUT, "AboveTarget", "llm/ollama: 2 -> 4")
    events.close(SOON)
    (event,) = told(client)
    found = event.involved_object
    assert (found.kind, found.name, found.namespace, found.uid) == (
        "Deployment", "ollama", NS, "u-1",
    )  # fmt: skip
    assert (found.api_version, event.type, event.count) == ("apps/v1", "Normal", 1)
    assert (event.reason, event.message) == ("AboveTarget", "llm/ollama: 2 -> 4")
    assert event.source.component == event.reporting_component == "ollama-autoscaler"
    assert event.first_timestamp == event.last_timestamp == START
    (entry,) = kube.cluster.audit
    assert (entry.who, entry.verb) == ("ollama-autoscaler", "create")


def test_an_event_of_an_object_without_a_known_uid(events, client):
    """A warning of the Lease, in the namespace where that is."""
    events.tell(LEASE, "NotLeader", "lost", warning=True)
    events.close(SOON)
    (event,) = told(client)
    assert (event.type, event.involved_object.kind, event.involved_object.uid) == (
        "Warning", "Lease", None,
    )  # fmt: skip


def test_what_repeats_itself_is_counted_and_sent_again_later(events, client, clock):
    """The same object, reason and note: once in ten minutes, with the number and since when."""
    for _ in range(10):
        events.tell(ABOUT, "Conflict", "kubectl wrote 5")
        events.tell(LEASE, "Conflict", "kubectl wrote 5")
        settle(events)
        clock.pass_by(timedelta(minutes=1))
    events.tell(ABOUT, "Conflict", "kubectl wrote 5")
    events.tell(ABOUT, "Conflict", "kubectl wrote 6")
    events.close(SOON)
    counts = [(e.involved_object.kind, e.message[-1], e.count) for e in told(client)]
    assert counts == [
        ("Deployment", "5", 1),
        ("Lease", "5", 1),
        ("Deployment", "5", 10),
        ("Deployment", "6", 1),
    ]
    again = told(client)[2]
    assert again.first_timestamp == START + timedelta(seconds=60)
    assert again.last_timestamp == START + timedelta(seconds=600)


def settle(events) -> None:
    """Wait until all that was told has been looked at."""
    deadline = time.monotonic() + 10
    while events._waiting.unfinished_tasks:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_burst_goes_through_and_then_it_slows_down(events, client):
    """Two a second after the first twenty, until it closes: then the rest goes at once."""
    for number in range(60):
        events.tell(ABOUT, "AboveTarget", f"{number}")
    time.sleep(1.2)
    so_far = len(told(client))
    assert 20 <= so_far <= 26
    events.close(SOON)
    assert [event.message for event in told(client)] == [str(number) for number in range(60)]


def test_a_note_is_one_line_that_the_api_takes(events, client):
    """Nothing in it ends the line or moves a cursor; it is measured in bytes."""
    events.tell(ABOUT, "Odd\x1b[2J\nReason", 'a\nb\r\n\x1b[31mc\u2028d\x00"}{' + "é" * 2000)
    events.close(SOON)
    (event,) = told(client)
    assert event.reason == "Odd?[2J?Reason"
    assert event.message.startswith('a b ?[31mc d?"}{éé')
    assert len(event.message.encode()) <= 1024
    assert event.message.isprintable()


class Hanging:
    """A client whose requests hang until they are let go."""

    def __init__(self, client):
        self.go = threading.Event()
        self.client = client
        self._send = client.rest_client.request
        client.rest_client.request = self._request

    def _request(self, *args, **options):
        self.go.wait(20)
        return self._send(*args, **options)


def test_nobody_waits_for_an_api_that_hangs(client, clock, complaints):
    """What is told then is kept, up to a bound, and lost beyond it."""
    hanging = Hanging(client)
    events = Events(client, clock, complaints.append)
    began = time.monotonic()
    for number in range(1000):
        events.tell(ABOUT, "AboveTarget", f"{number}")
    events.close(timedelta(seconds=0.2))
    assert time.monotonic() - began < 2.0
    hanging.go.set()
    settle(events)
    assert 200 <= len(told(client)) <= 202


def test_lost_events_are_complained_of_once(kube, events, client, complaints):
    """Until one has arrived again; the words are those of every failure of the API."""
    kube.cluster.deny("create", "events")
    for number in range(3):
        events.tell(ABOUT, "AboveTarget", f"{number}")
    settle(events)
    (complaint,) = complaints
    assert complaint.startswith("events are lost: HTTP 403: ")
    kube.cluster.allow("create", "events")
    events.tell(ABOUT, "AboveTarget", "0")  # which was lost, so it is not a repetition
    settle(events)
    kube.cluster.deny("create", "events")
    events.tell(ABOUT, "AboveTarget", "4")
    events.close(SOON)
    assert [event.message for event in told(client)] == ["0"]
    assert len(complaints) == 2


def test_a_complaint_that_fails_stops_nothing(kube, client, clock):
    """A full log is no reason to be silent."""

    def fails(text):
        raise OSError(text)

    events = Events(client, clock, fails)
    kube.cluster.deny("create", "events")
    events.tell(ABOUT, "AboveTarget", "1")
    settle(events)
    kube.cluster.allow("create", "events")
    events.tell(ABOUT, "AboveTarget", "2")
    events.close(SOON)
    assert [event.message for event in told(client)] == ["2"]


def test_what_was_sent_is_not_remembered_for_ever(events, client):
    """A thousand different ones, and no more."""
    events._api = SimpleNamespace(create_namespaced_event=lambda *args, **options: None)
    events._closing.set()
    for number in range(1100):
        events.tell(ABOUT, "AboveTarget", f"{number}")
        if number % 100 == 99:
            settle(events)
    assert len(events._sent) == 1000
    events.close(SOON)


def test_closing_without_any_event_is_quick(events):
    """There is not even a thread."""
    events.close(SOON)
    assert events._thread is None


# --- which cycles are worth one -----------------------------------------------------------------


class Kept:
    """Keeps what would be told."""

    def __init__(self):
        self.told = []

    def tell(self, about, reason, note, *, warning=False):
        """Keep it."""
        assert about == ABOUT
        self.told.append((reason, "Warning" if warning else "Normal", note))


@pytest.fixture
def kept() -> Kept:
    """Keep what is told."""
    return Kept()


@pytest.fixture
def reporter(kept) -> EventReporter:
    """Report of one target."""
    return EventReporter(kept, {"llm/ollama": lambda: ABOUT})


def holding(reason, detail="as told", at=0, **more):
    """Return the report of a cycle that holds for this reason."""
    return deciding(reason, detail, at, Outcome.HELD, to=2, **more)


def deciding(reason, detail="as told", at=0, outcome=Outcome.SCALED, to=1, **more):
    """Return the report of a cycle that decides so."""
    report = report_of()
    step = Step(stage=Stage.BOUNDS, from_=2, to=to, reason=reason, detail=detail)
    direction = Direction.HOLD if to == 2 else Direction.DOWN
    decision = Decision(from_=2, to=to, direction=direction, reason=reason)
    steps = (step, *more.get("steps", ()))
    record = replace(
        report.record,
        steps=steps,
        decision=decision,
        outcome=outcome,
        mode=more.get("mode", Mode.ACT),
    )
    return replace(
        report,
        record=record,
        outcome=str(outcome),
        at=report.at + timedelta(seconds=at),
        error=more.get("error", ""),
    )


def test_every_change_is_told(reporter, kept):
    """By the decision's reason, in the sentence of the log."""
    reporter.show(view_of(report_of()))
    reporter.show(view_of(report_of()))
    told = ("AboveTarget", "Normal", kept.told[0][2])
    assert kept.told == [told, told]
    assert told[2].startswith("llm/ollama: 2 -> ")


def test_a_replaced_pod_is_told(reporter, kept):
    """A warning, each time."""
    for at in (0, 5):
        replaced = deciding(Reason.REPLICA_STUCK, "ollama-a", at, Outcome.REPLACED, to=2)
        reporter.show(view_of(replaced))
    told = ("ReplicaStuck", "Warning", "llm/ollama: holds 2, ReplicaStuck (ollama-a); replaced")
    assert kept.told == [told, told]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.CONFLICT, "Warning"),
        (Reason.GIVEN_BACK, "Warning"),
        (Reason.REPLICA_STUCK, "Warning"),
        (Reason.HOLD_EXPIRED, "Warning"),
        (Reason.VICTIMS_UNKNOWN, "Warning"),
        (Reason.TOO_MANY_SERIES, "Warning"),
        (Reason.METRIC_FAILED, "Warning"),
        (Reason.METRIC_STALE, "Warning"),
        (Reason.PODS_PENDING, "Normal"),
        (Reason.PAUSED, "Normal"),
        (Reason.SCALING_DISABLED, "Normal"),
        (Reason.AT_MAXIMUM, "Normal"),
    ],
)
def test_a_state_is_told_when_it_begins(reporter, kept, reason, kind):
    """Not in every cycle of it, and when it comes and goes, not more than once in ten minutes."""
    reporter.show(view_of(holding(Reason.WITHIN_TOLERANCE)))
    for at in (5, 10, 15):
        reporter.show(view_of(holding(reason, f"since {at}", at)))
    assert kept.told == [(str(reason), kind, f"llm/ollama: holds 2, {reason} (since 5)")]
    for at, again in ((20, False), (600, False), (606, True)):
        reporter.show(view_of(holding(Reason.WITHIN_TOLERANCE, at=at - 1)))
        reporter.show(view_of(holding(reason, at=at)))
        assert (len(kept.told) == 2) is again


def test_what_goes_on_for_hours_is_told_once(reporter, kept):
    """It is the alert's business to insist."""
    for at in range(0, 7200, 60):
        reporter.show(view_of(holding(Reason.AT_MAXIMUM, at=at)))
    assert len(kept.told) == 1


@pytest.mark.parametrize(
    "reason",
    [Reason.WITHIN_TOLERANCE, Reason.COOLING_DOWN, Reason.STABILIZED, Reason.AT_MINIMUM],
)
def test_an_ordinary_hold_is_not_told(reporter, kept, reason):
    """It says nothing that one would look for."""
    reporter.show(view_of(holding(reason)))
    assert kept.told == []


def test_a_failed_write_is_told_when_failing_begins(reporter, kept):
    """A conflict by its own word, anything else as a failed write."""
    for at in (0, 5):
        failed = report_of(write_error=TargetWriteError("llm/ollama: cannot scale: HTTP 500"))
        reporter.show(view_of(replace(failed, at=failed.at + timedelta(seconds=at))))
    reporter.show(
        view_of(report_of(write_error=ConflictError("llm/ollama: cannot scale: HTTP 422")))
    )
    assert [(reason, kind) for reason, kind, _ in kept.told] == [
        (WRITE_FAILED, "Warning"),
        ("Conflict", "Warning"),
    ]
    assert "HTTP 500" in kept.told[0][2]


@pytest.mark.parametrize(
    "beside", [Reason.VICTIMS_UNKNOWN, Reason.REPLICA_STUCK, Reason.HOLD_EXPIRED]
)
def test_what_a_step_says_beside_the_decision_is_told_too(reporter, kept, beside):
    """Whatever the number does, and once while it lasts."""
    step = Step(stage=Stage.VICTIMS, from_=1, to=1, reason=beside, detail="ollama-a")
    for at in (0, 5):
        reporter.show(view_of(deciding(Reason.BELOW_TARGET, at=at, steps=(step,))))
    assert [told[0] for told in kept.told] == ["BelowTarget", str(beside), "BelowTarget"]
    assert kept.told[1] == (str(beside), "Warning", "llm/ollama: ollama-a")


def test_a_step_that_is_the_reason_is_told_once(reporter, kept):
    """The sentence has it already."""
    reporter.show(view_of(holding(Reason.REPLICA_STUCK, "ollama-a")))
    assert len(kept.told) == 1


@pytest.mark.parametrize(
    "report",
    [
        report_of(dry_run=True),
        deciding(Reason.BELOW_TARGET, mode=Mode.SHADOW),
        holding(Reason.CONFLICT, mode=Mode.SHADOW),
        report_of(read_error=UNREADABLE),
        replace(report_of(), target="llm/unknown"),
    ],
    ids=["dry run", "shadow", "shadow holds", "nothing read", "unknown target"],
)
def test_where_nothing_is_written_there_are_no_events(reporter, kept, report):
    """A shadow has no right to any; and what was not observed is the log's to tell."""
    reporter.show(view_of(report))
    assert kept.told == []


def test_a_state_that_begins_too_early_is_told_later(reporter, kept):
    """Where it came and went a moment ago: as soon as ten minutes are over, while it lasts."""
    reporter.show(view_of(holding(Reason.CONFLICT, at=0)))
    reporter.show(view_of(holding(Reason.WITHIN_TOLERANCE, at=60)))
    for at in range(65, 3600, 5):
        reporter.show(view_of(holding(Reason.CONFLICT, f"at {at}", at=at)))
    assert [note.partition("(")[2] for _, _, note in kept.told] == ["as told)", "at 600)"]


# --- what becomes the annotation ----------------------------------------------------------------


class KeptLast:
    """Keeps what would be written."""

    def __init__(self):
        self.told = []

    def tell(self, about, sentence):
        """Keep it."""
        assert about == ABOUT
        self.told.append(sentence)


@pytest.fixture
def last() -> KeptLast:
    """Keep what is told."""
    return KeptLast()


@pytest.fixture
def writer(kept, last) -> EventReporter:
    """Report of one target, also to what keeps its last decision."""
    return EventReporter(kept, {"llm/ollama": lambda: ABOUT}, last)


def test_the_last_decision_is_a_change(writer, last):
    """With its time, and not with the target's name, under which it stands; later holds are not."""
    writer.show(view_of(report_of()))
    writer.show(view_of(holding(Reason.WITHIN_TOLERANCE, at=5)))
    (told,) = last.told
    assert told.startswith("2026-11-23T10:00:05Z 2 -> 6, AboveTarget (queue_depth 5, ")


def test_the_last_decision_is_a_state_and_then_its_end(writer, last):
    """Once each, however often it comes and goes in ten minutes."""
    for at in range(0, 300, 20):
        writer.show(view_of(holding(Reason.METRIC_FAILED, at=at)))
        writer.show(view_of(holding(Reason.WITHIN_TOLERANCE, at=at + 10)))
    assert last.told == [
        "2026-11-23T10:00:05Z holds 2, MetricFailed (as told)",
        "2026-11-23T10:00:15Z holds 2, WithinTolerance (as told)",
    ]


def test_a_change_in_a_state_that_goes_on_is_the_last_decision(writer, last):
    """And the end of that state is not told after it."""
    beside = Step(stage=Stage.STUCK, from_=2, to=2, reason=Reason.REPLICA_STUCK, detail="a")
    writer.show(view_of(holding(Reason.WITHIN_TOLERANCE, steps=(beside,))))
    writer.show(view_of(deciding(Reason.BELOW_TARGET, at=5, steps=(beside,))))
    writer.show(view_of(holding(Reason.WITHIN_TOLERANCE, at=10)))
    assert [told.partition("Z ")[2][:9] for told in last.told] == ["holds 2, ", "2 -> 1, B"]


@pytest.mark.parametrize(
    "report",
    [report_of(dry_run=True), holding(Reason.CONFLICT, mode=Mode.SHADOW)],
    ids=["dry run", "shadow"],
)
def test_a_shadow_has_no_last_decision(writer, last, report):
    """It writes nothing at all."""
    writer.show(view_of(report))
    assert last.told == []


def test_each_target_has_states_of_its_own(kept):
    """One that holds does not speak for another."""
    reporter = EventReporter(kept, dict.fromkeys(("llm/ollama", "llm/big"), lambda: ABOUT))
    reporter.show(view_of(holding(Reason.CONFLICT)))
    reporter.show(view_of(replace(holding(Reason.CONFLICT), target="llm/big")))
    assert len(kept.told) == 2

"""The log line of a cycle and the numbers behind /metrics."""

import json
import logging
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.adapters.cycle_view import STAGES, Views, view_of
from autoscaler.adapters.gauges import QUALITIES
from autoscaler.adapters.telemetry import Log, Metrics
from autoscaler.decision.model import (
    Decision,
    ForeignWrite,
    Metric,
    Pod,
    Sample,
    Samples,
    ScalingState,
    Schedule,
    Step,
)
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import (
    Direction,
    MetricType,
    MissingKind,
    PodPhase,
    Reason,
    Stage,
)
from autoscaler.errors import ForbiddenError
from tests.adapters.views import STANDBY, pods, seen
from tests.cycles import CONFLICT, POLICY, START, UNREADABLE, Rig, report_of

WHO = {"target": "llm/ollama"}


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Say yes."""
        return True


def told(report, **options):
    """Return the one line that a report becomes."""
    return line_of(view_of(report), **options)


def line_of(view, **options):
    """Return the one line that a view becomes."""
    stream = StringIO()
    Log(stream=stream, **options).show(view)
    (line,) = stream.getvalue().splitlines()
    return line


def test_a_cycle_is_one_json_line_that_explains_itself():
    """From, to, reason, metrics with value, ratio, age and quality, duration and outcome."""
    event = json.loads(told(report_of(4.0)))
    assert event.pop("time").endswith("Z")
    assert list(event)[:2] == ["level", "event"]
    assert event == {
        "level": "info",
        "event": "cycle",
        "target": "llm/ollama",
        "from": 2,
        "to": 5,
        "direction": "up",
        "reason": "AboveTarget",
        "ready": 2,
        "metrics": {"queue_depth": {"value": 4.0, "ratio": 2.5, "age": 2.0, "quality": "Fresh"}},
        "mode": "act",
        "outcome": "scaled",
        "duration": 0.0,
        "sentence": "llm/ollama: 2 -> 5, AboveTarget (queue_depth 4, target 0.8 per replica)",
    }


def test_a_hold_is_told_as_often_as_it_happens():
    """One line per cycle is the contract, also where nothing changes."""
    rig = Rig()
    stream = StringIO()
    log = Log(stream=stream)
    for _ in range(3):
        log.show(view_of(rig.cycle(1.6)))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["reason"] for line in lines] == ["WithinTolerance"] * 3


def test_a_missing_metric_has_no_value_in_the_line():
    """Its quality and its detail are told instead; zero would be a lie."""
    event = json.loads(told(report_of(MissingKind.FAILED)))
    assert event["metrics"]["queue_depth"] == {"quality": "Failed", "detail": "as told"}
    assert event["reason"] == "MetricFailed"


def test_a_number_that_is_none_is_still_json():
    """NaN never reaches the line as a bare word."""
    event = json.loads(told(report_of(float("nan"))), parse_constant=pytest.fail)
    assert event["metrics"]["queue_depth"]["quality"] == "NotANumber"


@pytest.mark.parametrize(
    ("report", "level", "outcome"),
    [
        (report_of(1.6), "info", "held"),
        (report_of(4.0, dry_run=True), "info", "dry-run"),
        (report_of(4.0, write_error=CONFLICT), "warning", "conflicted"),
        (report_of(4.0, write_error=ForbiddenError("may not")), "error", "failed"),
        (report_of(read_error=UNREADABLE), "error", "failed"),
    ],
    ids=["held", "dry-run", "conflicted", "forbidden", "unreadable"],
)
def test_the_level_follows_the_outcome(report, level, outcome):
    """What needs a person stands out; the error is in the line."""
    event = json.loads(told(report))
    assert (event["level"], event["outcome"]) == (level, outcome)
    assert event.get("error", "") == report.error
    assert report.error.removeprefix("llm/ollama: ") in event["sentence"]


BLIND = Step(
    stage=Stage.VICTIMS,
    from_=1,
    to=1,
    reason=Reason.VICTIMS_UNKNOWN,
    detail="chosen blindly: ollama-a",
)
SHRINK = Decision(
    from_=2, to=1, direction=Direction.DOWN, reason=Reason.BELOW_TARGET, victims=("ollama-a",)
)
BELOW = Step(stage=Stage.RECOMMEND, from_=2, to=1, reason=Reason.BELOW_TARGET, detail="few")


def shrunk(*steps, outcome=Outcome.SCALED):
    """Return the view of a cycle that took a replica away, with these steps after the first."""
    return seen(outcome=outcome, changes={"decision": SHRINK, "steps": (BELOW, *steps)})


def test_a_shrink_tells_who_was_to_go():
    """By name, and what each was serving, or that nobody could say."""
    known = replace(BLIND, reason=Reason.BELOW_TARGET, detail="ollama-a (0 in flight)")
    event = json.loads(line_of(shrunk(known)))
    assert event["victims"] == ["ollama-a"]
    assert "blind" not in event
    assert event["sentence"] == (
        "llm/ollama: 2 -> 1, BelowTarget (few); victims ollama-a (0 in flight)"
    )
    event = json.loads(line_of(shrunk(BLIND)))
    assert event["blind"] is True
    assert event["sentence"].endswith("; victims chosen blindly: ollama-a")


def test_what_is_out_of_the_ordinary_is_told_while_it_lasts():
    """Trouble with pods, a pause and a stranger's write; and nothing of it on a quiet day."""
    crowd = (
        *pods(1, 0, 0),
        Pod(name="new", phase=PodPhase.PENDING, ready=False, unschedulable=True),
        Pod(name="bad", ready=False, failing=True),
        Pod(name="gone", ready=False, failing=True, deleting=True),
    )
    stranger = ForeignWrite(manager="kubectl-scale", replicas=2)
    view = seen(pods=crowd, paused_direction=Direction.DOWN, foreign_write=stranger)
    event = json.loads(line_of(view))
    assert (event["unschedulable"], event["failing"]) == (["new"], ["bad"])
    assert (event["paused"], event["foreign_writer"]) == (["down"], "kubectl-scale")
    assert "unschedulable=['new']" in line_of(view, form="text")
    quiet = json.loads(line_of(seen(pods=pods(1, 0))))
    assert quiet.keys() == json.loads(told(report_of(1.6))).keys()


def test_a_replaced_pod_is_named():
    """The number stays, and yet something happened."""
    decision = Decision(
        from_=2, to=2, direction=Direction.HOLD, reason=Reason.REPLICA_STUCK, replace="ollama-b"
    )
    view = seen(outcome=Outcome.REPLACED, changes={"decision": decision, "steps": ()})
    event = json.loads(line_of(view))
    assert event["replace"] == "ollama-b"
    assert event["sentence"] == "llm/ollama: holds 2, ReplicaStuck; replaced: ollama-b"


def test_a_daemon_that_stands_by_is_quiet():
    """A line per target and cycle would say nothing; who wants it asks for debug."""
    stream = StringIO()
    Log(stream=stream).show(view_of(STANDBY))
    assert stream.getvalue() == ""
    event = json.loads(told(STANDBY, level="debug"))
    assert (event["level"], event["outcome"], event["reason"]) == ("debug", "skipped", "NotLeader")
    assert event["sentence"] == "llm/ollama: stands by, another daemon leads"


def test_one_view_is_made_for_all():
    """However many tell of a cycle, its metrics are judged once more and not once for each."""
    shown = []

    class Viewer:
        show = staticmethod(shown.append)

    class Broken:
        def show(self, _view):
            raise OSError("no space left")

    Views(Viewer, Broken(), Viewer).report(report_of(4.0))
    assert len(shown) == 2
    assert shown[0] is shown[1]
    assert shown[0].decision.to == 5


def test_text_is_for_people():
    """The sentence comes first, the metrics are short."""
    line = told(report_of(4.0), form="text")
    assert "llm/ollama: 2 -> 5, AboveTarget (queue_depth 4, target 0.8 per replica)" in line
    assert "queue_depth='4 (2.50x)'" in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [("auto", StringIO, True), ("auto", Terminal, False), ("json", Terminal, True)],
)
def test_the_form_follows_the_stream(form, stream, is_json):
    """Machines get JSON, terminals get text, unless told otherwise."""
    out = stream()
    Log(form=form, stream=out).show(view_of(report_of()))
    assert out.getvalue().startswith("{") is is_json


def test_a_failed_read_is_told_in_text():
    """Without a decision there is still a sentence."""
    line = told(report_of(read_error=UNREADABLE), form="text")
    assert "llm/ollama: failed: connection refused" in line
    assert "None" not in line


def test_the_level_is_a_threshold():
    """Below it nothing is written."""
    stream = StringIO()
    Log(level="warning", stream=stream).show(view_of(report_of()))
    assert stream.getvalue() == ""


def test_libraries_speak_through_the_same_log():
    """A warning from below becomes a line of ours, so that every line is JSON."""
    stream = StringIO()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        Log(stream=stream).adopt_libraries()
        logging.getLogger("urllib3").warning("pool of %s is full", "connections")
        logging.getLogger("urllib3").info("not this")
        logging.getLogger("apscheduler.scheduler").warning("nor that")
    finally:
        root.handlers[:], root.level = before
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert (event["logger"], event["message"]) == ("urllib3", "pool of connections is full")


# --- metrics ------------------------------------------------------------------------------------


@pytest.fixture
def metrics():
    """Return the daemon's numbers, of version 1.2.3."""
    return Metrics("1.2.3")


def series(metrics):
    """Return every series of the page: name and labels to value."""
    content_type, page = metrics.page()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    """Return one series' value, None where there is no such series."""
    return series(metrics).get((f"autoscaler_{name}", *sorted((WHO | labels).items())))


def test_the_numbers_of_a_cycle(metrics):
    """Each word of the vocabulary has its series."""
    metrics.show(view_of(report_of(4.0)))
    queue = {"metric": "queue_depth"}
    assert value(metrics, "desired_replicas") == 5
    assert value(metrics, "current_replicas") == 2
    assert value(metrics, "ready_replicas") == 2
    assert value(metrics, "min_replicas") == 2
    assert value(metrics, "max_replicas") == 6
    assert value(metrics, "shadow") == 0
    assert value(metrics, "metric_value", **queue) == 4.0
    assert value(metrics, "metric_target_value", **queue) == 0.8
    assert value(metrics, "metric_usage_ratio", **queue) == 2.5
    assert value(metrics, "metric_sample_age_seconds", **queue) == 2
    assert value(metrics, "cycles_total", outcome="scaled", reason="AboveTarget") == 1
    assert value(metrics, "writes_total", direction="up") == 1
    assert value(metrics, "cycle_duration_seconds_count") == 1
    assert value(metrics, "last_decision_timestamp_seconds") == report_of().at.timestamp()
    assert series(metrics)["autoscaler_build_info", ("version", "1.2.3")] == 1


def stages(metrics):
    """Return the number after each stage."""
    return {stage: value(metrics, "stage_replicas", stage=stage) for stage in STAGES}


def turned(before, after, *, at):
    """Return the numbers where the stage `at` turns what came before into what follows."""
    return {stage: before if STAGES.index(stage) < STAGES.index(at) else after for stage in STAGES}


def test_every_stage_tells_its_number(metrics):
    """One that changes nothing passes the number through, so that the last is the decision."""
    metrics.show(view_of(report_of(8.0)))
    assert stages(metrics) == turned(10, 6, at=Stage.BOUNDS)


def test_a_stage_that_takes_back_shows_what_it_took(metrics):
    """The windows still hold what the load no longer asks for."""
    rig = Rig()
    rig.target.replicas = 4
    metrics.show(view_of(rig.cycle(0.0)))
    assert stages(metrics) == turned(0, 4, at=Stage.STABILIZATION)


def test_what_a_missing_metric_blocks_is_seen_at_quality(metrics):
    """The other metric asks to shrink, the one that is missing forbids it."""
    policy = replace(POLICY, metrics=(*POLICY.metrics, replace(POLICY.metrics[0], name="gone")))
    rig = Rig(policy)
    rig.target.replicas = 4
    metrics.show(view_of(rig.cycle(0.0)))
    assert stages(metrics) == turned(0, 4, at=Stage.QUALITY)


def test_the_reason_is_one_of_all(metrics):
    """1 for the last decision's, 0 for every other; none where nothing was decided."""
    for told, expected in ((4.0, "AboveTarget"), (1.6, "WithinTolerance")):
        metrics.show(view_of(report_of(told)))
        found = {reason: value(metrics, "decision_reason", reason=reason) for reason in Reason}
        assert found == {reason: float(reason == expected) for reason in Reason}
    metrics.show(view_of(report_of(read_error=UNREADABLE)))
    told = {key[0] for key in series(metrics)}
    assert not told & {"autoscaler_decision_reason", "autoscaler_stage_replicas"}


@pytest.mark.parametrize("kind", list(MissingKind))
def test_a_missing_metric_has_no_series(metrics, kind):
    """Its old value goes away, no zero takes its place, and its quality says why."""
    metrics.show(view_of(report_of(4.0)))
    metrics.show(view_of(report_of(kind)))
    for name in ("metric_value", "metric_usage_ratio", "metric_sample_age_seconds"):
        assert value(metrics, name, metric="queue_depth") is None
    states = {
        q: value(metrics, "metric_quality", metric="queue_depth", quality=q) for q in QUALITIES
    }
    assert states == {quality: float(quality == kind) for quality in QUALITIES}


def test_a_target_that_cannot_be_read_has_no_replicas(metrics):
    """What the cycle did not see is not told; what counts goes on."""
    metrics.show(view_of(report_of(4.0)))
    before = value(metrics, "last_decision_timestamp_seconds")
    for _ in range(3):
        metrics.show(view_of(report_of(read_error=UNREADABLE)))
    for name in ("desired_replicas", "current_replicas", "ready_replicas", "min_replicas"):
        assert value(metrics, name) is None
    assert value(metrics, "consecutive_failures") == 3
    assert value(metrics, "cycles_total", outcome="failed", reason="") == 3
    assert value(metrics, "last_decision_timestamp_seconds") == before
    metrics.show(view_of(report_of(1.6)))
    assert value(metrics, "consecutive_failures") == 0


def test_a_write_that_failed_is_no_write(metrics):
    """Only what was carried out is counted, and a conflict is not a failure."""
    metrics.expect("llm/ollama")
    metrics.show(view_of(report_of(4.0, write_error=ForbiddenError("may not"))))
    assert value(metrics, "consecutive_failures") == 1
    metrics.show(view_of(report_of(4.0, write_error=CONFLICT)))
    assert value(metrics, "consecutive_failures") == 0
    metrics.show(view_of(report_of(4.0, dry_run=True)))
    assert value(metrics, "shadow") == 1
    assert value(metrics, "writes_total", direction="up") == 0
    assert value(metrics, "writes_total", direction="down") == 0


def test_a_daemon_that_stands_by_shows_nothing_of_a_target(metrics):
    """Its gauges would be those of a time when it led; its counters go on."""
    metrics.expect("llm/ollama")
    metrics.show(view_of(report_of(4.0)))
    metrics.show(view_of(report_of(read_error=UNREADABLE)))
    metrics.show(view_of(STANDBY))
    assert value(metrics, "cycles_total", outcome="skipped", reason="NotLeader") == 1
    assert value(metrics, "writes_total", direction="up") == 1
    assert value(metrics, "cycle_duration_seconds_count") == 2
    left = {key[0] for key in series(metrics) if ("target", "llm/ollama") in key}
    assert not {name for name in left if not name.endswith(("_total", "_bucket", "_count", "_sum"))}
    metrics.show(view_of(report_of(read_error=UNREADABLE)))
    assert value(metrics, "consecutive_failures") == 1


def test_who_leads_is_told_once_it_is_known(metrics):
    """1 leads, 0 stands by; before the first word there is no series."""
    name = ("autoscaler_leader",)
    assert name not in series(metrics)
    for leads in (False, True, False):
        metrics.leading(leads)
        assert series(metrics)[name] == leads


def test_renewals_that_fail_are_counted(metrics):
    """From zero on."""
    name = ("autoscaler_lease_renew_failures_total",)
    assert series(metrics)[name] == 0
    metrics.renew_failed()
    assert series(metrics)[name] == 1


def test_a_refused_configuration_is_seen_until_a_good_one_comes(metrics):
    """It began with a good one."""

    def now():
        told = series(metrics)
        counted = (
            told["autoscaler_config_reloads_total", ("result", result)]
            for result in ("ok", "refused")
        )
        return told["autoscaler_config_reload_success",], *counted

    assert now() == (1, 0, 0)
    metrics.config_reloaded(ok=False)
    assert now() == (0, 0, 1)
    metrics.config_reloaded(ok=True)
    assert now() == (1, 1, 1)


def test_requests_in_flight_are_told_where_all_are_known(metrics):
    """A ready replica that nobody asked leaves a gap; one that starts or goes leaves none."""
    for given, expected in (
        (pods(2, 1), 3),
        (pods(0, 0), 0),
        (pods(2, None), None),
        ((*pods(2), Pod(name="starts", ready=False), Pod(name="goes", deleting=True)), 2),
        ((*pods(2), Pod(name="goes", deleting=True, in_flight=1)), 3),
        ((), None),
        (None, None),
    ):
        metrics.show(seen(pods=given))
        assert value(metrics, "in_flight_requests") == expected


def test_replicas_in_trouble_are_counted(metrics):
    """Those that go are none of them; where no pod is known, neither is their number."""
    metrics.show(
        seen(pods=(*pods(0), Pod(name="x", ready=False, failing=True, unschedulable=True)))
    )
    assert value(metrics, "failing_replicas") == 1
    assert value(metrics, "unschedulable_replicas") == 1
    metrics.show(seen(pods=(*pods(0), Pod(name="x", ready=False, failing=True, deleting=True))))
    assert value(metrics, "failing_replicas") == 0
    metrics.show(seen())
    assert value(metrics, "failing_replicas") is None
    assert value(metrics, "unschedulable_replicas") is None


DAY = Schedule(name="day", start="0 8 * * *", end="0 18 * * *", min_replicas=4)
NIGHT = Schedule(name="night", start="0 22 * * *", end="0 6 * * *", max_replicas=3)


def test_the_bounds_are_those_in_force(metrics):
    """By day the schedule's lower one and the policy's upper one; which schedule, too."""
    view = seen(policy=replace(POLICY, schedules=(DAY, NIGHT)))
    metrics.show(view)
    assert (value(metrics, "min_replicas"), value(metrics, "max_replicas")) == (4, 6)
    assert value(metrics, "schedule_active", schedule="day") == 1
    assert value(metrics, "schedule_active", schedule="night") == 0
    assert json.loads(line_of(view))["schedule"] == "day"
    assert "schedule" not in json.loads(line_of(seen(policy=replace(POLICY, schedules=(NIGHT,)))))


USE = Metric(name="use", type=MetricType.POD, target=0.7)


def hanging(after):
    """Return the view of a cycle in which ollama-b has hung for six minutes."""
    policy = replace(POLICY, metrics=(*POLICY.metrics, USE), stuck_after=after)
    since = START - timedelta(minutes=6)
    state = ScalingState(last_cycle=START - timedelta(seconds=5), stuck={"ollama-b": since})
    uses = {"ollama-a": 0.7, "ollama-b": 0.0}
    samples = (Sample(labels={"pod": pod}, value=use, at=START) for pod, use in uses.items())
    metrics = {
        "queue_depth": Samples(samples=(Sample(value=1.6, at=START),)),
        "use": Samples(samples=tuple(samples)),
    }
    return seen(policy=policy, state=state, pods=pods(1, 1), metrics=metrics)


def test_stuck_replicas_are_named_and_counted(metrics):
    """Where nobody looks for them, their number is not known."""
    view = hanging(timedelta(minutes=5))
    metrics.show(view)
    assert value(metrics, "stuck_replicas") == 1
    assert json.loads(line_of(view))["stuck"] == ["ollama-b"]
    metrics.show(hanging(timedelta(minutes=10)))
    assert value(metrics, "stuck_replicas") == 0
    metrics.show(hanging(None))
    assert value(metrics, "stuck_replicas") is None


def test_how_long_it_has_been_idle_is_told_while_it_is(metrics):
    """One request in the system ends it."""
    state = ScalingState(
        last_cycle=START - timedelta(seconds=5), idle_since=START - timedelta(minutes=2)
    )
    metrics.show(seen(0.0, state=state))
    assert value(metrics, "idle_seconds") == 120
    metrics.show(seen(1.0, state=state))
    assert value(metrics, "idle_seconds") is None


@pytest.mark.parametrize(
    ("observed", "up", "down"),
    [
        ({}, 0, 0),
        ({"paused": True}, 1, 1),
        ({"paused_direction": Direction.UP}, 1, 0),
        ({"paused_direction": Direction.DOWN}, 0, 1),
    ],
    ids=["not", "both", "up", "down"],
)
def test_a_pause_is_told_by_direction(metrics, observed, up, down):
    """1 where a person has paused it."""
    metrics.show(seen(**observed))
    assert value(metrics, "paused", direction="up") == up
    assert value(metrics, "paused", direction="down") == down


def test_what_is_rare_is_counted_from_zero(metrics):
    """A stranger's write, a replaced replica, a shrink without knowing whom it hits."""
    names = ("foreign_writes_total", "replaced_replicas_total", "blind_shrinks_total")

    def counted():
        return [value(metrics, name) for name in names]

    metrics.expect("llm/ollama")
    assert value(metrics, "cycles_total", outcome="scaled", reason="GivenBack") == 0
    assert counted() == [0, 0, 0]
    metrics.show(seen(foreign_write=ForeignWrite(manager="kubectl-scale")))
    assert counted() == [1, 0, 0]
    metrics.show(seen(outcome=Outcome.REPLACED))
    assert counted() == [1, 1, 0]
    metrics.show(shrunk(BLIND))
    assert counted() == [1, 1, 1]
    metrics.show(shrunk(BLIND, outcome=Outcome.DRY_RUN))
    metrics.show(shrunk())
    assert counted() == [1, 1, 1]


def test_a_target_that_is_no_longer_there_is_forgotten(metrics):
    """With all its series; the others stay."""
    for target in ("llm/ollama", "llm/other"):
        metrics.expect(target)
        metrics.show(view_of(replace(report_of(4.0), target=target)))
    metrics.forget("llm/ollama")
    told = {label for key in series(metrics) for label in key if label[0] == "target"}
    assert told == {("target", "llm/other")}


def test_overruns_are_counted(metrics):
    """Counters begin at zero, so that their first rise shows."""
    metrics.expect("llm/ollama")
    assert value(metrics, "cycle_overruns_total") == 0
    metrics.overrun("llm/ollama")
    assert value(metrics, "cycle_overruns_total") == 1


def test_targets_are_told_apart(metrics):
    """Each has its own series."""
    metrics.show(view_of(report_of(4.0)))
    metrics.show(view_of(replace(report_of(1.6), target="llm/other")))
    names = {labels[1] for labels in series(metrics) if labels[0] == "autoscaler_desired_replicas"}
    assert names == {("target", "llm/ollama"), ("target", "llm/other")}


def test_every_series_of_ours_speaks_the_prefix(metrics):
    """Nothing but ours and the process' own."""
    metrics.show(view_of(report_of(4.0)))
    assert {key[0].split("_")[0] for key in series(metrics)} <= {"autoscaler", "process"}
    assert not any(key[0].endswith("_created") for key in series(metrics))

"""When a run counts as having worked."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.model import (
    Metric,
    Missing,
    Observation,
    Policy,
    Sample,
    Samples,
    Scaling,
    ScalingState,
)
from autoscaler.decision.record import Outcome as CycleOutcome
from autoscaler.decision.record import Record, to_json
from autoscaler.decision.words import MetricType, MissingKind
from autoscaler.sandbox.cycles import CycleLog
from autoscaler.sandbox.faults import Fault, Injected
from autoscaler.sandbox.load import Outcome, Result
from autoscaler.sandbox.report import Span
from autoscaler.sandbox.verdict import Evidence, cut_by_crash, failures, remarks, warnings
from autoscaler.sandbox.watch import Lateness

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
POLICY = Policy(
    min_replicas=2,
    max_replicas=6,
    metrics=(Metric(name="queue_depth", type=MetricType.TOTAL, target=1.0),),
    scale_up=Scaling(),
    scale_down=Scaling(),
    hold_limit=timedelta(minutes=15),
    pending_limit=timedelta(minutes=5),
    conflict_hold=timedelta(minutes=10),
)


def _cycles(tmp_path, *observed):
    """Write and read back the records of (current, queue depth or what is missing)."""
    path = tmp_path / "records.jsonl"
    with path.open("w") as file:
        for number, (current, value) in enumerate(observed):
            now = START + timedelta(seconds=5 * number)
            answer = (
                Missing(missing=value)
                if isinstance(value, MissingKind)
                else Samples(samples=(Sample(value=value, at=now),))
            )
            observation = Observation(
                now=now, current=current, ready=current, metrics={"queue_depth": answer}
            )
            verdict = decide(POLICY, ScalingState(), observation)
            moved = verdict.decision.to != current
            record = Record(
                target="llm/ollama",
                policy=POLICY,
                observation=observation,
                state=ScalingState(),
                steps=verdict.steps,
                decision=verdict.decision,
                outcome=CycleOutcome.SCALED if moved else CycleOutcome.HELD,
                mode=POLICY.mode,
            )
            file.write(json.dumps(to_json(record)) + "\n")
    log = CycleLog(path)
    log.read()
    return log.cycles


def _outcome(result=Result.SERVED, finished_s=10.0):
    return Outcome(
        arrival_s=1.0,
        first_s=1.0,
        wait_s=0.0,
        finished_s=finished_s,
        status=200,
        result=result,
        bytes=1,
        detail="",
    )


@pytest.fixture
def good(tmp_path):
    """Return the evidence of a run that worked."""
    return Evidence(
        speed=10.0,
        requests=1,
        outcomes=[_outcome()],
        cycles=_cycles(tmp_path, (2, 4.0), (4, 4.0), (4, 2.0)),
        exit_code=0,
        jobs={"gateway": True},
        slots=1,
        injected=None,
        fault=None,
    )


def _crash(at_s):
    span = Span(from_s=at_s, to_s=at_s, name="replica-crash")
    return Injected(fault=Fault.REPLICA_CRASH, span=span, pod="ollama-a")


def test_beside_a_rival_its_moves_count_and_a_write_of_ours_is_a_failure(good):
    """A shadow that writes is none; whoever was to scale must have scaled both ways."""
    shadow = replace(good, cycles=[], moves=[2, -1])
    assert list(failures(shadow)) == []
    assert any("never went down" in one for one in failures(replace(shadow, moves=[2])))
    (told,) = failures(replace(shadow, written=["patch /apis/x by ollama-autoscaler"]))
    assert told == (
        "the daemon wrote 1 times in shadow mode, must be never: patch /apis/x by ollama-autoscaler"
    )


def test_run_that_went_up_and_down_without_a_cut_is_good(good):
    """Nothing is to be said against it."""
    assert list(failures(good)) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cycles": []}, "replicas never went up in 0 cycles"),
        ({"outcomes": [_outcome(Result.CUT)]}, "1 streams were cut"),
        ({"outcomes": [_outcome(Result.REFUSED)]}, "1 requests got an error"),
        ({"outcomes": []}, "0 of 1 questions came to an end"),
        ({"exit_code": -9}, "the daemon ended with -9"),
        ({"jobs": {"gateway": False}}, "could not scrape gateway"),
        ({"fault": Fault.GATEWAY_RESTART}, "ended before its fault"),
    ],
)
def test_what_went_wrong_is_said_in_a_sentence(good, change, sentence):
    """Each missing proof is a failure of its own."""
    assert sentence in " ".join(failures(replace(good, **change)))


def test_stream_that_a_crash_took_is_no_failure(good):
    """The killed replica's stream ends at the crash; that is not the autoscaler's doing."""
    crashed = replace(
        good,
        outcomes=[_outcome(Result.CUT, finished_s=101.0)],
        injected=_crash(100.0),
        fault=Fault.REPLICA_CRASH,
    )
    assert cut_by_crash(crashed) == 1
    assert list(failures(crashed)) == []


@pytest.mark.parametrize("finished_s", [80.0, 120.0])
def test_stream_that_was_cut_at_another_time_is_a_failure(good, finished_s):
    """A crash excuses only what it ended itself."""
    crashed = replace(
        good,
        outcomes=[_outcome(Result.CUT, finished_s=finished_s)],
        injected=_crash(100.0),
        fault=Fault.REPLICA_CRASH,
    )
    assert "1 streams were cut" in " ".join(failures(crashed))


def test_crash_excuses_no_more_streams_than_the_replica_had_slots(good):
    """Two cut streams are one too many for a replica of one slot."""
    crashed = replace(
        good,
        requests=2,
        outcomes=[_outcome(Result.CUT, finished_s=100.0)] * 2,
        injected=_crash(100.0),
        fault=Fault.REPLICA_CRASH,
    )
    assert "1 streams were cut" in " ".join(failures(crashed))


def test_outage_must_have_been_seen(good):
    """An outage that no cycle missed shows nothing."""
    span = Span(from_s=1.0, to_s=2.0, name="prometheus-outage")
    injected = Injected(fault=Fault.PROMETHEUS_OUTAGE, span=span)
    unseen = replace(good, injected=injected, fault=Fault.PROMETHEUS_OUTAGE)
    assert "no cycle missed it" in " ".join(failures(unseen))


def test_cycles_without_data_are_told_with_their_reasons(good, tmp_path):
    """The number of blind cycles, why, and that nothing shrank."""
    cycles = [*good.cycles, *_cycles(tmp_path, (4, MissingKind.FAILED), (4, MissingKind.EMPTY))]
    told = " ".join(remarks(replace(good, cycles=cycles)))
    assert told == (
        "2 cycles lacked a metric (MetricFailed, MetricEmpty); in none of them did replicas shrink"
    )


@pytest.mark.parametrize(
    ("lateness", "count"),
    [
        (Lateness(load_s=0.1, cycles_s=0.1, busy=0.5), 0),
        (Lateness(load_s=9.0, cycles_s=9.0, busy=0.99), 3),
    ],
)
def test_machine_that_is_too_slow_is_said_to_be(lateness, count):
    """Late questions, late cycles and a full processor are each a warning."""
    assert len(list(warnings(lateness))) == count

"""`autoscaler decide`, behind the command line: observation lines in, record lines out."""

import json

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.record import Record, from_json
from autoscaler.decision.words import Mode
from autoscaler.errors import InputError
from autoscaler.replay import replay
from tests.decision.build import CPU, QUEUE, pods_per, policy, seconds


def line(second, current, queue, **more):
    """Return one observation line."""
    now = f"2026-11-23T10:00:{second:02}Z"
    sample = {"labels": {}, "value": queue, "at": now}
    metrics = {"queue_depth": {"samples": [sample]}}
    return json.dumps(
        {"now": now, "current": current, "ready": current, "metrics": metrics, **more}
    )


def decisions(given, *lines):
    """Return (to, reason, outcome) of each record."""
    records = [json.loads(text) for text in replay(given, "llm/ollama", lines)]
    return [(r["decision"]["to"], r["decision"]["reason"], r["outcome"]) for r in records]


def test_the_state_is_carried_from_line_to_line():
    """A move counts as written, so the cooldown holds the next one."""
    given = policy(up_cooldown=seconds(30))
    assert decisions(given, line(0, 2, 3.2), line(10, 4, 8), line(30, 4, 8)) == [
        (4, "AboveTarget", "scaled"),
        (4, "CoolingDown", "held"),
        (10, "AboveTarget", "scaled"),
    ]


@pytest.mark.parametrize(("write", "outcome"), [("failed", "failed"), ("conflict", "conflicted")])
def test_a_write_that_is_told_to_have_failed_starts_no_cooldown(write, outcome):
    """The line itself says what became of its write."""
    given = policy(up_cooldown=seconds(30))
    assert decisions(given, line(0, 2, 3.2, write=write), line(10, 2, 3.2)) == [
        (4, "AboveTarget", outcome),
        (4, "AboveTarget", "scaled"),
    ]


def test_shadow_mode_writes_nothing():
    """So nothing cools down, and no rate is used up."""
    given = policy(mode=Mode.SHADOW, up_policies=(pods_per(1, 600),))
    assert decisions(given, line(0, 2, 8), line(10, 3, 8)) == [
        (3, "AboveTarget", "dry-run"),
        (4, "AboveTarget", "dry-run"),
    ]


@pytest.mark.parametrize(
    ("more", "outcome"),
    [({}, "replaced"), ({"write": "failed"}, "failed"), ({"write": "conflict"}, "conflicted")],
)
def test_a_pod_that_is_replaced_counts_as_replaced_unless_its_line_says_otherwise(more, outcome):
    """The number stays, and what was done to the pod is told."""
    given = policy(
        metrics=(QUEUE, CPU), stuck_after=seconds(10), restart_stuck=True, min_replicas=2
    )
    assert [record["outcome"] for record in stuck(given, more)] == ["held", outcome]


def test_a_shadow_replaces_no_pod():
    """It says what it would have done."""
    given = policy(
        metrics=(QUEUE, CPU),
        stuck_after=seconds(10),
        restart_stuck=True,
        min_replicas=2,
        mode=Mode.SHADOW,
    )
    assert stuck(given, {})[-1]["outcome"] == "dry-run"


def stuck(given, more):
    """Return the records of a pod that has a request and no use for the time that it takes."""
    lines = [line(0, 2, 0.8), line(10, 2, 0.8)]
    observations = [json.loads(text) for text in lines]
    for observation in observations:
        at = observation["now"]
        samples = [{"labels": {"pod": name}, "value": 0, "at": at} for name in "ab"]
        observation["metrics"]["cpu_to_limit"] = {"samples": samples}
        observation["pods"] = [{"name": "a", "in_flight": 1}, {"name": "b", "in_flight": 0}]
    observations[-1] |= more
    texts = [json.dumps(observation) for observation in observations]
    return [json.loads(text) for text in replay(given, "llm/ollama", texts)]


def test_each_record_decides_the_same_when_read_back():
    """Whatever is needed is in it."""
    given = policy(down_stabilization_window=seconds(20))
    lines = [line(0, 4, 3.2), line(10, 4, 0.8), line(25, 4, 0.8)]
    for text in replay(given, "llm/ollama", lines):
        record = from_json(Record, json.loads(text))
        verdict = decide(record.policy, record.state, record.observation)
        assert (verdict.decision, verdict.steps) == (record.decision, record.steps)


def test_each_line_is_answered_before_the_next_is_read():
    """A simulation can be closed around it."""
    asked = []

    def lines():
        for second in range(3):
            asked.append(second)
            yield line(second, 2, 1.6)

    answers = replay(policy(), "llm/ollama", lines())
    next(answers)
    assert asked == [0]


def test_blank_lines_are_passed_over_and_counted():
    """The number told is the one an editor shows."""
    lines = ["\n", line(0, 2, 1.6), "  \n", "{"]
    with pytest.raises(InputError, match=r"^line 4: not JSON"):
        list(replay(policy(), "llm/ollama", lines))


@pytest.mark.parametrize("second", [4, 5])
def test_time_must_rise(second):
    """Neither back nor on the spot."""
    with pytest.raises(InputError, match=r"line 2: now = .*must be later than the line before"):
        decisions(policy(), line(5, 2, 1.6), line(second, 2, 1.6))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "must be an object"),
        ("{}", "now is missing"),
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON: nested too deeply"),
        ('{"now": ' + "9" * 5000 + "}", "digits"),
        ('{"ready": 1, "ready": 2}', 'keys = "ready", stands twice'),
        ("[" * 500 + "]" * 500, "must be an object"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number_after_the_ones_before(text, told):
    """The lines before it are already answered."""
    answers = replay(policy(), "llm/ollama", [line(0, 2, 1.6), text])
    assert json.loads(next(answers))["decision"]["to"] == 2
    with pytest.raises(InputError, match=r"^line 2: ") as refusal:
        next(answers)
    assert told in str(refusal.value)

"""Every value goes to JSON and back without loss, and nothing strange gets in."""

import json
import math
from datetime import timedelta, timezone

import pytest

from autoscaler.decision.decide import decide
from autoscaler.decision.model import (
    Fallback,
    ForeignWrite,
    Missing,
    Observation,
    Policy,
    RatePolicy,
    ScalingState,
)
from autoscaler.decision.record import (
    Outcome,
    Record,
    from_json,
    observation_from_json,
    to_json,
)
from autoscaler.decision.words import FallbackBehavior, MissingKind, Mode
from tests.decision.build import (
    CPU,
    QUEUE,
    Story,
    at,
    missing,
    one,
    pending,
    per_pod,
    percent_per,
    pods_per,
    policy,
    running,
    seconds,
    seen,
)

EXAMPLE = {
    "now": "2026-11-23T10:00:00Z",
    "current": 2,
    "ready": 2,
    "pods": [
        {
            "name": "ollama-a",
            "phase": "Running",
            "ready": True,
            "deleting": False,
            "created": "2026-11-23T09:00:00Z",
            "in_flight": 1,
        }
    ],
    "metrics": {
        "queue_depth": {"samples": [{"labels": {}, "value": 5.0, "at": "2026-11-23T09:59:58Z"}]},
        "cpu_to_limit": {"missing": "Failed", "detail": "timeout after 3s"},
    },
    "paused": False,
    "foreign_write": None,
    "write": "ok",
}


def through_text(value):
    """Write as strict JSON text and read the text again."""
    return json.loads(json.dumps(to_json(value), allow_nan=False))


def test_the_observation_of_the_contract_is_read_and_written_as_it_stands():
    """The documented example, key for key."""
    assert to_json(observation_from_json(EXAMPLE)) == EXAMPLE


def test_what_is_not_known_of_a_pod_is_not_written():
    """Scheduling is written where it is known."""
    pod = {**EXAMPLE["pods"][0], "unschedulable": True}
    known = {**EXAMPLE, "pods": [pod]}
    assert to_json(observation_from_json(known)) == known


def test_what_may_be_absent_may_be_absent():
    """The shortest observation; pods not known is another thing than no pods."""
    observation = observation_from_json(
        {"now": "2026-11-23T10:00:00+01:00", "current": 0, "ready": 0, "metrics": {}}
    )
    assert observation.pods is None
    assert observation_from_json({**EXAMPLE, "pods": []}).pods == ()


def test_a_foreign_write_may_be_given_by_its_managers_name():
    """Short for an object with that manager."""
    observation = observation_from_json({**EXAMPLE, "foreign_write": "kubectl"})
    assert observation.foreign_write == ForeignWrite(manager="kubectl")


def story_record(**changes):
    """Return a record with something in every field."""
    given = policy(
        metrics=(QUEUE, CPU),
        up_policies=(pods_per(4, 15), percent_per(100, 15)),
        down_stabilization_window=seconds(300),
        fallback=Fallback(behavior=FallbackBehavior.STATIC, replicas=3),
    )
    story = Story(given, current=2)
    story.cycle(0, queue=4, cpu=missing("Failed", "timeout after 3s"))
    before = story.state
    observation = seen(
        story.current,
        now=5.000001,
        queue=one(math.nan, now=5),
        cpu=per_pod({"a": 0.1 + 0.2}, now=5),
        pods=(*running("a"), *pending("b")),
        foreign_write=ForeignWrite(manager="kubectl", at=at(3), replicas=5),
    )
    verdict = decide(given, before, observation)
    return Record(
        **{
            "target": "llm/ollama",
            "policy": given,
            "observation": observation,
            "state": before,
            "steps": verdict.steps,
            "decision": verdict.decision,
            "outcome": Outcome.HELD,
            "mode": Mode.ACT,
            **changes,
        }
    )


def test_a_record_comes_back_equal_and_decides_the_same():
    """Through text and back; NaN is compared as text, since it equals nothing."""
    record = story_record()
    back = from_json(Record, through_text(record))
    assert through_text(back) == through_text(record)
    assert back.policy == record.policy
    assert back.state == record.state
    verdict = decide(back.policy, back.state, back.observation)
    assert (verdict.decision, verdict.steps) == (record.decision, record.steps)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.1, 1e300, 5e-324])
def test_numbers_survive(value):
    """Also those that JSON has no word for."""
    observation = seen(1, queue=one(value))
    assert from_json(Observation, through_text(observation)) == observation


def test_times_keep_their_zone_and_spans_their_microseconds():
    """A zone is more than an offset from here, and 250 ms is not 0."""
    east = at(0).astimezone(timezone(timedelta(hours=5, minutes=30)))
    state = ScalingState(last_up=east)
    back = from_json(ScalingState, through_text(state))
    assert back.last_up is not None
    assert back.last_up.isoformat() == east.isoformat()
    given = policy(hold_limit=timedelta(milliseconds=250, microseconds=1))
    assert from_json(Policy, through_text(given)) == given


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"now": None}, "now = null, must be a time"),
        ({"now": "yesterday"}, 'now = "yesterday", must be a time such as'),
        ({"now": "2026-11-23T10:00:00"}, 'now = "2026-11-23T10:00:00", must have a zone'),
        ({"current": "2"}, 'current = "2", must be a whole number'),
        ({"current": 2.0}, "current = 2.0, must be a whole number"),
        ({"current": True}, "current = true, must be a whole number"),
        ({"current": -1}, "current = -1, must not be negative"),
        ({"ready": 10**400}, "ready = a number of more than 18 digits, must be"),
        ({"current": 2**31}, "current = 2147483648, must be at most 2147483647"),
        ({"a\nb": 1}, '"a\\nb" = 1, unknown key'),
        ({"k" * 500: 1}, "..."),
        ({"current": {"a": 1}}, "current = object of 1, must be a whole number"),
        ({"current": [[[]]]}, "current = list of 1, must be a whole number"),
        ({"ready": -1}, "ready = -1, must not be negative"),
        ({"curent": 2}, "curent = 2, unknown key"),
        ({"metrics": []}, "metrics = [], must be an object"),
        ({"metrics": {"q": {}}}, "metrics.q = {}, must have `samples` or `missing`"),
        ({"metrics": {"q": 5}}, "metrics.q = 5, must be an object"),
        ({"metrics": {"q": {"missing": "Gone"}}}, 'metrics.q.missing = "Gone", must be one of'),
        ({"metrics": {"q": {"samples": {}}}}, "metrics.q.samples = {}, must be a list"),
        (
            {"metrics": {"q": {"samples": [{"value": "5", "at": "2026-11-23T10:00:00Z"}]}}},
            'metrics.q.samples[0].value = "5", must be a number',
        ),
        (
            {"metrics": {"q": {"samples": [{"value": 10**400, "at": "2026-11-23T10:00:00Z"}]}}},
            "metrics.q.samples[0].value = ",
        ),
        ({"metrics": {"q": {"samples": [{"value": 5}]}}}, "metrics.q.samples[0].at is missing"),
        (
            {"pods": [{"name": "a"}, {"name": "a"}]},
            'pods = "a", stands twice',
        ),
        ({"pods": [{"name": ""}]}, 'pods[0].name = "", must not be empty'),
        ({"pods": [{"name": "a", "phase": "Gone"}]}, 'pods[0].phase = "Gone", must be one of'),
        ({"pods": [{"name": "a", "in_flight": -1}]}, "pods[0].in_flight = -1, must not be"),
        ({"paused": "no"}, 'paused = "no", must be true or false'),
        ({"write": "maybe"}, 'write = "maybe", must be one of ok, failed, conflict'),
        ({"foreign_write": 1}, "foreign_write = 1, must be an object"),
    ],
)
def test_a_strange_observation_is_refused_with_path_value_and_rule(change, told):
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="must") as refusal:
        observation_from_json({**EXAMPLE, **change})
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("data", [None, [], "x", 5])
def test_an_observation_must_be_an_object(data):
    """Also the whole line is checked."""
    with pytest.raises(ValueError, match=r"the value = .*, must be an object"):
        observation_from_json(data)


def test_a_key_that_must_be_given_is_named():
    """The first thing that is missing."""
    with pytest.raises(ValueError, match="ready is missing, must be given"):
        observation_from_json({"now": "2026-11-23T10:00:00Z", "current": 2})
    with pytest.raises(ValueError, match="metrics is missing, must be given"):
        observation_from_json({"now": "2026-11-23T10:00:00Z", "current": 2, "ready": 2})


@pytest.mark.parametrize("span", [1e300, math.inf, math.nan, "5m"])
def test_a_span_that_is_none_is_refused(span):
    """Spans are numbers of seconds that a timedelta can hold."""
    with pytest.raises(ValueError, match=r"period = .*, must be a number"):
        from_json(RatePolicy, {"type": "pods", "value": 1, "period": span})


def test_an_endless_value_is_cut_in_the_message():
    """A refusal stays one readable line."""
    with pytest.raises(ValueError, match="must be") as refusal:
        observation_from_json({**EXAMPLE, "current": "9" * 1000})
    assert len(str(refusal.value)) < 120


def test_a_record_of_another_version_is_refused():
    """It may mean other things."""
    data = through_text(story_record())
    with pytest.raises(ValueError, match="version = 2, must be 1"):
        from_json(Record, {**data, "version": 2})


def test_missing_kinds_are_told_by_their_words():
    """The words of the contract."""
    assert through_text(Missing(missing=MissingKind.TOO_MANY_SERIES)) == {
        "missing": "TooManySeries",
        "detail": "",
    }

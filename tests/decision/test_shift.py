"""A clock that was set moves what is remembered along with it."""

from datetime import timedelta

from autoscaler.decision.model import Recommendation, ScaleEvent, ScalingState
from autoscaler.decision.record import from_json, to_json
from autoscaler.decision.shift import shifted
from tests.decision.build import at

HOUR = timedelta(hours=1)


def remembered() -> ScalingState:
    """Return a state with a time in every place that has one."""
    return ScalingState(
        last_cycle=at(0),
        recommendations=(Recommendation(at=at(-60), replicas=4),),
        events=(ScaleEvent(at=at(-30), change=-2),),
        last_up=at(-90),
        last_down=at(-30),
        holds={"queue_depth": at(-10)},
        conflict_since=at(-20),
        conflict_with="kubectl",
        given_back=Recommendation(at=at(-40), replicas=3),
        idle_since=at(-5),
        failing={"ollama-a": at(-6)},
        stuck={"ollama-b": at(-7)},
    )


def times(value: object) -> list[str]:
    """Return every time of a state, as JSON has it."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in times(item)]
    if isinstance(value, list):
        return [text for item in value for text in times(item)]
    return [value] if isinstance(value, str) and value.endswith("Z") else []


def test_every_time_moves_and_nothing_else():
    """Eleven places hold a time, and each lies an hour later; numbers and names stay."""
    before, after = to_json(remembered()), to_json(shifted(remembered(), HOUR))
    assert len(times(before)) == 11
    assert not set(times(before)) & set(times(after))
    assert shifted(shifted(remembered(), HOUR), -HOUR) == remembered()
    assert after["given_back"]["replicas"] == 3
    assert after["conflict_with"] == "kubectl"


def test_what_has_moved_is_a_state_still():
    """It goes to JSON and back as any other does."""
    moved = shifted(remembered(), -HOUR)
    assert from_json(ScalingState, to_json(moved)) == moved
    assert shifted(ScalingState(), HOUR) == ScalingState()

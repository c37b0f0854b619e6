"""What is remembered, once the clock was set."""

from dataclasses import fields
from datetime import timedelta

from autoscaler.decision.model import Recommendation, ScaleEvent, ScalingState
from autoscaler.decision.record import to_json
from autoscaler.decision.shift import shifted
from tests.decision.build import at

HOUR = timedelta(hours=1)


def state(begin=0):
    """Return a state in which everything is set, so many seconds after the start."""
    return ScalingState(
        last_cycle=at(begin + 90),
        recommendations=(Recommendation(at=at(begin + 10), replicas=2),),
        events=(ScaleEvent(at=at(begin + 20), change=-1),),
        last_up=at(begin + 30),
        last_down=at(begin + 20),
        holds={"queue_depth": at(begin + 40)},
        conflict_since=at(begin + 50),
        conflict_with="kubectl",
        given_back=Recommendation(at=at(begin + 60), replicas=3),
        idle_since=at(begin + 70),
        failing={"a": at(begin + 80)},
        stuck={"b": at(begin + 85)},
    )


def test_every_time_moves_by_the_same_span_and_nothing_else():
    """Forward and back; a field that a state gets one day must stand here."""
    assert all(getattr(state(), field.name) for field in fields(ScalingState))
    assert to_json(shifted(state(), HOUR)) == to_json(state(3600))
    assert to_json(shifted(state(), -HOUR)) == to_json(state(-3600))


def test_a_fresh_state_stays_fresh():
    """There is nothing to move."""
    assert shifted(ScalingState(), HOUR) == ScalingState()

"""A run's records, as if it had run at the speed of life."""

from dataclasses import replace
from datetime import timedelta

from autoscaler.decision.decide import decide
from autoscaler.sandbox.lived import as_lived
from tests.decision.build import at, seconds
from tests.shadow.build import QUICK, load, shadowed

PLAN = replace(QUICK, scale_down=replace(QUICK.scale_down, stabilization_window=seconds(30)))


def test_times_and_spans_grow_and_the_decisions_stay():
    """Ten seconds become a hundred, the window of half a minute five; deciding again agrees."""
    records = shadowed(load((3, 4.0, 5), (6, 0.8, 5)), PLAN)
    lived = list(as_lived(records, 10.0))
    assert [each.observation.now for each in lived[:2]] == [at(0), at(100)]
    assert lived[1].observation.metrics["queue_depth"].samples[0].at == at(80)
    assert lived[0].policy.scale_down.stabilization_window == timedelta(minutes=5)
    assert lived[0].policy.metrics[0].max_age == timedelta(minutes=5)
    for before, after in zip(records, lived, strict=True):
        verdict = decide(after.policy, after.state, after.observation)
        assert verdict.decision == after.decision == before.decision

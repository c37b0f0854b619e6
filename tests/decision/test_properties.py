"""What holds for every policy, every history and every observation that can be built."""

import json
import math
from dataclasses import replace
from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import (
    Fallback,
    ForeignWrite,
    Metric,
    Missing,
    Observation,
    Pod,
    Policy,
    RatePolicy,
    Sample,
    Samples,
    Scaling,
    ScalingState,
)
from autoscaler.decision.numbers import EPSILON
from autoscaler.decision.record import Outcome, Record, from_json, to_json
from autoscaler.decision.words import (
    Direction,
    FallbackBehavior,
    MetricType,
    MissingKind,
    Mode,
    OnEmpty,
    PodPhase,
    PolicyType,
    Reason,
    SelectPolicy,
    UseFor,
)
from tests.decision.build import START, change

PODS = [f"ollama-{letter}" for letter in "abcdefgh"]

spans = st.integers(0, 900).map(lambda count: timedelta(seconds=count))
periods = st.integers(1, 600).map(lambda count: timedelta(seconds=count))
values = st.floats(0, 30) | st.sampled_from([0.0, math.nan, math.inf, -1.0, 1e308])
ages = st.integers(-5, 120)

rate_policies = st.builds(
    RatePolicy, type=st.sampled_from(PolicyType), value=st.integers(1, 200), period=periods
)
scalings = st.builds(
    Scaling,
    tolerance=st.floats(0, 0.9),
    stabilization_window=spans,
    cooldown=spans,
    policies=st.lists(rate_policies, max_size=2).map(tuple),
    select_policy=st.sampled_from(SelectPolicy),
)
fallbacks = st.builds(
    Fallback, behavior=st.sampled_from(FallbackBehavior), replicas=st.integers(0, 12)
)


@st.composite
def metrics(draw: st.DrawFn, name: str) -> Metric:
    """Return any metric of that name."""
    return Metric(
        name=name,
        type=draw(st.sampled_from(MetricType)),
        target=draw(st.floats(0.05, 5)),
        use_for=draw(st.sampled_from(UseFor)),
        on_empty=draw(st.sampled_from(OnEmpty)),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Return any policy with one or two metrics."""
    low = draw(st.integers(0, 4))
    return Policy(
        min_replicas=low,
        max_replicas=draw(st.integers(max(1, low), 10)),
        metrics=tuple(draw(metrics(name)) for name in draw(st.sampled_from(["m", "mn"]))),
        scale_up=draw(scalings),
        scale_down=draw(scalings),
        hold_limit=draw(spans),
        fallback=draw(fallbacks),
        pending_limit=draw(spans),
        conflict_hold=draw(spans),
    )


@st.composite
def answers(draw: st.DrawFn, now_s: int) -> Samples | Missing:
    """Return any answer of a metric, most of them per pod."""
    if draw(st.booleans()) and draw(st.booleans()):
        return Missing(missing=draw(st.sampled_from(MissingKind)))
    labels = draw(st.lists(st.sampled_from([*PODS, ""]), max_size=5, unique=draw(st.booleans())))
    return Samples(
        samples=tuple(
            Sample(
                labels={"pod": pod} if pod else {},
                value=draw(values),
                at=START + timedelta(seconds=now_s - draw(ages)),
            )
            for pod in labels
        )
    )


@st.composite
def pods(draw: st.DrawFn, now_s: int) -> Pod:
    """Return any pod, its name still to be given."""
    return Pod(
        name="to be named",
        phase=draw(st.sampled_from(PodPhase)),
        ready=draw(st.booleans()),
        deleting=draw(st.booleans()),
        created=START + timedelta(seconds=now_s - draw(st.integers(0, 1200))),
        in_flight=draw(st.none() | st.integers(0, 3)),
    )


@st.composite
def observations(draw: st.DrawFn, now_s: int) -> Observation:
    """Return anything that one cycle may see."""
    seen_pods = draw(st.none() | st.lists(pods(now_s), max_size=6))
    return Observation(
        now=START + timedelta(seconds=now_s),
        current=draw(st.integers(0, 12)),
        ready=draw(st.integers(0, 8)),
        pods=None
        if seen_pods is None
        else tuple(replace(pod, name=PODS[i]) for i, pod in enumerate(seen_pods)),
        metrics={name: draw(answers(now_s)) for name in "mn" if draw(st.integers(0, 9))},
        paused=draw(st.integers(0, 9)) == 0,
        foreign_write=ForeignWrite(manager="x") if draw(st.integers(0, 9)) == 0 else None,
    )


Cycles = list[tuple[ScalingState, Observation, Verdict]]


@st.composite
def histories(draw: st.DrawFn) -> tuple[Policy, Cycles]:
    """Return a policy and a few cycles under it, some of their writes failed."""
    policy, state, now_s = draw(policies()), ScalingState(), 0
    cycles: Cycles = []
    for _ in range(draw(st.integers(1, 5))):
        now_s += draw(st.integers(1, 600))
        observation = draw(observations(now_s))
        verdict = decide(policy, state, observation)
        cycles.append((state, observation, verdict))
        state = verdict.state
        if draw(st.booleans()):
            state = remember(policy, state, change(verdict.decision), observation.now)
    return policy, cycles


def inside(policy: Policy, observation: Observation) -> bool:
    """Tell whether the current replicas are within the bounds."""
    return policy.min_replicas <= observation.current <= policy.max_replicas


@given(histories())
def test_bounds_always_hold(history):
    """Whatever moves, moves to within the bounds."""
    policy, cycles = history
    for _, observation, verdict in cycles:
        decision = verdict.decision
        if decision.direction is not Direction.HOLD:
            assert policy.min_replicas <= decision.to <= policy.max_replicas
        elif not inside(policy, observation):
            assert decision.reason in (Reason.PAUSED, Reason.SCALING_DISABLED, Reason.CONFLICT)


@given(histories())
def test_missing_data_never_shrinks_before_the_hold_limit(history):
    """No path leads down while a metric is missing that has not been so for the hold limit."""
    policy, cycles = history
    for _, observation, verdict in cycles:
        vetoes = [r for r in verdict.readings if r.missing and not r.expired]
        if vetoes and inside(policy, observation):
            assert verdict.decision.to >= observation.current


@given(histories())
def test_a_paused_target_never_moves(history):
    """Whatever else is seen."""
    for _, observation, verdict in history[1]:
        if observation.paused:
            assert verdict.decision.to == observation.current


@given(histories())
def test_the_same_input_gives_the_same_output(history):
    """No hidden state."""
    policy, cycles = history
    for state, observation, verdict in cycles:
        assert decide(policy, state, observation) == verdict


@given(histories())
def test_a_record_read_back_decides_the_same(history):
    """Through text, also with numbers that JSON has no word for."""
    policy, cycles = history
    for state, observation, verdict in cycles:
        record = Record(
            target="llm/ollama",
            policy=policy,
            observation=observation,
            state=state,
            steps=verdict.steps,
            decision=verdict.decision,
            outcome=Outcome.HELD,
            mode=Mode.ACT,
        )
        text = json.dumps(to_json(record), allow_nan=False)
        back = from_json(Record, json.loads(text))
        assert json.dumps(to_json(back), allow_nan=False) == text
        again = decide(back.policy, back.state, back.observation)
        assert (again.decision, again.steps) == (verdict.decision, verdict.steps)
        assert to_json(again.state) == to_json(verdict.state)


@given(histories())
def test_the_trail_leads_from_the_current_replicas_to_the_decision(history):
    """Step by step, without a gap."""
    for _, observation, verdict in history[1]:
        number = observation.current
        for step in verdict.steps:
            assert step.from_ == number
            number = step.to
        assert number == verdict.decision.to


@given(histories())
def test_victims_are_pods_of_the_observation_and_no_more_than_needed(history):
    """Only where it shrinks."""
    for _, observation, verdict in history[1]:
        names = {pod.name for pod in observation.pods or () if not pod.deleting}
        victims = verdict.decision.victims
        assert set(victims) <= names
        assert len(victims) <= max(0, observation.current - verdict.decision.to)


@given(policies(), st.data())
def test_within_tolerance_nothing_moves(policy, data):
    """Every metric whole and its usage ratio in the band, edges included, on fresh state."""
    current = data.draw(st.integers(max(1, policy.min_replicas), policy.max_replicas))
    low, high = 1 - policy.scale_down.tolerance, 1 + policy.scale_up.tolerance
    ratio = data.draw(st.floats(low, high))
    assume(low <= ratio <= high)
    names = [f"p{i}" for i in range(current)]
    answered = {}
    for metric in policy.metrics:
        if metric.type is MetricType.TOTAL:
            parts = {"": ratio * metric.target * current}
        else:
            parts = dict.fromkeys(names, ratio * metric.target)
        answered[metric.name] = Samples(
            samples=tuple(
                Sample(labels={"pod": pod} if pod else {}, value=value, at=START)
                for pod, value in parts.items()
            )
        )
    observation = Observation(now=START, current=current, ready=current, metrics=answered)
    assert decide(policy, ScalingState(), observation).decision.to == current


@given(policies(), st.floats(0, 30), st.integers(0, 12), st.integers(1, 120))
def test_a_constant_total_load_never_turns_the_direction_round(policy, load, current, interval):
    """Repeating an observation converges: the number rises or falls, and then stays."""
    metric = Metric(name="m", type=MetricType.TOTAL, target=policy.metrics[0].target)
    policy = replace(policy, metrics=(metric,))
    assume(inside(policy, Observation(now=START, current=current, ready=current, metrics={})))
    state, moves = ScalingState(), []
    for cycle in range(30):
        now = START + timedelta(seconds=cycle * interval)
        sample = Sample(value=load, at=now)
        observation = Observation(
            now=now, current=current, ready=current, metrics={"m": Samples(samples=(sample,))}
        )
        verdict = decide(policy, state, observation)
        state = remember(policy, verdict.state, change(verdict.decision), now)
        moves.append(verdict.decision.to - current)
        current = verdict.decision.to
    assert not (any(move > 0 for move in moves) and any(move < 0 for move in moves))


@given(st.floats(0, 1e6), st.floats(0.01, 100), st.integers(1, 1000))
def test_after_shrinking_as_far_as_the_metrics_want_they_do_not_want_back(load, target, current):
    """The survivors are inside the scale-up threshold: one and two never swing."""
    scaling = Scaling(tolerance=0.1)
    policy = Policy(
        min_replicas=1,
        max_replicas=1000,
        metrics=(Metric(name="m", type=MetricType.TOTAL, target=target),),
        scale_up=scaling,
        scale_down=scaling,
        hold_limit=timedelta(0),
        pending_limit=timedelta(0),
        conflict_hold=timedelta(0),
    )
    answer = {"m": Samples(samples=(Sample(value=load, at=START),))}
    observation = Observation(now=START, current=current, ready=current, metrics=answer)
    to = decide(policy, ScalingState(), observation).decision.to
    if to < current:
        assert load / to <= target * 1.1 + EPSILON * to
        after = replace(observation, current=to, ready=to)
        assert decide(policy, ScalingState(), after).decision.to <= to

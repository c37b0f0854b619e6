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
    Schedule,
)
from autoscaler.decision.numbers import EPSILON
from autoscaler.decision.record import Outcome, Record, from_json, to_json
from autoscaler.decision.schedule import bounds_in_force
from autoscaler.decision.stuck import watch
from autoscaler.decision.words import (
    FINISHED,
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
    Stage,
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
def schedules(draw: st.DrawFn, low: int, high: int) -> tuple[Schedule, ...]:
    """Return up to two windows of minutes near the start of the histories."""
    found = []
    for name in draw(st.sampled_from(["", "s", "st"])):
        least = draw(st.none() | st.integers(0, high))
        lowest = max(1, low if least is None else least)
        most = draw(st.integers(lowest, 12) if least is None else st.none() | st.just(12))
        start, end = draw(st.integers(0, 59)), draw(st.integers(0, 59))
        found.append(
            Schedule(
                name=name,
                start=f"{start} * * * *",
                end=f"{end} * * * *",
                timezone=draw(st.sampled_from(["UTC", "Asia/Kathmandu"])),
                min_replicas=least,
                max_replicas=most,
            )
        )
    return tuple(found)


@st.composite
def policies(draw: st.DrawFn, *, plain: bool = False) -> Policy:
    """Return any policy with one or two metrics; a plain one has nothing but the oldest keys."""
    low = draw(st.integers(0, 4))
    high = draw(st.integers(max(1, low), 10))
    later = {
        "idle_period": draw(spans),
        "stuck_after": draw(st.none() | periods),
        "restart_stuck": draw(st.booleans()),
        "schedules": draw(schedules(low, high)),
    }
    return Policy(
        **({} if plain else later),
        min_replicas=low,
        max_replicas=high,
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
        unschedulable=draw(st.none() | st.booleans()),
        failing=draw(st.none() | st.booleans()),
        template=draw(st.sampled_from([None, "old", "new"])),
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
        paused_direction=draw(st.sampled_from([None, None, Direction.UP, Direction.DOWN])),
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


def inside(policy: Policy, observation: Observation, number: int | None = None) -> bool:
    """Tell whether a number, the current replicas at first, is within the bounds in force."""
    bounds = bounds_in_force(policy, observation.now)
    number = observation.current if number is None else number
    return bounds.min_replicas <= number <= bounds.max_replicas


@given(histories())
def test_bounds_always_hold(history):
    """Whatever moves, moves to within the bounds that are in force."""
    policy, cycles = history
    for _, observation, verdict in cycles:
        decision = verdict.decision
        if decision.direction is not Direction.HOLD:
            assert inside(policy, observation, decision.to)
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
    """Whatever else is seen; where one direction is paused, not in that one."""
    for _, observation, verdict in history[1]:
        if observation.paused:
            assert verdict.decision.to == observation.current
        if observation.paused_direction is not None:
            assert verdict.decision.direction is not observation.paused_direction


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
def test_victims_are_as_many_pods_as_must_go(history):
    """Only where it shrinks."""
    for _, observation, verdict in history[1]:
        decision = verdict.decision
        pods = [pod for pod in observation.pods or () if pod.phase not in FINISHED]
        names = {pod.name for pod in pods if not pod.deleting}
        assert set(decision.victims) <= names
        shrinks = decision.direction is Direction.DOWN
        assert len(decision.victims) == (max(0, len(names) - decision.to) if shrinks else 0)


@given(histories())
def test_the_last_replica_never_goes_while_a_request_is_in_the_system(history):
    """Known zero, of every total and for the whole idle period; and nobody known to be served."""
    policy, cycles = history
    if policy.idle_period == timedelta(0):
        return
    for state, observation, verdict in cycles:
        if verdict.decision.to == 0 < observation.current:
            totals = [r for r in verdict.readings if r.metric.type is MetricType.TOTAL]
            assert totals
            assert all(reading.whole and reading.load <= EPSILON for reading in totals)
            assert not any(pod.in_flight for pod in observation.pods or ())
            assert state.idle_since is not None
            assert observation.now - state.idle_since >= policy.idle_period


SHORT = timedelta(seconds=60)


@st.composite
def stuck_histories(draw: st.DrawFn) -> tuple[Policy, Cycles]:
    """Return cycles in which some pods have requests and no use, and some of all else happens."""
    cpu = Metric(name="n", type=MetricType.POD, target=1.0, max_age=timedelta(seconds=120))
    queue = Metric(name="m", type=MetricType.TOTAL, target=draw(st.floats(0.5, 4)))
    policy = replace(draw(policies()), metrics=(queue, cpu), stuck_after=SHORT, restart_stuck=True)
    count = draw(st.integers(1, 6))
    uses = draw(st.lists(st.sampled_from([0.0, 0.02, 0.5]), min_size=count, max_size=count))
    state, cycles = ScalingState(), []
    for now_s in (0, 60, 120):
        now = START + timedelta(seconds=now_s)
        seen = draw(observations(now_s))
        going = st.lists(st.integers(0, 9), min_size=count, max_size=count)
        listed = tuple(
            Pod(name=PODS[i], in_flight=1, ready=odd != 0, deleting=odd == 1, created=START)
            for i, odd in enumerate(draw(going))
        )
        answered = {
            "m": Samples(samples=(Sample(value=draw(st.floats(0, 6)), at=now),)),
            "n": Samples(
                samples=tuple(
                    Sample(labels={"pod": PODS[i]}, value=use, at=now) for i, use in enumerate(uses)
                )
            ),
        }
        low = draw(st.integers(max(1, count - 1), count + 1))
        observation = replace(seen, pods=listed, current=low, metrics=answered)
        verdict = decide(policy, state, observation)
        cycles.append((state, observation, verdict))
        state = verdict.state
    return policy, cycles


def ready_names(observation: Observation) -> set[str]:
    """Return the pods that are ready and stay."""
    return {
        pod.name
        for pod in observation.pods or ()
        if pod.ready and not pod.deleting and pod.phase is PodPhase.RUNNING
    }


@given(stuck_histories() | histories())
def test_a_stuck_pod_goes_before_every_ready_one_that_works(history):
    """Whatever they serve."""
    policy, cycles = history
    for state, observation, verdict in cycles:
        stuck = set(watch(policy, state, observation).stuck)
        assert stuck <= ready_names(observation)
        victims = set(verdict.decision.victims)
        if victims & (ready_names(observation) - stuck):
            assert stuck <= victims


@given(stuck_histories() | histories())
def test_only_a_stuck_pod_is_replaced_and_never_the_last_ready_one(history):
    """One that holds, with another that works, and nobody on a way."""
    policy, cycles = history
    for state, observation, verdict in cycles:
        pod = verdict.decision.replace
        if pod is None:
            continue
        stuck = set(watch(policy, state, observation).stuck)
        assert pod in stuck
        assert ready_names(observation) - stuck
        assert policy.restart_stuck
        assert not observation.paused
        assert verdict.decision.direction is Direction.HOLD
        assert verdict.decision.reason is Reason.REPLICA_STUCK
        assert not any(each.deleting for each in observation.pods)


@given(stuck_histories() | histories())
def test_every_shrink_tells_its_victims_last_and_nothing_else_does(history):
    """One step, which leaves the number alone and names each of them."""
    for _, _, verdict in history[1]:
        told = [step for step in verdict.steps if step.stage is Stage.VICTIMS]
        if verdict.decision.direction is Direction.DOWN:
            assert told == [verdict.steps[-1]]
            assert told[0].from_ == told[0].to == verdict.decision.to
            assert all(name in told[0].detail for name in verdict.decision.victims)
            known = told[0].reason is not Reason.VICTIMS_UNKNOWN
            assert known is not told[0].detail.startswith("chosen blindly")
        else:
            assert told == []


LATER = ("idle_period", "stuck_after", "restart_stuck", "schedules")
"""Keys of a policy that records of the first version do not have."""
LATER_STATE = ("idle_since", "failing", "stuck", "conflict_with")


@given(policies(plain=True), st.data())
def test_a_record_from_before_there_were_these_keys_decides_the_same(policy, data):
    """What is not said changes nothing: neither the number, nor the reason, nor who goes."""
    now_s = data.draw(st.integers(1, 600))
    seen = data.draw(observations(now_s))
    pods = seen.pods and tuple(replace(pod, failing=None) for pod in seen.pods)
    observation = replace(seen, pods=pods, paused_direction=None)
    before = decide(policy, ScalingState(), data.draw(observations(0))).state
    old_policy, old_state = to_json(policy), to_json(before)
    for key in LATER:
        del old_policy[key]
    for key in LATER_STATE:
        del old_state[key]
    back = from_json(Policy, old_policy), from_json(ScalingState, old_state)
    assert back[0] == policy
    now, then = decide(policy, before, observation), decide(*back, observation)
    assert then.decision == now.decision
    assert [step.to for step in then.steps] == [step.to for step in now.steps]


@given(policies(), st.data())
def test_within_tolerance_nothing_moves(policy, data):
    """Every metric whole and its usage ratio in the band, edges included, on fresh state."""
    policy = replace(policy, schedules=())
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
    policy = replace(policy, metrics=(metric,), schedules=())
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

"""What is called steady stays as it is: the next decisions are the same, step by step."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from autoscaler.decision.decide import decide
from autoscaler.decision.model import (
    Missing,
    Observation,
    Policy,
    Recommendation,
    Sample,
    Samples,
    ScaleEvent,
    ScalingState,
    Schedule,
)
from autoscaler.decision.steady import is_steady, moved_on
from tests.decision.build import (
    CPU,
    Story,
    at,
    missing,
    pending,
    per_pod,
    percent_per,
    policy,
    running,
    seconds,
    seen,
)
from tests.decision.test_properties import pods, policies

values = st.sampled_from([0.0, 0.4, 0.8, 1.0, 2.5, 6.0])


@st.composite
def quiet_answers(draw: st.DrawFn, names: list[str]) -> Samples | Missing:
    """Return an answer of which all samples are young, or none."""
    if draw(st.integers(0, 9)) == 0:
        return missing()
    labels = draw(st.lists(st.sampled_from(names), max_size=4, unique=True)) if names else []
    return Samples(
        samples=tuple(
            Sample(labels={"pod": name} if name else {}, value=draw(values), at=at(-1))
            for name in labels or [""]
        )
    )


@st.composite
def sights(draw: st.DrawFn, policy: Policy) -> Observation:
    """Return something to be seen again and again."""
    known = draw(st.none() | st.lists(pods(0), max_size=4))
    names = [f"ollama-{letter}" for letter in "abcd"]
    known = known and [replace(pod, name=names[i]) for i, pod in enumerate(known)]
    return Observation(
        now=at(0),
        current=draw(st.integers(0, 5)),
        ready=draw(st.integers(0, 5)),
        pods=None if known is None else tuple(known),
        metrics={m.name: draw(quiet_answers([*names, ""])) for m in policy.metrics},
        paused=draw(st.integers(0, 9)) == 0,
    )


def at_time(sight: Observation, now: float) -> Observation:
    """Return the same sight later, its samples as old as they were."""
    metrics = {
        name: answer
        if isinstance(answer, Missing)
        else Samples(samples=tuple(replace(each, at=at(now - 1)) for each in answer.samples))
        for name, answer in sight.metrics.items()
    }
    return replace(sight, now=at(now), metrics=metrics)


def soon(rules: Policy) -> Policy:
    """Return the policy with short memories, so that it comes to rest within a few cycles."""
    least = timedelta(seconds=12)
    up, down = (
        replace(
            scaling,
            stabilization_window=min(scaling.stabilization_window, least),
            cooldown=min(scaling.cooldown, least),
        )
        for scaling in (rules.scale_up, rules.scale_down)
    )
    return replace(rules, scale_up=up, scale_down=down)


@given(st.data())
def test_steady_cycles_decide_the_same_and_leave_what_was_foretold(data):
    """Any policy, any sight, seen every 5 s: from the first steady cycle on, nothing is new."""
    rules = soon(data.draw(policies()))
    sight = data.draw(sights(rules))
    state, steady, told = ScalingState(), None, None
    for cycle in range(data.draw(st.integers(8, 20))):
        now = 5.0 * cycle
        observation = at_time(sight, now)
        verdict = decide(rules, state, observation)
        if steady is not None:
            assert (verdict.decision, verdict.steps) == told
            assert verdict.state == moved_on(steady, at(now))
        if is_steady(rules, state, observation, verdict):
            steady, told = verdict.state, (verdict.decision, verdict.steps)
        state = verdict.state
    event(f"steady: {steady is not None}")


@given(st.data(), st.integers(1, 9))
def test_after_a_long_quiet_time_a_new_sight_is_judged_as_if_nothing_was_left_out(data, cycles):
    """The state that `moved_on` gives is as good as that of all the cycles."""
    rules = soon(data.draw(policies(plain=True)))
    sight, other = data.draw(sights(rules)), data.draw(sights(rules))
    state = ScalingState()
    for cycle in range(8):
        before, observation = state, at_time(sight, 5.0 * cycle)
        verdict = decide(rules, before, observation)
        state = verdict.state
    steady = is_steady(rules, before, observation, verdict)
    event(f"steady: {steady}")
    if not steady:
        return
    walked = state
    for cycle in range(8, 8 + cycles):
        walked = decide(rules, walked, at_time(sight, 5.0 * cycle)).state
    then = 5.0 * (8 + cycles)

    short = decide(rules, moved_on(state, at(then - 5)), at_time(other, then))

    assert short == decide(rules, walked, at_time(other, then))


def steady_after(rules, cycles=3, **sight) -> bool:
    """Tell whether a target is steady that has seen the same for some cycles."""
    story = Story(rules, sight.pop("current", 2))
    for cycle in range(cycles):
        before = story.state
        story.cycle(5.0 * cycle, **sight)
    observation = seen(story.current, now=5.0 * (cycles - 1), **sight)
    return is_steady(rules, before, observation, decide(rules, before, observation))


def test_a_load_within_the_band_is_steady():
    """The plain case: nothing to do, nothing remembered but the one number."""
    assert steady_after(policy(), queue=1.6)
    assert not steady_after(policy(), queue=1.6, cycles=1)  # the window was seeded by it


def test_the_minimum_holds_a_wish_for_less_and_that_is_steady_too():
    """Each cycle asks for one, each is held at two, for the same reasons."""
    assert steady_after(policy(min_replicas=2), queue=0.0)


@pytest.mark.parametrize(
    ("rules", "sight"),
    [
        (policy(), {"queue": missing()}),  # its hold clock runs
        (policy(), {"queue": 1.6, "pods": (*running("a"), *pending("b"))}),  # may be given back
        (policy(min_replicas=0, idle_period=seconds(600)), {"queue": 0.0, "current": 1}),
        (policy(idle_period=seconds(2), min_replicas=2), {"queue": 0.0}),  # its clock begins anew
        (
            policy(
                schedules=(Schedule(name="s", start="0 8 * * *", end="0 9 * * *", min_replicas=2),)
            ),
            {"queue": 1.6},
        ),
    ],
    ids=["missing", "pending", "idle", "short-idle", "schedule"],
)
def test_what_waits_for_a_time_is_not_steady(rules, sight):
    """Some clock of it runs."""
    assert not steady_after(rules, **sight)


def judged(state, rules, queue=1.6):
    """Tell whether a cycle after that state is steady."""
    observation = seen(2, now=0, queue=queue)
    return is_steady(rules, state, observation, decide(rules, state, observation))


CALM = ScalingState(last_cycle=at(-5), recommendations=(Recommendation(at=at(-5), replicas=2),))


@pytest.mark.parametrize(
    ("change", "steady"),
    [
        ({}, True),
        ({"events": (ScaleEvent(at=at(-30), change=-1),)}, False),
        ({"events": (ScaleEvent(at=at(-90), change=-1),)}, False),
        ({"recommendations": (Recommendation(at=at(-9), replicas=3),)}, False),
        ({"holds": {"queue_depth": at(-60)}}, False),
        ({"failing": {"ollama-a": at(-60)}}, False),
        ({"stuck": {"ollama-a": at(-60)}}, False),
        ({"given_back": Recommendation(at=at(-999), replicas=2)}, False),
        ({"given_back": Recommendation(at=at(-9), replicas=2)}, False),
        ({"conflict_since": at(-9999)}, False),
        ({"last_up": at(-9)}, False),
        ({"last_down": at(-9)}, False),
        ({"last_up": at(-60), "last_down": at(-60)}, True),
    ],
)
def test_each_thing_remembered_that_time_changes_is_in_the_way(change, steady):
    """One at a time; cooldowns are over after a minute."""
    cooling = policy(
        min_replicas=2, up_cooldown=seconds(60), down_cooldown=seconds(60),
        down_policies=(percent_per(50, 60),),
    )  # fmt: skip

    assert judged(replace(CALM, **change), cooling) is steady


def test_a_move_is_never_steady():
    """What it leads to has to be seen first."""
    assert judged(CALM, policy())
    assert not judged(CALM, policy(), queue=9.0)


def test_an_idle_clock_that_ends_nothing_is_no_obstacle():
    """With a positive minimum the last replica never goes, however long it is idle."""
    idle = replace(CALM, idle_since=at(-60), recommendations=())
    rules = policy(min_replicas=2, idle_period=seconds(600))
    for now in (0, 5):
        observation = seen(2, now=now, queue=0.0)
        verdict = decide(rules, idle, observation)
        steady = is_steady(rules, idle, observation, verdict)
        idle = verdict.state

    assert steady
    assert moved_on(idle, at(50)).idle_since == at(-60)


def test_a_replacement_is_no_steady_cycle():
    """Deleting a stuck pod is an act, although the number holds."""
    rules = policy(min_replicas=2, stuck_after=timedelta(seconds=60), restart_stuck=True)
    state = replace(CALM, stuck={"a": at(-100)}, last_cycle=at(-5))
    rules = replace(rules, metrics=(*rules.metrics, CPU))
    both = tuple(replace(pod, in_flight=1) for pod in running("a", "b"))
    observation = seen(2, now=0, queue=0.4, cpu=per_pod({"a": 0.0, "b": 0.7}), pods=both)
    verdict = decide(rules, state, observation)

    assert verdict.decision.replace == "a"
    assert not is_steady(rules, state, observation, verdict)

"""The rules of a decision, in their order, and the one function that applies them.

switch          replicas 0 or a pause: hold, and nothing else   switches.py
quality         what each metric's answer permits               quality.py, recommend.permit
stuck           who has requests and does nothing               stuck.py
recommend       metrics to a number, the largest wins           recommend.py
tolerance       the band in which nothing moves                 recommend.py
feasibility     survivors must be able to carry the load        feasibility.py
stabilization   lowest / highest of a window                    stabilize.py
cooldown        time since the last write                       limit.py
rate            HPA's policies                                  limit.py
idle            the last replica waits for an idle period       idle.py
pending         give back what cannot run                       pending.py
bounds          min_replicas, max_replicas, schedules           limit.py, schedule.py
switch          a pause of one direction                        switches.py
conflict        another writer: stand down                      conflict.py
victims         who goes first                                  victims.py
"""

from dataclasses import dataclass, replace
from datetime import datetime

from autoscaler.decision.conclude import conclude, tell_quality, tell_stuck
from autoscaler.decision.conflict import last_foreign_write, stand_down
from autoscaler.decision.cycle import Cycle, Rule, judge
from autoscaler.decision.feasibility import keep_feasible
from autoscaler.decision.idle import keep_last
from autoscaler.decision.limit import cool_down, keep_bounds, limit_rate, remembered_events
from autoscaler.decision.model import Decision, Observation, Policy, ScaleEvent, ScalingState, Step
from autoscaler.decision.pending import give_back, given_back
from autoscaler.decision.quality import Reading, hold_clocks
from autoscaler.decision.recommend import permit, recommend, tolerate
from autoscaler.decision.stabilize import recorded, seeded, stabilize
from autoscaler.decision.switches import hold_all, hold_direction, is_off


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one cycle comes to."""

    decision: Decision
    steps: tuple[Step, ...]
    readings: tuple[Reading, ...]
    state: ScalingState
    """For the next cycle. A successful write is added to it by `remember`."""


def decide(policy: Policy, state: ScalingState, observation: Observation) -> Verdict:
    """Decide one cycle. The same arguments give the same verdict; no observation raises."""
    cycle = judge(policy, state, observation)
    walked, recommendation = _walk(cycle)
    decision, steps = conclude(cycle, walked)
    return Verdict(
        decision=decision,
        steps=steps,
        readings=cycle.readings,
        state=_next_state(cycle, recommendation),
    )


def remember(policy: Policy, state: ScalingState, change: int, now: datetime) -> ScalingState:
    """Stamp a successful write: the only thing that starts a cooldown or uses up a rate."""
    if change == 0:
        return state
    events = remembered_events(policy, (*state.events, ScaleEvent(at=now, change=change)), now)
    if change > 0:
        return replace(state, events=events, last_up=now)
    return replace(state, events=events, last_down=now)


_METRIC_RULES: tuple[Rule, ...] = (recommend, tolerate, permit, keep_feasible)
"""Up to the recommendation that the windows remember."""
_MOTION_RULES: tuple[Rule, ...] = (
    stabilize,
    cool_down,
    limit_rate,
    keep_last,
    give_back,
    keep_bounds,
)
_LAST_RULES: tuple[Rule, ...] = (hold_direction, stand_down)
"""These win over the bounds, too."""


def _walk(cycle: Cycle) -> tuple[tuple[Step, ...], int | None]:
    """Return all steps, and the recommendation to remember (None: none was made)."""
    seen = (*tell_quality(cycle), *tell_stuck(cycle))
    held = hold_all(cycle)
    if is_off(cycle):
        return (*seen, *held), None
    steps, recommendation = _apply(_METRIC_RULES, cycle, seen, cycle.current)
    if held:
        return (*seen, *held), recommendation
    outside = keep_bounds(cycle, cycle.current)
    if outside:  # to the nearest bound and no further, metrics or not
        steps, _ = _apply(_LAST_RULES, cycle, (*seen, *outside), outside[-1].to)
        return steps, None
    steps, _ = _apply((*_MOTION_RULES, *_LAST_RULES), cycle, steps, recommendation)
    return steps, recommendation


def _apply(
    rules: tuple[Rule, ...], cycle: Cycle, steps: tuple[Step, ...], number: int
) -> tuple[tuple[Step, ...], int]:
    for rule in rules:
        taken = rule(cycle, number)
        if taken:
            steps, number = (*steps, *taken), taken[-1].to
    return steps, number


def _next_state(cycle: Cycle, recommendation: int | None) -> ScalingState:
    now = cycle.observation.now
    entries = seeded(cycle.state, now, cycle.current)
    if recommendation is not None:
        entries = recorded(cycle.policy, entries, now, recommendation)
    since, manager = last_foreign_write(cycle)
    return replace(
        cycle.state,
        last_cycle=now,
        recommendations=entries,
        events=remembered_events(cycle.policy, cycle.state.events, now),
        holds=hold_clocks(cycle.readings),
        conflict_since=since,
        conflict_with=manager,
        given_back=given_back(cycle),
        idle_since=cycle.idle_since,
        failing=cycle.failing,
        stuck=cycle.stuck_since,
    )

"""The rules of a decision, in their order, and the one function that applies them.

    quality         what each metric's answer permits           quality.py, recommend.permit
    recommend       metrics to a number, the largest wins       recommend.py
    tolerance       the band in which nothing moves             recommend.py
    feasibility     survivors must be able to carry the load    feasibility.py
    stabilization   lowest / highest of a window                stabilize.py
    cooldown        time since the last write                   limit.py
    rate            HPA's policies                              limit.py
    pending         give back what cannot run                   pending.py
    bounds          min_replicas, max_replicas                  limit.py
    conflict        another writer: stand down                  conflict.py

A switch (pause, scaling disabled) comes before them all.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from autoscaler.decision.conflict import conflict_since, stand_down
from autoscaler.decision.cycle import Cycle, Rule
from autoscaler.decision.feasibility import keep_feasible
from autoscaler.decision.limit import cool_down, keep_bounds, limit_rate, remembered_events
from autoscaler.decision.model import Decision, Observation, Policy, ScaleEvent, ScalingState, Step
from autoscaler.decision.pending import give_back, given_back
from autoscaler.decision.quality import Reading, hold_clocks, read_metrics
from autoscaler.decision.recommend import permit, recommend, tolerate
from autoscaler.decision.stabilize import recorded, seeded, stabilize
from autoscaler.decision.victims import choose_victims
from autoscaler.decision.words import Direction, Reason, Stage


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
    readings = read_metrics(policy, state, observation)
    cycle = Cycle(policy=policy, state=state, observation=observation, readings=readings)
    steps, recommendation = _walk(cycle)
    return Verdict(
        decision=_decision(cycle, steps),
        steps=steps,
        readings=readings,
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
_MOTION_RULES: tuple[Rule, ...] = (stabilize, cool_down, limit_rate, give_back, keep_bounds)


def _walk(cycle: Cycle) -> tuple[tuple[Step, ...], int | None]:
    """Return all steps, and the recommendation to remember (None: none was made)."""
    quality = _quality(cycle)
    if cycle.current == 0 and cycle.policy.min_replicas > 0:
        switch = _switch(cycle, Reason.SCALING_DISABLED, "replicas is 0: switched off by a person")
        return (*quality, switch), None
    steps, recommendation = _apply(_METRIC_RULES, cycle, quality, cycle.current)
    if cycle.observation.paused:
        return (*quality, _switch(cycle, Reason.PAUSED, "paused")), recommendation
    outside = keep_bounds(cycle, cycle.current)
    if outside:  # to the nearest bound and no further, metrics or not
        return (*quality, *outside, *stand_down(cycle, outside[-1].to)), None
    steps, number = _apply(_MOTION_RULES, cycle, steps, recommendation)
    return (*steps, *stand_down(cycle, number)), recommendation


def _apply(
    rules: tuple[Rule, ...], cycle: Cycle, steps: tuple[Step, ...], number: int
) -> tuple[tuple[Step, ...], int]:
    for rule in rules:
        taken = rule(cycle, number)
        if taken:
            steps, number = (*steps, *taken), taken[-1].to
    return steps, number


def _switch(cycle: Cycle, reason: Reason, detail: str) -> Step:
    current = cycle.current
    return Step(stage=Stage.SWITCH, from_=current, to=current, reason=reason, detail=detail)


def _quality(cycle: Cycle) -> tuple[Step, ...]:
    """Leave a step for each metric that is not whole."""
    return tuple(
        Step(
            stage=Stage.QUALITY,
            from_=cycle.current,
            to=cycle.current,
            reason=Reason.HOLD_EXPIRED if reading.missing and reading.expired else reading.reason,
            detail=f"{reading.metric.name} {reading.quality}: {reading.detail}".rstrip(": "),
        )
        for reading in cycle.readings
        if not reading.whole
    )


def _decision(cycle: Cycle, steps: tuple[Step, ...]) -> Decision:
    current = cycle.current
    to = steps[-1].to if steps else current
    if to == current:
        direction, reason = Direction.HOLD, _hold_reason(cycle, steps)
    else:
        direction = Direction.UP if to > current else Direction.DOWN
        reason = _move_reason(current, to, steps)
    victims = choose_victims(cycle.observation, current - to)
    return Decision(from_=current, to=to, direction=direction, reason=reason, victims=victims)


def _move_reason(current: int, to: int, steps: tuple[Step, ...]) -> Reason:
    """Return what asked for the move; the rules that only shortened it stand in the trail."""
    return next(step.reason for step in steps if (step.to - current) * (to - current) > 0)


def _hold_reason(cycle: Cycle, steps: tuple[Step, ...]) -> Reason:
    """Return what keeps the number: a switch or conflict, else the last rule that turned it back.

    Where only the metrics had a say, one that is missing and blocks is the reason worth telling.
    """
    if steps and steps[-1].stage in (Stage.SWITCH, Stage.CONFLICT):
        return steps[-1].reason
    turned = next((step for step in reversed(steps) if step.from_ != step.to), None)
    if turned and turned.stage not in (Stage.RECOMMEND, Stage.TOLERANCE):
        return turned.reason
    if cycle.veto:
        return cycle.veto.reason
    last = turned or (steps[-1] if steps else None)
    return last.reason if last else Reason.WITHIN_TOLERANCE


def _next_state(cycle: Cycle, recommendation: int | None) -> ScalingState:
    now = cycle.observation.now
    entries = seeded(cycle.state, now, cycle.current)
    if recommendation is not None:
        entries = recorded(cycle.policy, entries, now, recommendation)
    return replace(
        cycle.state,
        last_cycle=now,
        recommendations=entries,
        events=remembered_events(cycle.policy, cycle.state.events, now),
        holds=hold_clocks(cycle.readings),
        conflict_since=conflict_since(cycle),
        given_back=given_back(cycle),
    )

"""The cycles to come, if what was seen stays as it is.

Only those are decided in which something can be new: the next one, and around each moment at which
a clock of the policy runs out. In between, every cycle would come to the same as the one before.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from autoscaler.decision.decide import Verdict, decide, remember
from autoscaler.decision.model import Observation, Policy, Samples, ScalingState
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.schedule import bounds_in_force
from autoscaler.decision.words import PodPhase

HORIZON = timedelta(hours=1)
MOST_DECISIONS = 200
"""Of one look ahead: where clocks run out all the time, it does not reach the horizon."""
_MINUTE = timedelta(minutes=1)
_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """From where to look ahead, and how far."""

    policy: Policy
    state: ScalingState
    """As the last cycle has left it."""
    observation: Observation
    """What the next cycle sees, but as old as it was in the last one."""
    step: timedelta
    """From one cycle to the next."""
    cycles: int
    """How many of them to look ahead."""
    changes: tuple[datetime, ...]
    """When schedules change the bounds."""

    @property
    def until(self) -> datetime:
        """Return the time of the last cycle to look at."""
        return self.observation.now + self.cycles * self.step


def start_after(record: Record, step: timedelta, horizon: timedelta = HORIZON) -> Start:
    """Return the start of what comes after a cycle. Of a written change, the target shows it."""
    policy, seen, decision = record.policy, record.observation, record.decision
    state = decide(policy, record.state, seen).state
    seen = replace(seen, foreign_write=None)
    if record.outcome is Outcome.SCALED:
        state = remember(policy, state, decision.to - decision.from_, seen.now)
        seen = _without(seen, (*decision.victims,), decision.to)
    if record.outcome is Outcome.REPLACED:
        seen = _without(seen, (decision.replace,), seen.current)
    cycles = max(1, horizon // step)
    changes = tuple(_changes(policy, seen.now, seen.now + cycles * step))
    return Start(
        policy=policy, state=state, observation=seen, step=step, cycles=cycles, changes=changes
    )


def cycles_ahead(start: Start) -> Iterator[Verdict]:
    """Yield what each cycle comes to in which something can be new; nothing of it is written.

    The time of a cycle is the `last_cycle` of the state that it leaves.
    """
    state, number, due, decided = start.state, 0, 1, 0
    while decided < MOST_DECISIONS:
        # The last cycle before the moment records what counts until then.
        for cycle in (due - 1, due):
            if cycle > number:
                number, decided = cycle, decided + 1
                by = cycle * start.step
                seen = _aged(start.observation, by)
                state = replace(state, last_cycle=seen.now - start.step)
                verdict = decide(start.policy, state, seen)
                state = verdict.state
                yield verdict
        left = min(_spans_left(start, state, seen), default=None)
        if left is None:
            return
        due = number - (-left // start.step)


def _without(seen: Observation, gone: tuple[str | None, ...], current: int) -> Observation:
    pods = seen.pods and tuple(pod for pod in seen.pods if pod.name not in gone)
    return replace(seen, current=current, ready=min(seen.ready, current), pods=pods)


def _aged(seen: Observation, by: timedelta) -> Observation:
    """Return the same observation later; samples are as old as they were, pods are older."""
    metrics = {
        name: Samples(samples=tuple(replace(each, at=each.at + by) for each in answer.samples))
        if isinstance(answer, Samples)
        else answer
        for name, answer in seen.metrics.items()
    }
    return replace(seen, now=seen.now + by, metrics=metrics)


def _spans_left(start: Start, state: ScalingState, seen: Observation) -> Iterator[timedelta]:
    """Yield how long each clock still runs that ends before the horizon."""
    now = seen.now
    spans = (span - (now - since) for since, span in _clocks(start.policy, state, seen))
    changes = (change - now for change in start.changes)
    most = start.until - now
    yield from (left for left in (*spans, *changes) if _NOTHING < left <= most)


def _clocks(
    policy: Policy, state: ScalingState, seen: Observation
) -> Iterator[tuple[datetime, timedelta]]:
    """Yield since when each clock runs, and for how long. One that is set anew is none."""
    up, down = policy.scale_up, policy.scale_down
    for window in (up.stabilization_window, down.stabilization_window):
        yield from ((e.at, window) for e in state.recommendations if e.at < seen.now)
    for rate in (*up.policies, *down.policies):
        yield from ((event.at, rate.period) for event in state.events)
    pending = [p.created for p in seen.pods or () if p.phase is PodPhase.PENDING]
    back = state.given_back.at if state.given_back and state.given_back.at < seen.now else None
    single = [
        (state.last_up, up.cooldown),
        (state.last_down, down.cooldown),
        (state.conflict_since, policy.conflict_hold),
        (back, policy.pending_limit),
        (state.idle_since, policy.idle_period),
        *((since, policy.hold_limit) for since in state.holds.values()),
        *((since, policy.pending_limit) for since in (*state.failing.values(), *pending)),
        *((since, policy.stuck_after or _NOTHING) for since in state.stuck.values()),
    ]
    yield from ((since, span) for since, span in single if since is not None)


def _changes(policy: Policy, now: datetime, until: datetime) -> Iterator[datetime]:
    """Yield when the bounds change; schedules change at whole minutes, in whatever zone."""
    if not policy.schedules:
        return
    minute, bounds = now.replace(second=0, microsecond=0) + _MINUTE, bounds_in_force(policy, now)
    while minute <= until:
        before, bounds = bounds, bounds_in_force(policy, minute)
        if bounds != before:
            yield minute
        minute += _MINUTE

"""What a daemon must know, kept by the test on its own, and the rules that follow from it.

Nothing here calls what is tested: the rules are those of docs/rules.md, told once more. A ledger is
kept beside each daemon's memory and goes into the store and out of it with that memory, so that
what a restart loses, the test loses as well.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil, floor, isfinite

from autoscaler.decision.model import Missing
from autoscaler.decision.words import (
    ALIVE,
    Direction,
    MetricType,
    MissingKind,
    OnEmpty,
    PodPhase,
    PolicyType,
    SelectPolicy,
    UseFor,
)

TINY = 1e-9
SKEW = timedelta(seconds=10)


@dataclass
class Move:
    """One write of ours that a daemon must know of."""

    at: datetime
    change: int
    counted: bool = True
    """False: once older than any rate policy looked back; a later policy does not get it back."""


@dataclass
class Ledger:
    """What must be known at the end of a cycle."""

    last_cycle: datetime | None = None
    moves: list[Move] = field(default_factory=list)
    missing: dict[str, datetime] = field(default_factory=dict)
    """Metric to the first cycle of the present stretch without an answer."""
    whole: dict[str, bool] = field(default_factory=dict)
    stuck: dict[str, datetime] = field(default_factory=dict)
    """Pod to the first cycle of the present stretch with requests and no use."""
    idle: datetime | None = None
    """First cycle of the present stretch with nothing in the system."""
    wants: list[tuple[datetime, int]] = field(default_factory=list)
    """At least so many replicas were wanted, but for those that were not there."""
    conflict: datetime | None = None
    number: int | None = None
    """The replicas that were last seen or written."""
    known: int = 0
    """So many of the log's writes have been seen."""
    ours: bool = False
    """Whether the last of them was ours, as far as this process knows."""
    unsure: bool = True
    """A process before this one may have written without remembering."""
    lost: tuple[int, datetime] | None = None
    """Number and time of a write whose answer was lost."""

    def shift(self, by):
        """Move all times along with the clock."""
        self.last_cycle = self.last_cycle and self.last_cycle + by
        self.conflict = self.conflict and self.conflict + by
        self.idle = self.idle and self.idle + by
        self.missing = {name: at + by for name, at in self.missing.items()}
        self.stuck = {name: at + by for name, at in self.stuck.items()}
        self.wants = [(at + by, number) for at, number in self.wants]
        for move in self.moves:
            move.at += by

    def reloaded(self, now):
        """Go on in a new process or term, by its clock."""
        self.ours, self.unsure, self.lost = False, True, None
        if self.last_cycle and self.last_cycle - now > SKEW:
            self.shift(now - self.last_cycle)

    def forget(self, policy, now):
        """Count no more what no rate policy looks back to."""
        rates = (*policy.scale_up.policies, *policy.scale_down.policies)
        longest = max((rate.period for rate in rates), default=timedelta(0))
        for move in self.moves:
            move.counted &= now - move.at < longest

    def wrote(self, view, number, known):
        """Note a write that was answered."""
        self.moves.append(Move(view.now, number - view.seen.current))
        self.forget(view.policy, view.now)
        self.number, self.known, self.ours = number, known, True
        self.unsure, self.lost = False, None


def look(ledger, view, log, *, told, shadow):
    """Note what a cycle saw; return whether it may speak of a foreign write."""
    now, seen = view.now, view.seen
    news = log[ledger.known : view.log_length]
    expected, current = ledger.number, seen.current
    may_be_foreign = any(write.late or not write.ours for write in news) or (
        not told and current != expected
    )
    if news and expected is not None:
        if news[-1].ours:
            _find_own(ledger, view, told=told)
        elif not shadow:
            differs = current != expected
            taken_over = told and ledger.ours
            switch = _least(view.policy) > 0 and 0 in (current, expected)
            # Nobody can tell a number that we wanted from the same one that somebody else wrote.
            alike = not told and ledger.lost is not None and ledger.lost[0] == current
            if (differs or taken_over) and not switch and not alike:
                ledger.conflict = now
    if current != expected:
        ledger.lost = None
    ledger.number, ledger.known = current, view.log_length
    ledger.ours = bool(told and seen.writer and seen.writer.is_us)
    before, ledger.last_cycle = ledger.last_cycle, now
    ledger.unsure = False
    _judge_stuck(ledger, view, before)
    _judge_metrics(ledger, view)
    _judge_idle(ledger, view, before)
    _note_wants(ledger, view, before)
    ledger.forget(view.policy, now)
    return may_be_foreign


def _find_own(ledger, view, *, told):
    """Note a write of ours that was not answered, where it can be seen that it happened.

    What else the number has been in between, nobody can tell: all of it counts as one move.
    """
    current = view.seen.current
    if ledger.lost is not None and (told or ledger.lost[0] == current):
        at = ledger.lost[1]
    elif told and ledger.unsure:
        at = view.now  # nobody tells when it was
    else:
        return
    if current != ledger.number:
        at = min(max(at, ledger.last_cycle or at), view.now)
        ledger.moves.append(Move(at, current - ledger.number))


def _judge_stuck(ledger, view, last_cycle):
    """Run the clocks of the pods that have requests and do nothing, and name those that ran out."""
    limit, view.stuck, known = view.policy.stuck_after, set(), ledger.stuck
    ledger.stuck = {}
    if limit is None:
        return
    if last_cycle is None or view.now - last_cycle > limit:
        known = {}
    metrics = [metric for metric in view.policy.metrics if metric.type is MetricType.POD]
    for pod in view.seen.pods:
        requests = view.in_flight(pod)
        uses = [_use(metric, view, pod.name) for metric in metrics]
        if pod.deleting or requests == 0 or any(use and use > 1 / 20 + TINY for use in uses):
            continue
        suspect = _serves(pod) and requests and uses and None not in uses
        if suspect or pod.name in known:
            ledger.stuck[pod.name] = known.get(pod.name, view.now)
        if suspect and view.now - ledger.stuck[pod.name] >= limit:
            view.stuck.add(pod.name)


def _samples(view, metric):
    answer = view.answers[metric.name]
    return () if isinstance(answer, Missing) else answer.samples


def _use(metric, view, pod):
    mine = [sample for sample in _samples(view, metric) if sample.labels["pod"] == pod]
    good = len(mine) == 1 and view.now - mine[0].at <= metric.max_age and mine[0].value >= 0
    return mine[0].value / metric.target if good else None


def _judge_idle(ledger, view, last_cycle):
    """Run the clock of the stretch in which it is known that nothing is in the system."""
    totals = [metric for metric in view.policy.metrics if metric.type is MetricType.TOTAL]
    nothing = bool(totals) and not any(view.in_flight(pod) for pod in view.seen.pods)
    for metric in totals:
        nothing &= judge(metric, view) == "whole"
        nothing &= not any(sample.value for sample in _samples(view, metric))
    seen = last_cycle is not None and view.now - last_cycle <= view.policy.idle_period
    ledger.idle = ((ledger.idle if seen else None) or view.now) if nothing else None


def _note_wants(ledger, view, last_cycle):
    """Keep what the load has asked for, as far back as a window reaches."""
    policy, current = view.policy, view.seen.current
    low, high = _bounds(view)
    if last_cycle is None:
        ledger.wants.append((view.now, current))
    for metric in policy.metrics if low <= current <= high and _is_on(view) else ():
        total = metric.type is MetricType.TOTAL and metric.use_for is UseFor.BOTH
        if total and ledger.whole[metric.name]:
            load = sum(sample.value for sample in _samples(view, metric))
            ledger.wants.append((view.now, min(current, ceil(load / metric.target - TINY))))
    window = max(policy.scale_up.stabilization_window, policy.scale_down.stabilization_window)
    ledger.wants = [want for want in ledger.wants if view.now - want[0] < window]


def _judge_metrics(ledger, view):
    before, ledger.missing, ledger.whole = ledger.missing, {}, {}
    for metric in view.policy.metrics:
        quality = judge(metric, view)
        since = before.get(metric.name)
        if quality == "missing":
            since = since or view.now
        elif since and view.now - since >= view.policy.hold_limit:
            since = view.now  # one that is partly back waits for another hold limit
        ledger.whole[metric.name] = quality == "whole"
        if since and quality != "whole":
            ledger.missing[metric.name] = since


def judge(metric, view):
    """Return whether an answer is whole, partial or missing."""
    answer = view.answers[metric.name]
    serving = {pod.name for pod in view.seen.pods if _serves(pod)} - view.stuck
    if isinstance(answer, Missing):
        samples, empty = (), answer.missing is MissingKind.EMPTY
    else:
        samples, empty = answer.samples, not answer.samples
    if empty:
        no_pods = metric.type is MetricType.POD and view.seen.current == 0
        zero = metric.on_empty is OnEmpty.ZERO and (serving or metric.type is MetricType.TOTAL)
        return "whole" if no_pods or zero else "missing"
    expected = 1
    if metric.type is MetricType.POD and view.seen.current == 0:
        return "missing" if isinstance(answer, Missing) else "whole"
    if metric.type is MetricType.POD:
        samples = [sample for sample in samples if sample.labels["pod"] in serving]
        expected = len(serving)
        doubles = Counter(sample.labels["pod"] for sample in samples)
    else:
        doubles = Counter("" for _ in samples)
    young = [sample for sample in samples if view.now - sample.at <= metric.max_age]
    if max(doubles.values(), default=0) > 1 or not young:
        return "missing"
    if not all(isfinite(sample.value) and sample.value >= 0 for sample in young):
        return "missing"
    return "whole" if len(young) >= expected else "partial"


def _serves(pod):
    return pod.phase is PodPhase.RUNNING and pod.ready and not pod.deleting


# --- the rules -----------------------------------------------------------------------------------


def _least(policy):
    lows = [each.min_replicas for each in policy.schedules if each.min_replicas is not None]
    return min([policy.min_replicas, *lows])


def _is_on(view):
    return view.seen.current > 0 or _least(view.policy) == 0


def _bounds(view):
    """Return the bounds in force; the only schedule there is holds in the even minutes."""
    policy = view.policy
    low, high = policy.min_replicas, policy.max_replicas
    if policy.schedules and view.now.minute % 2 == 0:
        schedule = policy.schedules[0]
        low = low if schedule.min_replicas is None else schedule.min_replicas
        high = high if schedule.max_replicas is None else schedule.max_replicas
    return low, high


def _forbidden(ledger, view):
    """Yield what forbids any change at all."""
    if view.seen.paused:
        yield "paused"
    if not _is_on(view):
        yield "switched off by zero replicas"
    if ledger.conflict and view.now - ledger.conflict < view.policy.conflict_hold:
        yield f"conflict since {ledger.conflict}"


def broken_by_replacing(ledger, view, name):
    """Yield what forbids to delete a pod so that another takes its place."""
    yield from _forbidden(ledger, view)
    if name not in view.stuck or not view.policy.restart_stuck:
        yield f"{name} need not be replaced"
    others = [pod for pod in view.seen.pods if pod.name != name and pod.phase in ALIVE]
    if not all(_serves(pod) for pod in others):
        yield "another one is on its way"
    if not any(pod.name not in view.stuck for pod in others):
        yield "it is the last one that serves"


def broken_by_scaling(ledger, view, desired):
    """Yield what forbids to write a number."""
    current = view.seen.current
    low, high = _bounds(view)
    yield from _forbidden(ledger, view)
    if view.seen.paused_direction is (Direction.UP if desired > current else Direction.DOWN):
        yield "this direction is paused"
    if not low <= current <= high:
        if desired != (low if current < low else high):
            yield "not to the nearest bound"
        return
    if not low <= desired <= high:
        yield "out of bounds"
    period = view.policy.idle_period
    if desired == 0 and period and not (ledger.idle and view.now - ledger.idle >= period):
        yield f"the last one goes, idle since {ledger.idle}"
    if not _may_move(ledger, view, growing=desired > current):
        yield f"moves while metrics are missing since {ledger.missing}"


def _may_move(ledger, view, *, growing):
    names = [metric.name for metric in view.policy.metrics]
    missing = [name for name in names if judge_of(view, name) == "missing"]
    limit = view.policy.hold_limit
    expired = [
        name
        for name in names
        if name in ledger.missing and view.now - ledger.missing[name] >= limit
    ]
    if len(missing) == len(names):
        return set(missing) <= set(expired)
    if growing:
        return True
    return set(missing) <= set(expired) and (not missing or any(ledger.whole.values()))


def judge_of(view, name):
    """Return the quality of the metric of that name."""
    return next(judge(metric, view) for metric in view.policy.metrics if metric.name == name)


def too_fast(ledger, view, desired):
    """Yield what a change must wait for, unless it gives back what cannot run."""
    low, high = _bounds(view)
    if low <= view.seen.current <= high:
        yield from _too_fast(ledger, view, desired)


def could_give_back(view):
    """Tell whether there is a pod that does not come up."""
    return any(pod.phase in ALIVE and not pod.ready for pod in view.seen.pods)


def _too_fast(ledger, view, desired):
    current, now = view.seen.current, view.now
    growing = desired > current
    scaling = view.policy.scale_up if growing else view.policy.scale_down
    window = scaling.stabilization_window
    wanted = [number for at, number in ledger.wants if now - at < window]
    if not growing and desired < min(current, max(wanted, default=0)):
        yield f"{max(wanted)} were wanted a moment ago"
    same = [move.at for move in ledger.moves if (move.change > 0) == growing]
    if same and now - same[-1] < scaling.cooldown:
        yield f"cooling down since {same[-1]}"
    if scaling.select_policy is SelectPolicy.DISABLED:
        yield "this direction is disabled"
        return
    ends = []
    for rate in scaling.policies:
        inside = [move for move in ledger.moves if move.counted and now - move.at < rate.period]
        base = max(0, current - sum(move.change for move in inside))
        sign = 1 if growing else -1
        if rate.type is PolicyType.PODS:
            ends.append(base + sign * rate.value)
        elif growing:
            ends.append(max(1, ceil(base * (1 + rate.value / 100) - TINY)))
        else:
            ends.append(floor(max(0, base * (1 - rate.value / 100)) + TINY))
    if not ends:
        return
    widest = (scaling.select_policy is SelectPolicy.MAX) == growing
    end = max(ends) if widest else min(ends)
    if desired > max(end, current) if growing else desired < min(end, current):
        yield f"faster than the rates allow: {end}"


def cut_for_nothing(cluster, view):
    """Return busy pods that a write makes go while idle ones stay, as far as was known."""
    if view.requests is None:
        return []
    known = {
        pod.name: view.requests.get(view.seen.addresses.get(pod.name)) for pod in view.seen.pods
    }
    as_seen = {pod.name: pod.phase is PodPhase.RUNNING and pod.ready for pod in view.seen.pods}
    same = {pod.name for pod in cluster.pods if pod.alive and pod.serves and as_seen.get(pod.name)}
    if any(known[name] is None for name in same):
        return []
    going = cluster.going()
    idle = [name for name in same - going if known[name] == 0]
    return [name for name in same & going - view.stuck if known[name]] if idle else []

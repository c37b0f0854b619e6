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
    MetricType,
    MissingKind,
    OnEmpty,
    PodPhase,
    PolicyType,
    SelectPolicy,
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
        self.missing = {name: at + by for name, at in self.missing.items()}
        for move in self.moves:
            move.at += by

    def reloaded(self, now):
        """Go on in a new process or term, by its clock."""
        self.ours, self.unsure, self.lost = False, True, None
        if self.last_cycle and self.last_cycle - now > SKEW:
            self.shift(now - self.last_cycle)

    def wrote(self, now, change, number, known):
        """Note a write that was answered."""
        self.moves.append(Move(now, change))
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
        if all(write.ours for write in news):
            _find_own(ledger, news[-1], view, told=told)
        elif not news[-1].ours and not shadow:
            differs = current != expected
            taken_over = told and ledger.ours
            switch = view.policy.min_replicas > 0 and 0 in (current, expected)
            # Nobody can tell a number that we wanted from the same one that somebody else wrote.
            alike = not told and ledger.lost is not None and ledger.lost[0] == current
            if (differs or taken_over) and not switch and not alike:
                ledger.conflict = now
    if current != expected:
        ledger.lost = None
    ledger.number, ledger.known = current, view.log_length
    ledger.ours = bool(told and seen.writer and seen.writer.is_us)
    ledger.unsure, ledger.last_cycle = False, now
    _judge_metrics(ledger, view)
    rates = (*view.policy.scale_up.policies, *view.policy.scale_down.policies)
    longest = max((rate.period for rate in rates), default=timedelta(0))
    for move in ledger.moves:
        move.counted &= now - move.at < longest
    return may_be_foreign


def _find_own(ledger, last, view, *, told):
    """Note a write of ours that was not answered, where it can be seen that it happened."""
    current = view.seen.current
    if ledger.lost is not None and (told or ledger.lost[0] == current):
        at = ledger.lost[1]
    elif told and ledger.unsure:
        at = last.at.replace(microsecond=0)
    else:
        return
    if current != ledger.number:
        at = min(max(at, ledger.last_cycle or at), view.now)
        ledger.moves.append(Move(at, current - ledger.number))


def _judge_metrics(ledger, view):
    before, ledger.missing, ledger.whole = ledger.missing, {}, {}
    for metric in view.policy.metrics:
        quality = judge(metric, view)
        since = before.get(metric.name)
        if quality == "missing":
            since = since or view.now
        ledger.whole[metric.name] = quality == "whole"
        if since and quality != "whole":
            ledger.missing[metric.name] = since


def judge(metric, view):
    """Return whether an answer is whole, partial or missing."""
    answer = view.answers[metric.name]
    serving = {pod.name for pod in view.seen.pods if _serves(pod)}
    if isinstance(answer, Missing):
        samples, empty = (), answer.missing is MissingKind.EMPTY
    else:
        samples, empty = answer.samples, not answer.samples
    if empty:
        no_pods = metric.type is MetricType.POD and view.seen.current == 0
        zero = metric.on_empty is OnEmpty.ZERO and (serving or metric.type is MetricType.TOTAL)
        return "whole" if no_pods or zero else "missing"
    expected = 1
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


def broken_rules(ledger, view, desired):
    """Yield what forbids the write that a daemon is about to make."""
    policy, current, now = view.policy, view.seen.current, view.now
    low, high = policy.min_replicas, policy.max_replicas
    if view.seen.paused:
        yield "paused"
    if current == 0 and low > 0:
        yield "switched off by zero replicas"
    if ledger.conflict and now - ledger.conflict < policy.conflict_hold:
        yield f"conflict since {ledger.conflict}"
    if not low <= current <= high:
        if desired != (low if current < low else high):
            yield "not to the nearest bound"
        return
    if not low <= desired <= high:
        yield "out of bounds"
    if not _may_move(ledger, view, growing=desired > current):
        yield f"moves while metrics are missing since {ledger.missing}"
    if not _could_give_back(view):
        yield from _too_fast(ledger, view, desired)


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


def _could_give_back(view):
    """Tell whether a pod has waited so long that it may be given back, at any speed."""
    return any(
        (pod.phase is PodPhase.PENDING or pod.failing)
        and view.now - pod.created >= view.policy.pending_limit
        for pod in view.seen.pods
    )


def _too_fast(ledger, view, desired):
    current, now = view.seen.current, view.now
    growing = desired > current
    scaling = view.policy.scale_up if growing else view.policy.scale_down
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


def cut_for_nothing(cluster, view, desired):
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
    going = {pod.name for pod in cluster.surplus()}
    idle = [name for name in same - going if known[name] == 0]
    return [name for name in same & going if known[name]] if idle else []

"""Both sides, cycle by cycle."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.adapters.cycle_view import view_of_record
from autoscaler.decision.cycle import Cycle, judge
from autoscaler.decision.model import Pod
from autoscaler.decision.quality import Reading
from autoscaler.decision.recommend import needed
from autoscaler.decision.record import Record
from autoscaler.decision.words import MetricType, Reason, UseFor
from autoscaler.shadow.ours import Ours, Run
from autoscaler.shadow.survey import Entries, Survey, Window
from autoscaler.shadow.theirs import Done


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One metric as a cycle saw it: the total, or the mean over the pods."""

    name: str
    value: float
    target: float
    per_pod: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One cycle, and the time that it stands for."""

    at: datetime
    span: timedelta
    theirs: int | None
    """Replicas that there were; None: not known."""
    ours: int
    """Replicas that there would have been."""
    their_ready: int
    our_ready: int
    requests: float | None
    """In the system; None: not known."""
    need: int | None
    """Replicas that the load needs by our target values, our tolerance spent; None: not known."""
    blind: tuple[str, ...]
    """Metrics without a usable answer."""
    uses: tuple[Use, ...]
    writer: str | None
    """Who wrote the replicas last, as the API tells it."""
    gone: tuple[int, int]
    """Pods that left since the cycle before, and how many of those were at work when last seen."""
    reason: Reason
    """Of our decision."""
    sentence: str
    """What our decision said; empty where it is not worth the time to tell."""
    follows: bool
    """Whether the cycle before it stands for all the time in between."""


def moments(entries: Entries, survey: Survey, window: Window, done: Done) -> Iterator[Moment]:
    """Yield every cycle of the target, in order."""
    run, teller, leavers = Run(survey.start_up), _Teller(), _Leavers()
    for record, span, follows, saw in _spans(entries, survey, window):
        judged = judge(record.policy, record.state, record.observation)
        ours = run.cycle(record, judged, after_gap=not (follows and saw))
        seen = record.observation
        theirs = done.at(seen.now, seen.current)
        yield Moment(
            at=seen.now,
            span=span,
            theirs=theirs,
            ours=ours.number,
            their_ready=seen.ready,
            our_ready=ours.ready,
            requests=_requests(judged.readings, survey.requests_metric),
            need=_need(judged),
            blind=tuple(each.metric.name for each in judged.readings if each.missing),
            uses=tuple(_use(each) for each in judged.readings if not each.missing),
            writer=seen.writer,
            gone=leavers.look(seen.pods),
            reason=ours.record.decision.reason,
            sentence=teller.tell(theirs, ours, follows=follows),
            follows=follows,
        )


def _spans(
    entries: Entries, survey: Survey, window: Window
) -> Iterator[tuple[Record, timedelta, bool, bool]]:
    """Yield each record with the time that it stands for.

    And whether the one before stands for all the time up to it, and whether no cycle in between
    came to no decision.
    """
    held: tuple[Record, bool, bool] | None = None
    saw = True
    for at, record in _cycles(entries, survey, window):
        if record is None:
            saw = False
            continue
        follows = False
        if held is not None:
            gap = at - held[0].observation.now
            follows = gap <= survey.patience
            yield held[0], min(gap, survey.patience), held[1], held[2]
        held, saw = (record, follows, saw), True
    if held is not None:
        yield held[0], survey.interval, held[1], held[2]


def _cycles(
    entries: Entries, survey: Survey, window: Window
) -> Iterator[tuple[datetime, Record | None]]:
    """Yield the cycles of the target, in strictly rising time; one without a decision is None."""
    last: datetime | None = None
    for entry in entries():
        cycle = entry.record or entry.gap
        if cycle is None or cycle.target != survey.target:
            continue
        at = entry.record.observation.now if entry.record else entry.gap.now if entry.gap else None
        if at is None or not window.has(at) or (last is not None and at <= last):
            continue
        last = at
        yield at, entry.record


# --- what the load is ---------------------------------------------------------------------------


def _requests(readings: Sequence[Reading], name: str) -> float | None:
    found = (each for each in readings if each.metric.name == name and not each.missing)
    return next((each.load for each in found), None)


def _need(judged: Cycle) -> int | None:
    """Return the replicas that do not ask to grow: above the target value by the tolerance."""
    edge = 1 + judged.policy.scale_up.tolerance
    numbers = [
        needed(judged, each, each.load, edge)
        for each in judged.readings
        if not each.missing and each.metric.use_for is not UseFor.SCALE_DOWN
    ]
    if not numbers:
        return None
    return min(max(*numbers, judged.bounds.min_replicas), judged.bounds.max_replicas)


def _use(reading: Reading) -> Use:
    per_pod = reading.metric.type is MetricType.POD
    value = reading.load / max(1, reading.counted) if per_pod else reading.load
    return Use(name=reading.metric.name, value=value, target=reading.metric.target, per_pod=per_pod)


# --- what is told -------------------------------------------------------------------------------


@dataclass(slots=True)
class _Teller:
    """Tells a decision where a number is new, or lies further apart than before."""

    before: tuple[int | None, int] | None = None
    widest: int = 0

    def tell(self, theirs: int | None, ours: Ours, *, follows: bool) -> str:
        number = ours.number
        apart = 0 if theirs is None else number - theirs
        if apart * self.widest <= 0 or not follows:
            self.widest = 0
        is_new = (theirs, number) != self.before or not follows
        self.before = (theirs, number)
        if not is_new and abs(apart) <= abs(self.widest):
            return ""
        self.widest = max(self.widest, apart, key=abs)
        return sentence_of(ours.record)


def sentence_of(record: Record) -> str:
    """Return what a decision says, without whose it is."""
    return view_of_record(record).sentence.removeprefix(f"{record.target}: ")


@dataclass(slots=True)
class _Leavers:
    """Counts pods that leave, each once: an idle one may be gone before a cycle sees it leaving."""

    staying: dict[str, bool] = field(default_factory=dict)
    """Of the cycle before: pod to whether it was at work."""

    def look(self, pods: Sequence[Pod] | None) -> tuple[int, int]:
        if pods is None:
            return 0, 0
        now = {pod.name: bool(pod.in_flight) for pod in pods}
        before, self.staying = self.staying, {p.name: now[p.name] for p in pods if not p.deleting}
        gone = [name for name in before if name not in self.staying]
        return len(gone), sum(now.get(name, before[name]) for name in gone)

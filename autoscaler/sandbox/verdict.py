"""Whether a run showed what it is there to show."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.decision.words import Reason
from autoscaler.sandbox.cycles import Cycle
from autoscaler.sandbox.faults import Fault, Injected
from autoscaler.sandbox.load import Outcome, Result
from autoscaler.sandbox.watch import Lateness

# A crash ends its streams at once; what ends a wall-clock second later has another cause.
_CRASH_WALL_SECONDS = 1.0
# Simulated seconds that count as being on time: one and a half scrapes of the gateway.
_TOLERABLE_S = 3.0
_TOLERABLE_BUSY = 0.95
_GONE = frozenset(
    {
        Reason.METRIC_STALE,
        Reason.METRIC_EMPTY,
        Reason.METRIC_NOT_A_NUMBER,
        Reason.METRIC_FAILED,
        Reason.TOO_MANY_SERIES,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known when everything has ended."""

    speed: float
    requests: int
    outcomes: Sequence[Outcome]
    """Of the lane that is scaled."""
    cycles: Sequence[Cycle]
    exit_code: int
    jobs: Mapping[str, bool]
    """Scrape job to whether it was up at the end."""
    slots: int
    """Requests at most on one replica."""
    injected: Injected | None
    fault: Fault | None
    moves: Sequence[int] | None = None
    """By how much a rival moved the replicas each time; None: the daemon itself was to."""
    written: Sequence[str] = ()
    """What the daemon asked the API to write beside a rival: nothing, one would think."""


def failures(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for each thing that did not work."""
    yield from _still(evidence)
    if evidence.written:
        yield (
            f"the daemon wrote {len(evidence.written)} times in shadow mode, must be never:"
            f" {evidence.written[0]}"
        )
    cut = len(_cut(evidence)) - cut_by_crash(evidence)
    if cut:
        yield f"{cut} streams were cut, must be none by a scale-down"
    if evidence.fault is None and (refused := _refused(evidence)):
        yield f"{len(refused)} requests got an error, must be none: {refused[0].detail}"
    if len(evidence.outcomes) != evidence.requests:
        yield f"{len(evidence.outcomes)} of {evidence.requests} questions came to an end"
    for cycle in blind(evidence.cycles):
        if cycle.to < cycle.from_:
            yield f"replicas shrank on missing data: {cycle.view.sentence}"
    if evidence.exit_code != 0:
        yield f"the daemon ended with {evidence.exit_code}, must be 0"
    down = sorted(job for job, up in evidence.jobs.items() if not up)
    if down:
        yield f"Prometheus could not scrape {', '.join(down)}"
    yield from _fault_failures(evidence)


def _still(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for each direction in which the replicas never went."""
    moves = evidence.moves
    if moves is None:
        moves = [one.to - one.from_ for one in evidence.cycles if one.view.outcome == "scaled"]
    if not any(move > 0 for move in moves):
        yield f"replicas never went up in {len(evidence.cycles)} cycles"
    if not any(move < 0 for move in moves):
        yield f"replicas never went down in {len(evidence.cycles)} cycles"


def _fault_failures(evidence: Evidence) -> Iterator[str]:
    if evidence.fault is None:
        return
    if evidence.injected is None:
        yield f"the run ended before its fault, {evidence.fault}"
    elif evidence.fault is Fault.PROMETHEUS_OUTAGE and not blind(evidence.cycles):
        yield "Prometheus was gone and no cycle missed it"
    elif evidence.fault is Fault.REPLICA_CRASH and evidence.injected.pod is None:
        yield "there was no replica to kill"


def blind(cycles: Sequence[Cycle]) -> Sequence[Cycle]:
    """Return the cycles that lacked a metric altogether."""
    return [cycle for cycle in cycles if _GONE & set(cycle.missing)]


def cut_by_crash(evidence: Evidence) -> int:
    """Count the streams that the killed replica took with it, at most as many as it could have."""
    return min(len(_near_crash(evidence, Result.CUT)), evidence.slots)


def _near_crash(evidence: Evidence, result: Result) -> Sequence[Outcome]:
    injected = evidence.injected
    if injected is None or injected.fault is not Fault.REPLICA_CRASH:
        return ()
    near = _CRASH_WALL_SECONDS * evidence.speed
    return [
        one
        for one in evidence.outcomes
        if one.result is result and abs(one.finished_s - injected.span.from_s) <= near
    ]


def remarks(evidence: Evidence) -> Iterator[str]:
    """Yield a sentence for each thing worth saying that is no failure."""
    gone = blind(evidence.cycles)
    if gone:
        reasons = ", ".join(dict.fromkeys(reason for cycle in gone for reason in cycle.missing))
        lowest = min(cycle.to - cycle.from_ for cycle in gone)
        shrank = "in none of them did replicas shrink" if lowest >= 0 else "replicas shrank"
        yield f"{len(gone)} cycles lacked a metric ({reasons}); {shrank}"
    if evidence.fault is not None and evidence.fault is not Fault.REPLICA_CRASH:
        yield f"{len(_refused(evidence))} requests got an error"
    if evidence.injected is not None and evidence.injected.pod is not None:
        yield (
            f"replica {evidence.injected.pod} was killed: {cut_by_crash(evidence)} streams were cut"
            f" and {len(_near_crash(evidence, Result.REFUSED))} requests got an error by that"
        )


def warnings(lateness: Lateness) -> Iterator[str]:
    """Yield a sentence for each way in which the machine could not keep up."""
    slower = "the figures are those of a slower machine; try a lower --speed"
    if lateness.load_s > _TOLERABLE_S:
        yield f"the load was sent up to {lateness.load_s:.1f} s late (simulated): {slower}"
    if lateness.cycles_s > _TOLERABLE_S:
        yield f"the daemon's cycles were up to {lateness.cycles_s:.1f} s late (simulated): {slower}"
    if lateness.busy > _TOLERABLE_BUSY:
        yield f"the machine was {lateness.busy:.0%} busy: {slower}"


def _refused(evidence: Evidence) -> Sequence[Outcome]:
    return [one for one in evidence.outcomes if one.result is Result.REFUSED]


def _cut(evidence: Evidence) -> Sequence[Outcome]:
    return [one for one in evidence.outcomes if one.result is Result.CUT]

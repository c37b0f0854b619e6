"""The whole comparison as one value, and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from autoscaler.decision.record import to_json
from autoscaler.duration import format_duration
from autoscaler.shadow.figures import Figures, Side
from autoscaler.shadow.moments import Use
from autoscaler.shadow.stretches import Stretch, Write
from autoscaler.shadow.survey import Survey

VERSION = 1
_MOST_WRITES = 4
Curve = Sequence[tuple[datetime, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """What is drawn: steps, a point where the value is new."""

    theirs: Curve
    ours: Curve
    requests: Curve
    use: Curve
    """The first metric per pod, mean over the other's pods, by its target value."""
    use_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What two autoscalers made of the same load."""

    survey: Survey
    source: str
    """Of the other's replicas: prometheus or records."""
    begin: datetime
    end: datetime
    figures: Figures
    stretches: Sequence[Stretch]
    """In the order of time."""
    writers: tuple[str, ...]
    """Who has written the other's numbers, as far as that is known."""
    curves: Curves


def limits(report: Report) -> Iterator[str]:
    """Yield what such a comparison does not know, a sentence each."""
    survey = report.survey
    yield (
        "Requests and use were produced under the other's replicas. Where ours would have been"
        " more, people would have waited less and the queue behind our number would have gone"
        " sooner; where ours would have been fewer, it might have grown and asked for more."
    )
    yield (
        "What all pods used together is taken as the load, whoever serves it, and shared equally by"
        " ours. A replica at its limit cannot use more, so a load that was cut off there is more"
        " than was seen."
    )
    if survey.start_up is None:
        yield "No replica was seen to start: new ones of ours count as ready at once."
    else:
        yield (
            f"New replicas of ours count as ready after {shown(survey.start_up)}, the median of"
            " those that were seen to start. Whether a node had room for them is not known."
        )
    yield (
        "Which pod goes, stuck replicas, and pods that do not come up are not followed for ours."
        " Ours counts from its decision, the other's number from the first cycle that saw it: up to"
        f" {shown(survey.interval)} later."
    )
    if survey.slots > 1 or survey.requests_metric:
        yield (
            f"A replica is taken to answer {survey.slots} request(s) at a time; what is beyond that"
            f" in {survey.requests_metric or 'no metric'} counts as waiting."
        )
    if survey.acted:
        yield (
            f"In {survey.acted} of {survey.cycles} cycles the daemon was no shadow: what was done"
            " then was done by it."
        )
    if survey.skipped:
        yield f"{survey.skipped} lines were left out: their time is not later than the one before."
    if report.figures.unknown:
        yield (
            f"For {shown(report.figures.unknown)} the other's replicas are not known; that time is"
            " not compared."
        )


def shown(span: timedelta) -> str:
    """Write a span, in whole seconds from ten seconds on."""
    seconds = span.total_seconds()
    if abs(seconds) < 10:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    return format_duration(timedelta(seconds=round(seconds)))


def number(value: float) -> str:
    """Write a number with three digits that count."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def span_of(numbers: Sequence[int]) -> str:
    """Write the numbers of a stretch: one, or from the least to the greatest."""
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low}..{high}"


def theirs_because(stretch: Stretch) -> str:
    """Say what is known of the other side's number: who wrote it, and what was seen then."""
    write, began = stretch.write, stretch.write.at == stretch.begin
    who = write.writer or "somebody"
    if write.at is None:
        told = f"{write.to} since before the first cycle" + (f", by {who}" if write.writer else "")
    else:
        told = f"{who} wrote {write.to} at {clock(write.at)}"
    seen = write.uses if began else stretch.widest.uses
    told += f"{', when' if began else '; at the widest,'} {_uses(seen)}"
    if stretch.most_waiting:
        told += f"; up to {number(stretch.most_waiting)} waited, {shown(stretch.waited)} in all"
    if stretch.gone_busy:
        told += f"; {stretch.gone_busy} of {stretch.gone} pods that went were at work"
    return "; ".join([told, *_later(stretch)])


def _later(stretch: Stretch) -> Iterator[str]:
    writes = [(each, each.at) for each in stretch.later if each.at is not None]
    for write, at in writes[:_MOST_WRITES]:
        yield f"{write.writer or 'somebody'} wrote {write.to} at {clock(at)}"
    if len(writes) > _MOST_WRITES:
        yield f"and {len(writes) - _MOST_WRITES} times more"


def clock(at: datetime) -> str:
    """Write a time; the report's head has the year."""
    return f"{at:%m-%d %H:%M:%S}"


def _uses(uses: Sequence[Use]) -> str:
    told = [
        f"{use.name} was {number(use.value)} (target {number(use.target)}"
        f"{'' if use.per_pod else ' per replica'})"
        for use in uses
    ]
    return " and ".join(told) or "no metric had an answer"


# --- JSON ---------------------------------------------------------------------------------------


def plain(report: Report) -> dict[str, Any]:
    """Return the report as JSON-able values; what is not known is null."""
    figures, survey = report.figures, report.survey
    return {
        "version": VERSION,
        "target": survey.target,
        "from": to_json(report.begin),
        "to": to_json(report.end),
        "source": report.source,
        "writers": list(report.writers),
        "cycles": survey.cycles,
        "blind_cycles": figures.blind_cycles,
        "compared_seconds": _seconds(figures.compared),
        "agreed_seconds": _seconds(figures.agreed),
        "unknown_seconds": _seconds(figures.unknown),
        "start_up_seconds": None if survey.start_up is None else _seconds(survey.start_up),
        "slots": survey.slots,
        "theirs": _plain_side(figures.theirs)
        | {"pods_gone": figures.gone, "pods_gone_busy": figures.gone_busy},
        "ours": _plain_side(figures.ours),
        "disagreements": [_plain_stretch(each) for each in report.stretches],
        "limits": list(limits(report)),
    }


def _plain_side(side: Side) -> dict[str, Any]:
    return {
        "replica_hours": round(side.replica_hours, 4),
        "changes": side.changes,
        "reversals": side.reversals,
        "lowest": side.lowest,
        "highest": side.highest,
        "queued_seconds": None if side.queued is None else _seconds(side.queued),
        "waiting_hours": None if side.waiting_hours is None else round(side.waiting_hours, 4),
        "short_seconds": _seconds(side.short),
    }


def _plain_stretch(stretch: Stretch) -> dict[str, Any]:
    widest = stretch.widest
    return {
        "kind": str(stretch.kind),
        "from": to_json(stretch.begin),
        "to": to_json(stretch.end),
        "seconds": _seconds(stretch.end - stretch.begin),
        "theirs": list(stretch.theirs),
        "ours": list(stretch.ours),
        "replica_hours": round(stretch.replica_hours, 4),
        "ours_because": stretch.ours_because,
        "widest": {
            "at": to_json(widest.at),
            "theirs": widest.theirs,
            "ours": widest.ours,
            "reason": str(widest.reason),
            "ours_because": stretch.widest_because or stretch.ours_because,
            "requests": widest.requests,
            "metrics": {use.name: round(use.value, 4) for use in widest.uses},
        },
        "theirs_because": theirs_because(stretch),
        "theirs_wrote": _plain_write(stretch.write),
        "theirs_wrote_later": [_plain_write(each) for each in stretch.later],
        "queued_seconds": _seconds(stretch.waited),
        "most_waiting": stretch.most_waiting,
        "pods_gone": stretch.gone,
        "pods_gone_busy": stretch.gone_busy,
    }


def _plain_write(write: Write) -> dict[str, Any]:
    return {
        "at": to_json(write.at),
        "to": write.to,
        "writer": write.writer,
        "metrics": {use.name: round(use.value, 4) for use in write.uses},
    }


def _seconds(span: timedelta) -> float:
    return round(span.total_seconds(), 3)

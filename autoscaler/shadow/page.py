"""The report as one page: the two curves over the load, and every disagreement that counts."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape

from autoscaler.charts import html
from autoscaler.charts.draw import Chart, Line, Shade, nice_top
from autoscaler.charts.marks import Mark
from autoscaler.charts.steps import Point
from autoscaler.shadow.report import (
    Curve,
    Report,
    clock,
    limits,
    number,
    shown,
    span_of,
    theirs_because,
)
from autoscaler.shadow.stretches import Stretch, largest
from autoscaler.shadow.text import head, rows

SHOWN = 60
_MARKED = 24
_DAY_AND_A_HALF = timedelta(hours=36)


def to_html(report: Report) -> str:
    """Return the page."""
    told = largest(report.stretches, SHOWN)
    title = f"{report.survey.target}: what was done, and what we would have done"
    return html.document(
        title,
        (
            html.header(title, head(report), _tiles(report)),
            *_charts(report, told),
            html.section("In figures", _figures(report)),
            html.section("Where they differ", _stretches(report, told)),
            html.section("What this cannot know", html.items(list(limits(report)))),
        ),
    )


def _tiles(report: Report) -> Iterator[tuple[str, str]]:
    theirs, ours, figures = report.figures.theirs, report.figures.ours, report.figures
    if figures.compared:
        yield f"{figures.agreed / figures.compared:.0%}", "of the time both agree"
    yield f"{theirs.replica_hours:.2f} → {ours.replica_hours:.2f}", "replica-hours, theirs → ours"
    yield f"{theirs.changes} → {ours.changes}", "changes, theirs → ours"
    if theirs.queued is not None and ours.queued is not None:
        yield f"{shown(theirs.queued)} → {shown(ours.queued)}", "time with a queue"
    yield f"{shown(theirs.short)} → {shown(ours.short)}", "time below what the load needs"


def _figures(report: Report) -> str:
    figures = ((label, (ours, theirs)) for label, theirs, ours in rows(report))
    table = html.lanes(["ours", "theirs"], figures)
    return table + (
        "<p>Queue: requests beyond what the ready replicas answer at a time. What the load needs:"
        " the least number that would not ask to grow, by our target values. Replica-hours: of the"
        " replicas asked for.</p>"
    )


def _charts(report: Report, told: Sequence[Stretch]) -> Iterator[str]:
    curves, until_s = report.curves, (report.end - report.begin).total_seconds()
    shades = [
        Shade(
            css="more" if each.replica_hours > 0 else "less",
            from_s=(each.begin - report.begin).total_seconds(),
            to_s=(each.end - report.begin).total_seconds(),
            name=str(each.kind),
        )
        for each in told
    ]

    def tick(second: float) -> str:
        return _tick(report.begin + timedelta(seconds=second), report)

    def chart(label: str, height: float, lines: Sequence[Line], least: float) -> Chart:
        values = [value for line in lines for _, value in line.points]
        return Chart(
            label=label,
            until_s=until_s,
            top=nice_top(values, least),
            height=height,
            lines=lines,
            shades=shades,
            marks=_marks(report, told) if label == "Replicas" else (),
            tick=tick,
        )

    theirs, ours = _points(curves.theirs, report.begin), _points(curves.ours, report.begin)
    both = [Line(css="theirs", points=theirs, over=()), Line(css="ours", points=ours)]
    legend = (("theirs", "what was done"), ("ours", "what we would have done"))
    yield html.figure("Replicas", chart("Replicas", 190, both, _most(report) + 0.5), legend)
    if curves.requests:
        points = _points(curves.requests, report.begin)
        lines = [Line(css="running", points=points, over=())]
        name = report.survey.requests_metric
        drawn = chart("Requests", 120, lines, 4)
        yield html.figure("Requests in the system", drawn, (("running", name),))
    if curves.use:
        lines = [Line(css="cpu", points=_points(curves.use, report.begin))]
        drawn = chart("Use", 80, lines, 1)
        name = f"{curves.use_name}, mean of the other's pods; 1 is our target value"
        yield html.figure("Use of a replica over its target value", drawn, (("cpu", name),))


def _most(report: Report) -> int:
    return max(report.figures.theirs.highest, report.figures.ours.highest)


def _points(curve: Curve, begin: datetime) -> list[Point]:
    return [((at - begin).total_seconds(), value) for at, value in curve]


def _tick(at: datetime, report: Report) -> str:
    span = report.end - report.begin
    if span > _DAY_AND_A_HALF:
        return f"{at:%d %b}"
    return f"{at:%H:%M}" if span > timedelta(minutes=20) else f"{at:%H:%M:%S}"


def _marks(report: Report, told: Sequence[Stretch]) -> list[Mark]:
    marked = {each.begin for each in largest(told, _MARKED)}
    return [
        Mark(
            css="up-step" if each.replica_hours > 0 else "down-step",
            at_s=(each.begin - report.begin).total_seconds(),
            value=each.ours[0],
            number=index,
            name=str(each.kind),
            hint=f"{clock(each.begin)}  theirs {each.theirs[0]}, ours {each.ours_because}",
        )
        for index, each in enumerate(told, start=1)
        if each.begin in marked
    ]


def _stretches(report: Report, told: Sequence[Stretch]) -> str:
    if not told:
        return "<p>Nowhere.</p>"
    entries = "".join(_entry(each) for each in told)
    left_out = len(report.stretches) - len(told)
    more = f"<p>{left_out} smaller ones are left out; --json has them all.</p>" if left_out else ""
    return f'<ol class="changes stretches">{entries}</ol>{more}'


def _entry(stretch: Stretch) -> str:
    css = "up-step" if stretch.replica_hours > 0 else "down-step"
    then = ""
    if stretch.widest_because:
        at = clock(stretch.widest.at)
        then = f"<br><i>ours, {at}:</i> {escape(stretch.widest_because)}"
    return (
        f'<li><span class="when">{clock(stretch.begin)}</span>'
        f'<span class="{css}">{span_of(stretch.theirs)} | {span_of(stretch.ours)}</span>'
        f"<span><b>{escape(str(stretch.kind))}</b>, for"
        f" {shown(stretch.end - stretch.begin)}, {number(stretch.replica_hours)} replica-hours"
        f"<br><i>ours:</i> {escape(stretch.ours_because)}{then}"
        f"<br><i>theirs:</i> {escape(theirs_because(stretch))}</span></li>"
    )

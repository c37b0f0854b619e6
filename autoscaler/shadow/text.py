"""The report for a terminal: tables where there is one, the same as plain lines elsewhere."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autoscaler.adapters.lines import printable
from autoscaler.shadow.figures import REVERSAL_WITHIN, Side
from autoscaler.shadow.report import Report, clock, limits, shown, span_of, theirs_because
from autoscaler.shadow.stretches import Stretch, largest

SHOWN = 12
"""Disagreements that are told one by one."""


def rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield each figure: what it is, theirs, ours."""
    theirs, ours, figures = report.figures.theirs, report.figures.ours, report.figures
    yield "replica-hours", f"{theirs.replica_hours:.2f}", f"{ours.replica_hours:.2f}"
    yield "replicas, least to most", _range(theirs), _range(ours)
    yield "changes", f"{theirs.changes}", f"{ours.changes}"
    within = shown(REVERSAL_WITHIN)
    yield f"reversals within {within}", f"{theirs.reversals}", f"{ours.reversals}"
    yield "time with a queue", _span(theirs.queued), _span(ours.queued)
    yield "request-hours waiting", _hours(theirs), _hours(ours)
    yield "time below what the load needs", _span(theirs.short), _span(ours.short)
    if figures.gone:
        yield "pods that went, at work", f"{figures.gone}, {figures.gone_busy}", "-"


def head(report: Report) -> str:
    """Say what is compared."""
    figures, begin = report.figures, report.begin
    source = "kube-state-metrics" if report.source == "prometheus" else "the records"
    share = figures.agreed / figures.compared if figures.compared else 0.0
    by = f", written by {', '.join(report.writers)}" if report.writers else ""
    return (
        f"{report.survey.target}: {begin:%Y-%m-%d %H:%M:%S} to {report.end:%Y-%m-%d %H:%M:%S}"
        f" {begin:%Z}, {report.survey.cycles} cycles, {figures.blind_cycles} of them blind;"
        f" replicas by {source}{by}; both agree for {share:.0%} of {shown(figures.compared)}"
    )


def render(report: Report, *, width: int | None) -> str:
    """Return the report as a terminal of that width shows it; None: as plain lines."""
    if width is None:
        return "\n".join(map(printable, _lines(report)))
    console = Console(width=width)
    with console.capture() as drawn:
        console.print(Group(*_tables(report)), highlight=False)
    return "\n".join(line.rstrip() for line in drawn.get().rstrip("\n").split("\n"))


def _lines(report: Report) -> Iterator[str]:
    yield head(report)
    yield ""
    yield f"{'':32}{'theirs':>14}{'ours':>14}"
    for label, theirs, ours in rows(report):
        yield f"{label:32}{theirs:>14}{ours:>14}"
    yield ""
    yield _count(report)
    for stretch in _told(report):
        title, *why = _stretch(stretch)
        yield title
        yield from (f"  {line}" for line in why)
    yield ""
    yield "What this cannot know"
    yield from (f"- {text}" for text in limits(report))


def _tables(report: Report) -> Iterator[RenderableType]:
    yield _text(head(report))
    table = Table("", show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("theirs", justify="right")
    table.add_column("ours", justify="right")
    for row in rows(report):
        table.add_row(*map(_text, row))
    yield Padding(table, (1, 0))
    yield Text(_count(report), style="bold")
    for stretch in _told(report):
        title, *why = _stretch(stretch)
        yield _text(title, style="yellow" if stretch.replica_hours > 0 else "cyan")
        for line in why:
            yield Padding(_text(line), (0, 0, 0, 2))
    yield Padding(Text("What this cannot know", style="bold"), (1, 0, 0, 0))
    said = Table.grid(padding=(0, 1))
    for text in limits(report):
        said.add_row("-", _text(text, style="dim"))
    yield said


def _text(text: str, style: str = "") -> Text:
    """Return a text that is no markup and steers no terminal: records may be anybody's."""
    return Text(printable(text), style=style)


def _told(report: Report) -> Sequence[Stretch]:
    return largest(report.stretches, SHOWN)


def _count(report: Report) -> str:
    count = len(report.stretches)
    if not count:
        return "They never disagree."
    more = f", the {SHOWN} largest of them" if count > SHOWN else ""
    return f"Disagreements: {count}{more}; replica-hours are ours less theirs"


def _stretch(stretch: Stretch) -> Iterator[str]:
    yield (
        f"{clock(stretch.begin)} for {shown(stretch.end - stretch.begin)}:"
        f" theirs {span_of(stretch.theirs)}, ours {span_of(stretch.ours)};"
        f" {stretch.kind} ({stretch.replica_hours:+.3f} replica-hours)"
    )
    yield f"ours    {stretch.ours_because}"
    if stretch.widest_because:
        yield f"        {clock(stretch.widest.at)} {stretch.widest_because}"
    yield f"theirs  {theirs_because(stretch)}"


def _range(side: Side) -> str:
    return f"{side.lowest} to {side.highest}"


def _span(span: timedelta | None) -> str:
    return "not known" if span is None else shown(span)


def _hours(side: Side) -> str:
    return "not known" if side.waiting_hours is None else f"{side.waiting_hours:.2f}"

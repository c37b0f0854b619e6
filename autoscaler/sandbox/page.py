"""The report as one page."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from autoscaler.charts import html
from autoscaler.charts.draw import Chart, Line, Shade, clock, nice_top
from autoscaler.charts.marks import Mark
from autoscaler.charts.steps import added
from autoscaler.sandbox.summary import LaneSummary, Run


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


ROWS: Sequence[tuple[str, Callable[[LaneSummary], str]]] = (
    ("requests", lambda lane: f"{lane.requests}"),
    ("served", lambda lane: f"{lane.served}"),
    ("gave up waiting", lambda lane: f"{lane.gave_up}"),
    ("refused", lambda lane: f"{lane.refused}"),
    ("cut streams", lambda lane: f"{lane.cut}"),
    ("wait for a slot, p50", lambda lane: _seconds(lane.wait_p50_s)),
    ("wait for a slot, p99", lambda lane: _seconds(lane.wait_p99_s)),
    ("first byte, p50", lambda lane: _seconds(lane.first_p50_s)),
    ("first byte, p99", lambda lane: _seconds(lane.first_p99_s)),
    ("replica-hours", lambda lane: f"{lane.replica_hours:.2f}"),
)


def to_html(run: Run) -> str:
    """Return the page."""
    return html.document(
        run.title,
        (
            _header(run),
            *_charts(run),
            html.section("The same load on every lane", _lanes(run)),
            html.section("Decisions that changed the replicas", _changes(run)),
            html.section("What the speed changes", _scaled(run)),
            html.section("Settings", _settings(run)),
            html.section("Notes", html.items(run.notes)),
        ),
    )


def _header(run: Run) -> str:
    started = run.started.isoformat(sep=" ", timespec="seconds")
    about = f"{started} · {clock(run.duration_s)} simulated, at {run.speed:g} times real time"
    return html.header(run.title, about, _tiles(run))


def _tiles(run: Run) -> Iterator[tuple[str, str]]:
    replicas = [round(value) for _, value in run.series.get("desired", ())]
    if replicas:
        yield f"{replicas[0]} → {max(replicas)} → {replicas[-1]}", "replicas: start, most, end"
    if not run.lanes:
        return
    ours, *others = run.lanes
    yield f"{ours.served} of {ours.requests}", "questions answered whole"
    yield f"{ours.cut}", "streams cut"
    yield _seconds(ours.wait_p99_s), "wait for a slot, p99"
    most = max(others, key=lambda lane: lane.replica_hours, default=None)
    against = ""
    if most is not None and most.replica_hours > 0:
        share = ours.replica_hours / most.replica_hours
        against = f" ({share:.0%} of {most.name})"
    yield f"{ours.replica_hours:.2f}", f"replica-hours{against}"


def _charts(run: Run) -> Iterator[str]:
    shades = [
        Shade(css=f"phase{index % 2}", from_s=span.from_s, to_s=span.to_s, name=span.name)
        for index, span in enumerate(run.phases)
    ]
    shades += [
        Shade(
            css="fault",
            from_s=span.from_s,
            to_s=span.to_s,
            name=span.name,
            row=1 if run.phases else 0,
            must_name=True,
        )
        for span in run.faults
    ]
    yield _figure("Replicas", _replicas(run, shades), ("desired", "ready", "up"))
    yield _figure("Requests in the system", _requests(run, shades), ("running", "waiting"))
    if run.series.get("cpu_to_limit"):
        cpu = _cpu(run, shades)
        yield _figure("Processor use over its limit, mean of the replicas", cpu, ("cpu",))


_LEGEND = {
    "desired": "desired",
    "ready": "ready",
    "up": "existing: starting and draining included",
    "running": "running on a replica",
    "waiting": "waiting in the gateway",
    "cpu": "use / limit",
}


def _figure(title: str, chart: Chart, names: Sequence[str]) -> str:
    return html.figure(title, chart, ((name, _LEGEND[name]) for name in names))


def _replicas(run: Run, shades: Sequence[Shade]) -> Chart:
    low, high = run.bounds
    names = ("up", "ready", "desired")
    present = {name: run.series[name] for name in names if run.series.get(name)}
    filled = ("up", "ready")
    values = [value for points in present.values() for _, value in points]
    marks = [
        Mark(
            css="up-step" if change.to > change.from_ else "down-step",
            at_s=change.at_s,
            value=change.to,
            number=number,
            name=change.reason,
            hint=f"{clock(change.at_s)}  {change.from_} to {change.to}: {change.sentence}",
        )
        for number, change in enumerate(run.changes, start=1)
    ]
    return Chart(
        label="Replicas desired and ready over time",
        until_s=run.duration_s,
        top=nice_top(values, high + 0.5),
        height=170,
        lines=[
            Line(css=name, points=points, over=() if name in filled else None)
            for name, points in present.items()
        ],
        shades=shades,
        named=True,
        marks=marks,
        guides=((low, "min"), (high, "max")),
    )


def _requests(run: Run, shades: Sequence[Shade]) -> Chart:
    running, waiting = run.series.get("running", ()), run.series.get("waiting", ())
    both = added(running, waiting)
    return Chart(
        label="Requests running and waiting over time",
        until_s=run.duration_s,
        top=nice_top([value for _, value in both], 4),
        height=130,
        lines=[
            Line(css="waiting", points=both, over=running),
            Line(css="running", points=running, over=()),
        ],
        shades=shades,
    )


def _cpu(run: Run, shades: Sequence[Shade]) -> Chart:
    points = run.series["cpu_to_limit"]
    return Chart(
        label="Processor use over its limit, over time",
        until_s=run.duration_s,
        top=nice_top([value for _, value in points], 1),
        height=80,
        lines=[Line(css="cpu", points=points)],
        shades=shades,
        percent=True,
    )


def _lanes(run: Run) -> str:
    rows = ((label, [show(lane) for lane in run.lanes]) for label, show in ROWS)
    return html.lanes([lane.name for lane in run.lanes], rows) + (
        "<p>Wait for a slot: from the question to the start of its prompt evaluation; who gave up"
        " counts with the time waited. Replica-hours: from a pod's creation to its end, starting"
        " and draining included.</p>"
    )


def _changes(run: Run) -> str:
    if not run.changes:
        return "<p>None.</p>"
    items = "".join(
        f'<li><span class="when">{clock(change.at_s)}</span>'
        f'<span class="{"up-step" if change.to > change.from_ else "down-step"}">'
        f"{change.from_} → {change.to}</span>"
        f"<span><b>{escape(change.reason)}</b> {escape(change.sentence)}</span></li>"
        for change in run.changes
    )
    return f'<ol class="changes">{items}</ol>'


def _scaled(run: Run) -> str:
    if run.speed == 1 or not run.scaled:
        return ""
    return (
        f"<p>These were divided by {run.speed:g}; every time on this page is multiplied back.</p>"
        + html.items(run.scaled)
    )


def _settings(run: Run) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in run.settings.items()
    )
    return f'<div class="scroll"><table class="settings">{rows}</table></div>' if rows else ""

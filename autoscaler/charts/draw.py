"""Charts over time as inline SVG: steps, stacked areas, shaded spans, numbered marks.

Colours come from CSS classes, so the page's light and dark schemes both apply. A chart is drawn for
a given width in CSS pixels: text keeps its size, so the page carries one drawing for each width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil

from autoscaler.charts.marks import (
    LETTER,
    MARGIN_LEFT,
    MARGIN_RIGHT,
    MARK_ROW,
    Frame,
    Mark,
    draw_dot,
    draw_leader,
    draw_pill,
    placed,
)
from autoscaler.charts.steps import Point

MARGIN_BOTTOM, SPAN_ROW = 22.0, 16.0
_TIME_STEPS_S = (
    10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400,
    172800, 604800,
)  # fmt: skip
_VALUE_STEPS = (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One series as steps."""

    css: str
    points: Sequence[Point]
    over: Sequence[Point] | None = None
    """Filled down to this other series; empty: to zero; None: a line only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A stretch of time that is set off."""

    css: str
    from_s: float
    to_s: float
    name: str
    row: int = 0
    """Line of text above the plot that its name goes to."""
    must_name: bool = False
    """Write the name even where it is wider than the stretch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What is to be drawn; the series are drawn in their order."""

    label: str
    """Read out by a screen reader."""
    until_s: float
    top: float
    height: float
    lines: Sequence[Line]
    shades: Sequence[Shade] = ()
    named: bool = False
    """Write the names of the shades above the plot."""
    marks: Sequence[Mark] = ()
    guides: Sequence[tuple[float, str]] = ()
    """Horizontal lines with a word each."""
    percent: bool = False
    tick: Callable[[float], str] | None = None
    """How a time is written on the axis; None: minutes and seconds from the start."""


def clock(second: float) -> str:
    """Write seconds as m:ss or h:mm:ss."""
    minutes, seconds = divmod(round(second), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def nice_top(values: Sequence[float], least: float) -> float:
    """Return a round end of an axis at or above all values."""
    highest = max([least, *values])
    step = _step(_VALUE_STEPS, highest, 4)
    return step * ceil(highest / step - 1e-9)


def draw(chart: Chart, width: float) -> str:
    """Return the SVG element."""
    pills = placed(chart.marks, width, chart.until_s)
    rows = 1 + max(pill.row for pill in pills) if pills else 0
    names = 1 + max(shade.row for shade in chart.shades) if chart.named and chart.shades else 0
    upper = 6.0 + SPAN_ROW * names + MARK_ROW * rows
    lower = upper + chart.height
    frame = Frame(width=width, until_s=chart.until_s, top=chart.top, upper=upper, lower=lower)
    height = lower + MARGIN_BOTTOM
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    parts = [
        f'<svg {size} role="img" aria-label="{escape(chart.label)}">',
        *(_shade(shade, frame, named=chart.named) for shade in chart.shades),
        *_grid(chart, frame),
        *(_line(line, frame) for line in chart.lines),
        *(_guide(value, word, frame) for value, word in chart.guides),
        *(draw_leader(pill, frame) for pill in pills),
        *(draw_dot(mark, frame) for mark in chart.marks),
        *(draw_pill(pill, frame) for pill in pills),
        "</svg>",
    ]
    return "".join(parts)


def _step(steps: Sequence[float], span: float, wanted: float) -> float:
    return next((step for step in steps if span / step <= wanted), steps[-1])


def _grid(chart: Chart, frame: Frame) -> Iterator[str]:
    values = _step(_VALUE_STEPS, chart.top, 4)
    for index in range(int(chart.top / values + 1e-9) + 1):
        value = index * values
        y = frame.y(value)
        text = f"{value:.0%}" if chart.percent else f"{value:g}"
        right = frame.width - MARGIN_RIGHT
        yield f'<path class="grid" d="M{MARGIN_LEFT:g} {y:.1f}H{right:g}"/>'
        yield f'<text class="tick" x="{MARGIN_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">'
        yield f"{text}</text>"
    seconds = _step(_TIME_STEPS_S, chart.until_s, frame.width / 60)
    for index in range(int(chart.until_s / seconds + 1e-9) + 1):
        second = index * seconds
        x = frame.x(second)
        anchor = "end" if x > frame.width - MARGIN_RIGHT - 14 else "middle"
        yield f'<path class="grid" d="M{x:.1f} {frame.lower:g}v4"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{frame.lower + 17:g}" text-anchor="{anchor}">'
        yield f"{(chart.tick or clock)(second)}</text>"


def _steps(points: Sequence[Point], frame: Frame) -> list[tuple[float, float]]:
    """Return the corners, from the first point to the right edge."""
    corners: list[tuple[float, float]] = []
    for (at, value), (end, _) in pairwise([*points, (frame.until_s, 0.0)]):
        y = frame.y(value)
        if corners and corners[-1][1] == y:
            corners.pop()
        else:
            corners.append((frame.x(at), y))
        corners.append((frame.x(end), y))
    return corners


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)


def _line(line: Line, frame: Frame) -> str:
    corners = _steps(line.points, frame)
    if not corners:
        return ""
    if line.over is None:
        return f'<path class="line {line.css}" d="M{_path(corners)}"/>'
    floor = _steps(line.over, frame) or [(x, frame.y(0)) for x, _ in (corners[0], corners[-1])]
    area = _path([*corners, *reversed(floor)])
    return f'<path class="area {line.css}" d="M{area}Z"/>'


def _guide(value: float, word: str, frame: Frame) -> str:
    y, right = frame.y(value), frame.width - MARGIN_RIGHT
    return (
        f'<path class="guide" d="M{MARGIN_LEFT:g} {y:.1f}H{right:g}"/>'
        f'<text class="word" x="{right - 4:g}" y="{y - 4:.1f}" text-anchor="end">'
        f"{escape(word)}</text>"
    )


def _shade(shade: Shade, frame: Frame, *, named: bool) -> str:
    left, right = frame.x(shade.from_s), frame.x(shade.to_s)
    wide = max(1.0, right - left)
    top = 2.0 if named else frame.upper
    box = (
        f'<rect class="shade {shade.css}" x="{left:.1f}" y="{top:g}" width="{wide:.1f}"'
        f' height="{frame.lower - top:.1f}"><title>{escape(shade.name)}</title></rect>'
    )
    needed = len(shade.name) * LETTER + 6
    if not named or (wide < needed and not shade.must_name):
        return box
    x = min(left + 5, frame.width - MARGIN_RIGHT - needed)
    y = 14 + SPAN_ROW * shade.row
    return f'{box}<text class="word {shade.css}" x="{x:.1f}" y="{y:g}">{escape(shade.name)}</text>'

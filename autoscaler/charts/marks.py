"""Where things lie in a chart, and the numbered labels of single points in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

MARGIN_LEFT, MARGIN_RIGHT = 40.0, 10.0
LETTER = 6.4
"""Width of a letter at the size of labels, roughly."""
MARK_ROW, MARK_ROWS = 20.0, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where seconds and values lie in the drawing."""

    width: float
    until_s: float
    top: float
    upper: float
    lower: float

    def x(self, second: float) -> float:
        """Return the pixel of a second; what lies outside goes to the edge."""
        inner = self.width - MARGIN_LEFT - MARGIN_RIGHT
        return MARGIN_LEFT + inner * min(max(second / self.until_s, 0.0), 1.0)

    def y(self, value: float) -> float:
        """Return the pixel of a value; the axis ends at `top`."""
        return self.lower - (self.lower - self.upper) * min(value / self.top, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A numbered point; `hint` shows on hovering."""

    css: str
    at_s: float
    value: float
    number: int
    name: str
    hint: str


@dataclass(slots=True)
class Pill:
    """A mark's label above the plot."""

    mark: Mark
    x: float
    row: int
    text: str
    left: float = 0.0
    wide: float = 0.0

    def write(self, text: str, width: float) -> None:
        """Set the text, and with it the place, inside a drawing of that width."""
        self.text, self.wide = text, _text_width(text)
        self.left = min(self.x - 9, width - MARGIN_RIGHT - self.wide)


def placed(marks: Sequence[Mark], width: float, until_s: float) -> list[Pill]:
    """Give each mark a row: its number at least, and its name where the row has room for it.

    A mark without room for its number gets no label.
    """
    frame = Frame(width=width, until_s=until_s, top=1, upper=0, lower=1)
    rows: list[list[Pill]] = [[] for _ in range(MARK_ROWS)]
    for mark in marks:
        pill = Pill(mark, frame.x(mark.at_s), 0, "")
        pill.write(f"{mark.number}", width)
        room = [pill.left - _named_end(row) for row in rows]
        pill.row = next((row for row, left in enumerate(room) if left >= 0), room.index(max(room)))
        before = rows[pill.row]
        if not before or before[-1].left + before[-1].wide + 4 <= pill.left:
            before.append(pill)
    for row in rows:
        _name(row, width)
    return [pill for row in rows for pill in row]


def _name(row: Sequence[Pill], width: float) -> None:
    """Write the names that fit between their neighbours."""
    free = 0.0
    for index, pill in enumerate(row):
        end = row[index + 1].left - 4 if index + 1 < len(row) else width
        number = pill.text
        pill.write(f"{number} {pill.mark.name}", width)
        if pill.left < free or pill.left + pill.wide > end:
            pill.write(number, width)
        free = pill.left + pill.wide + 4


def _named_end(row: Sequence[Pill]) -> float:
    """Return where the row would be free again if its last pill had its name."""
    if not row:
        return 0.0
    mark = row[-1].mark
    return row[-1].left + _text_width(f"{mark.number} {mark.name}") + 4


def _text_width(text: str) -> float:
    return len(text) * LETTER + 12


def draw_dot(mark: Mark, frame: Frame) -> str:
    """Return the point itself."""
    x, y = frame.x(mark.at_s), frame.y(mark.value)
    return (
        f'<circle class="dot {mark.css}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
        f"<title>{escape(mark.hint)}</title></circle>"
    )


def _top(pill: Pill, frame: Frame) -> float:
    return frame.upper - 2 - MARK_ROW * (pill.row + 1)


def draw_leader(pill: Pill, frame: Frame) -> str:
    """Return the line from the label to its point."""
    y = frame.y(pill.mark.value)
    return f'<path class="leader" d="M{pill.x:.1f} {_top(pill, frame) + 16:.1f}V{y:.1f}"/>'


def draw_pill(pill: Pill, frame: Frame) -> str:
    """Return the label."""
    top, css = _top(pill, frame), pill.mark.css
    return (
        f'<g><rect class="pill {css}" x="{pill.left:.1f}" y="{top:.1f}" width="{pill.wide:.1f}"'
        f' height="16" rx="8"/><text class="pill {css}" x="{pill.left + pill.wide / 2:.1f}"'
        f' y="{top + 12:.1f}" text-anchor="middle">{escape(pill.text)}</text>'
        f"<title>{escape(pill.mark.hint)}</title></g>"
    )

"""Columns and wrapped lines that fit a width; the same text with and without colours."""

from collections.abc import Sequence
from textwrap import wrap

from rich.text import Text

from autoscaler.adapters.lines import printable

LEAST_WIDTH = 60
WIDTH = 80
"""Where nobody says how wide it is."""


def readable_width(columns: int | None) -> int:
    """Return a width that can be read, for a terminal of so many columns; None: there is none."""
    return WIDTH if columns is None else max(LEAST_WIDTH, columns)


def line(text: str, style: str = "") -> Text:
    """Return one line; foreign text in it moves no cursor."""
    return Text(printable(text), style=style)


def paragraph(text: str, width: int, *, style: str = "", indent: int = 0) -> list[Text]:
    """Return text as lines; all but the first are indented."""
    hang = " " * indent
    parts = wrap(printable(text), width, subsequent_indent=hang, break_on_hyphens=False)
    return [Text(part, style=style) for part in parts]


def table(rows: Sequence[Sequence[str]], width: int, styles: Sequence[str]) -> list[Text]:
    """Return rows in columns; the last column takes what is left and is wrapped.

    The first row is the head; `styles` has one for each row.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    left = sum(widths) + 2 * len(widths)
    lines: list[Text] = []
    for row, style in zip(rows, styles, strict=True):
        told = "".join(f"{cell:<{w}}  " for cell, w in zip(row[:-1], widths, strict=True))
        parts = wrap(printable(row[-1]), max(20, width - left), break_on_hyphens=False) or [""]
        lines.append(Text((printable(told) + parts[0]).rstrip(), style=style))
        lines += [Text(" " * left + part, style=style) for part in parts[1:]]
    return lines

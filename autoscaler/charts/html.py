"""The page around the charts: no scripts, nothing loaded from anywhere, light and dark."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from autoscaler.charts.draw import Chart, draw

WIDE, NARROW = 920.0, 356.0
"""Widths that each chart is drawn for, in CSS pixels."""


def document(title: str, parts: Iterable[str]) -> str:
    """Return the whole page."""
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{style}</style></head><body><main>",
            *parts,
            "</main></body></html>",
        )
    )


def header(title: str, about: str, tiles: Iterable[tuple[str, str]]) -> str:
    """Return the head of the page; each tile is a value and what it is."""
    shown = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in tiles
    )
    return (
        f"<header><h1>{escape(title)}</h1><p>{escape(about)}</p></header>"
        f'<div class="tiles">{shown}</div>'
    )


def section(title: str, content: str) -> str:
    """Return a section; without content, nothing."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def items(texts: Sequence[str]) -> str:
    """Return a list; of none, nothing."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>" if texts else ""


def figure(title: str, chart: Chart, legend: Iterable[tuple[str, str]]) -> str:
    """Return a chart in both widths, with the meaning of each line that it has."""
    shown = {line.css for line in chart.lines}
    keys = "".join(
        f'<span class="key"><i class="{css}"></i>{escape(meaning)}</span>'
        for css, meaning in legend
        if css in shown
    )
    return (
        f"<figure><figcaption><h2>{escape(title)}</h2><div>{keys}</div></figcaption>"
        f'<div class="wide">{draw(chart, WIDE)}</div>'
        f'<div class="narrow">{draw(chart, NARROW)}</div></figure>'
    )


def lanes(names: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table that compares: a column for each name, a row for each figure."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f"<td>{escape(value)}</td>" for value in values)
        + "</tr>"
        for label, values in rows
    )
    return (
        f'<div class="scroll"><table class="lanes"><thead><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )

#!/usr/bin/env python3
"""Draws the picture of one decision: what was seen, and the number on its way through the rules.

.venv/bin/python scripts/decision_picture.py

The numbers are what `decide` makes of the README's example, so the picture tells no other story.
"""

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

from autoscaler.adapters.cycle_view import CycleView, view_of_record
from autoscaler.decision.record import Record, from_json
from autoscaler.decision.words import Stage
from autoscaler.replay import replay
from autoscaler.settings import load, to_policy

ROOT = Path(__file__).parents[1]
WRITTEN = ROOT / "docs" / "pictures" / "decision.svg"
EXAMPLE = (
    '{"now": "2026-11-23T10:00:00Z", "current": 2, "ready": 2, "metrics": {"queue_depth":'
    ' {"samples": [{"labels": {}, "value": 5.0, "at": "2026-11-23T09:59:58Z"}]},'
    ' "cpu_to_limit": {"missing": "Failed", "detail": "timeout after 3s"}}}'
)
WIDTH, HEIGHT = 900, 446
LEFT, STRIDE = 84, 57
FLOOR, UNIT = 346, 19
"""Where the line of no replica is, and how far up one more is."""
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<!-- Written by `make pictures` (scripts/decision_picture.py): change that, then type it again. -->
<title>{title}</title>
<style>
  text {{ font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1f2328; }}
  .page {{ fill: #ffffff; stroke: #d0d7de; }}
  .card {{ fill: #f6f8fa; stroke: #d0d7de; }}
  .grid {{ stroke: #d0d7de; }}
  .line {{ stroke: #0969da; stroke-width: 3; fill: none; stroke-linejoin: round; }}
  .dot {{ fill: #0969da; }}
  .strong {{ font-weight: 600; }}
  .soft {{ fill: #59636e; font-size: 12px; }}
  .told {{ fill: #0969da; font-weight: 600; }}
  .end {{ text-anchor: end; }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3; }}
    .page {{ fill: #0d1117; stroke: #3d444d; }}
    .card {{ fill: #151b23; stroke: #3d444d; }}
    .grid {{ stroke: #3d444d; }}
    .line {{ stroke: #4493f8; }}
    .dot, .told {{ fill: #4493f8; }}
    .soft {{ fill: #9198a1; }}
  }}
</style>
<rect class="page" x="0.5" y="0.5" width="{inner}" height="{innermost}" rx="8"/>
"""


def example() -> CycleView:
    """Return the README's example as the daemon would tell of it."""
    target = load(ROOT / "config" / "autoscaler.yaml", {}).targets[0]
    (line,) = replay(to_policy(target), target.name, [EXAMPLE])
    return view_of_record(from_json(Record, json.loads(line)))


def numbers(record: Record) -> dict[Stage, int]:
    """Return the number that each rule leaves; one without a step hands on what it was given."""
    number, left = record.decision.from_, {}
    for stage in Stage:
        number = next((step.to for step in record.steps if step.stage is stage), number)
        left[stage] = number
    return left


def render() -> str:
    """Return the picture."""
    view = example()
    if view.record is None:
        raise ValueError("the example must come to a decision")
    head = HEAD.format(
        width=WIDTH,
        height=HEIGHT,
        inner=WIDTH - 1,
        innermost=HEIGHT - 1,
        title=escape(view.sentence),
    )
    body = (*_seen(view, view.record), *_way(view.record), *_end(view, view.record))
    return head + "\n".join(body) + "\n</svg>\n"


def _seen(view: CycleView, record: Record) -> Iterator[str]:
    yield from _card(16, 74)
    columns = [
        (
            f"{metric.name} = {metric.value:g}",
            f"{metric.age:g} s old, {metric.quality}: may grow and shrink",
        )
        if metric.value is not None and metric.age is not None
        else (f"{metric.name}: {metric.detail}", f"{metric.quality}: blocks shrinking, not growing")
        for metric in view.metrics
    ]
    seen = record.observation
    replicas = f"{seen.current} replicas, {seen.ready} ready"
    columns.append((replicas, "each pod, its requests, who wrote last"))
    for number, (strong, soft) in enumerate(columns):
        yield _text(32 + 292 * number, 48, strong, "strong")
        yield _text(32 + 292 * number, 70, soft, "soft")


def _way(record: Record) -> Iterator[str]:
    yield _text(LEFT - 60, 124, "the number on its way through the rules", "soft")
    left = numbers(record)
    start = record.decision.from_
    for level in sorted({start, *left.values()}):
        y = _y(level)
        yield f'<line class="grid" x1="{LEFT - 40}" y1="{y}" x2="{WIDTH - 24}" y2="{y}"/>'
        yield _text(LEFT - 56, y + 5, str(level), "soft")
    path, before = f"M{LEFT - 40} {_y(start)}", start
    labels = []
    for place, (stage, number) in enumerate(left.items()):
        x = LEFT + STRIDE * place
        path += f" L{x - 14} {_y(before)} L{x} {_y(number)}"
        yield f'<circle class="dot" cx="{x}" cy="{_y(number)}" r="4"/>'
        name = "told" if any(step.stage is stage for step in record.steps) else "soft"
        yield (
            f'<text class="{name} end" transform="translate({x + 6},{FLOOR - 40}) rotate(-32)">'
            f"{stage}</text>"
        )
        labels += [(x, number, step.reason) for step in record.steps if step.stage is stage]
        before = number
    yield f'<path class="line" d="{path} L{WIDTH - 24} {_y(before)}"/>'
    for x, number, reason in labels:
        yield _text(x - 4, _y(number) - 12, reason, "told")


def _end(view: CycleView, record: Record) -> Iterator[str]:
    yield from _card(370, 60)
    decision = record.decision
    title = f"{decision.from_} → {decision.to}, {decision.reason}"
    yield _text(32, 394, title, "strong")
    yield _text(
        190, 394, "one patch of the scale, and a record that decides again to the same", "soft"
    )
    yield _text(32, 416, view.sentence, "soft")


def _y(number: int) -> int:
    return FLOOR - UNIT * (number + 2)


def _card(y: int, height: int) -> Iterator[str]:
    yield f'<rect class="card" x="16" y="{y}" width="{WIDTH - 32}" height="{height}" rx="6"/>'


def _text(x: int, y: int, text: str, name: str) -> str:
    return f'<text class="{name}" x="{x}" y="{y}">{escape(text)}</text>'


if __name__ == "__main__":
    WRITTEN.write_text(render())

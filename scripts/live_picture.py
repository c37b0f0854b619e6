#!/usr/bin/env python3
"""Takes the picture of the demo's live view: one moment of a real run, drawn by Rich as SVG.

.venv/bin/python scripts/live_picture.py [FILE]
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from autoscaler.sandbox.live import Frame, PlainScreen, view
from autoscaler.sandbox.run import SandboxOptions, run_sandbox

WRITTEN = Path(__file__).parents[1] / "docs" / "pictures" / "live.svg"
TITLE = "make demo"
WIDTH = 112
SPEED = 6.0
"""Slower than the demo: a picture does not care how long it takes, and a busy machine keeps up."""
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class Camera(PlainScreen):
    """Prints lines as usual, and keeps the frame that is most worth looking at."""

    def __init__(self, console: Console) -> None:
        """Print to `console`; nothing is kept yet."""
        super().__init__(console)
        self.kept: Frame | None = None

    def show(self, frame: Frame, wall_s: float) -> None:
        """Print, and keep the frame where it is worth more than the one before."""
        super().show(frame, wall_s)
        if self.kept is None or worth(frame) > worth(self.kept):
            self.kept = Frame(**{name: _still(getattr(frame, name)) for name in Frame.__slots__})


def worth(frame: Frame) -> tuple[int, int, float]:
    """Judge a moment: it is best where fewer wait here than elsewhere, and most replicas work.

    Of two that are alike, the later one has more to tell.
    """
    ours, *others = frame.lanes
    spared = max((lane.waiting for lane in others), default=0) - ours.waiting
    return (spared, sum(bool(pod.requests) for pod in frame.pods), frame.at_s)


def draw(frame: Frame) -> str:
    """Return the picture; it takes no font from anywhere, so that it looks the same offline."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(view(frame))
    drawn = re.sub(r"\s*@font-face \{.*?\}", "", console.export_svg(title=TITLE), flags=re.DOTALL)
    return drawn.replace("Fira Code, monospace", FONT).replace("arial", "sans-serif")


def _still(value: object) -> object:
    """Return a list as it is now: the run goes on adding to it."""
    return tuple(value) if isinstance(value, list) else value


def main(file: Path) -> int:
    """Run the demo and write the picture of it; answers the demo's exit code."""
    camera = Camera(Console())
    code = run_sandbox(SandboxOptions(speed=SPEED), on=camera)
    if camera.kept is not None:
        file.write_text(draw(camera.kept))
        print(f"picture  {file}")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else WRITTEN))

"""What a run looks like while it goes on: a view on a terminal, lines elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoscaler.sandbox.load import Progress
from autoscaler.sandbox.report import Change

_LINE_SECONDS = 10.0
_CHANGES_SHOWN = 6
_EVENTS_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFrame:
    """One replica at one moment."""

    name: str
    state: str
    """starting, ready or draining."""
    requests: int | None
    """None while the gateway does not know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The run at one moment; seconds are simulated."""

    at_s: float
    duration_s: float
    phase: str
    desired: int
    slots: int
    pods: Sequence[PodFrame]
    waiting: int | None
    running: int | None
    lanes: Sequence[Progress]
    changes: Sequence[Change]
    last: str
    """What the daemon's last cycle said."""


class Screen(Protocol):
    """Shows a run."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, and leave the terminal as it was."""

    def say(self, at_s: float | None, text: str) -> None:
        """Tell something that happened."""

    def show(self, frame: Frame, wall_s: float) -> None:
        """Show the present state; `wall_s` is any clock in seconds."""


def screen(console: Console, *, plain: bool) -> Screen:
    """Choose: the view needs a terminal."""
    return LiveScreen(console) if console.is_terminal and not plain else PlainScreen(console)


class PlainScreen:
    """One line per change and one every ten seconds."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self._console = console
        self._shown = 0
        self._last_s: float | None = None

    def __enter__(self) -> Self:
        """Begin; there is nothing to prepare."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End; there is nothing to restore."""

    def say(self, at_s: float | None, text: str) -> None:
        """Print one line."""
        self._line(at_s, text)

    def show(self, frame: Frame, wall_s: float) -> None:
        """Print what changed, and the state from time to time."""
        for change in frame.changes[self._shown :]:
            self._line(change.at_s, change.sentence)
        self._shown = len(frame.changes)
        if self._last_s is None or wall_s - self._last_s >= _LINE_SECONDS:
            self._last_s = wall_s
            self._line(frame.at_s, _state_line(frame))

    def _line(self, at_s: float | None, text: str) -> None:
        stamp = "" if at_s is None else f"{clock(at_s)}  "
        self._console.print(f"{stamp}{text}", markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """A view that is drawn over and over."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`, a terminal."""
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._events: list[str] = []

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back."""
        self._live.stop()

    def say(self, at_s: float | None, text: str) -> None:
        """Print above the view before the run; during it, keep the last ones in the view."""
        if at_s is None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._events = [*self._events, f"{clock(at_s)}  {text}"][-_EVENTS_SHOWN:]

    def show(self, frame: Frame, wall_s: float) -> None:
        """Draw."""
        del wall_s
        self._live.update(view(frame, self._events), refresh=True)


def clock(second: float) -> str:
    """Write a simulated time as minutes and seconds."""
    minutes, seconds = divmod(max(0, int(second)), 60)
    return f"{minutes:3d}:{seconds:02d}"


def _state_line(frame: Frame) -> str:
    states = [pod.state for pod in frame.pods]
    ours = frame.lanes[0]
    return (
        f"{frame.phase}: {states.count('ready')} of {frame.desired} replicas ready,"
        f" {states.count('draining')} draining, {_number(frame.running)} running,"
        f" {_number(frame.waiting)} waiting; {ours.sent} of {ours.total} sent,"
        f" {ours.served} served, {ours.cut} cut"
    )


def view(frame: Frame, events: Sequence[str] = ()) -> Group:
    """Return what the view shows at one moment; `events` stand below what the daemon changed."""
    bar = ProgressBar(total=frame.duration_s, completed=min(frame.at_s, frame.duration_s), width=60)
    head = Table.grid(padding=(0, 2))
    head.add_row(
        f"{clock(frame.at_s)} of {clock(frame.duration_s)}", bar, Text(frame.phase, style="bold")
    )
    numbers = Text(
        f"{len(frame.pods)} replicas, {frame.desired} wanted;"
        f" {_number(frame.running)} requests running, {_number(frame.waiting)} waiting"
    )
    told = _told(frame, events)
    return Group(head, numbers, Text(frame.last), _pods(frame), _lanes(frame.lanes), told)


def _pods(frame: Frame) -> Table:
    table = Table("replica", "state", "slots", show_edge=False, pad_edge=False, box=None)
    styles = {"ready": "green", "starting": "yellow", "draining": "magenta"}
    for pod in frame.pods:
        busy = min(pod.requests or 0, frame.slots)
        slots = "" if pod.requests is None else "■" * busy + "□" * (frame.slots - busy)
        table.add_row(pod.name, Text(pod.state, style=styles.get(pod.state, "")), slots)
    return table


def _lanes(lanes: Sequence[Progress]) -> Table:
    names = ("", "sent", "waiting", "running", "served", "gave up", "refused", "cut")
    table = Table(*names, show_edge=False, pad_edge=False, box=None)
    for lane in lanes:
        figures = (
            *(lane.sent, lane.waiting, lane.running, lane.served),
            *(lane.gave_up, lane.refused, lane.cut),
        )
        table.add_row(lane.lane, *map(str, figures))
    return table


def _told(frame: Frame, events: Sequence[str]) -> Text:
    lines = [f"{clock(one.at_s)}  {one.sentence}" for one in frame.changes[-_CHANGES_SHOWN:]]
    return Text("\n".join([*lines, *events]))


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)

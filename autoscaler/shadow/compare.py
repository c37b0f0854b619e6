"""From the records to the report, in one walk through them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from autoscaler.shadow.figures import Counter
from autoscaler.shadow.moments import Moment, moments
from autoscaler.shadow.report import Curves, Report
from autoscaler.shadow.stretches import Finder, Stretch
from autoscaler.shadow.survey import Entries, Survey, Window
from autoscaler.shadow.theirs import ByPrometheus, ByRecords

_MOST_POINTS = 1500
"""Of a curve that moves all the time: more than a page is wide."""


def compare(
    entries: Entries, survey: Survey, window: Window, done: ByPrometheus | ByRecords
) -> Report:
    """Walk through the records once more, and compare."""
    counter, finder = Counter(survey.slots), Finder(survey.slots)
    pen = _Pen(survey.first, survey.last + survey.interval)
    stretches: list[Stretch] = []
    for moment in moments(entries, survey, window, done):
        counter.add(moment)
        stretches += finder.add(moment)
        pen.draw(moment)
    stretches += finder.end()
    return Report(
        survey=survey,
        source=done.source,
        begin=survey.first,
        end=pen.end,
        figures=counter.figures(),
        stretches=stretches,
        writers=tuple(finder.writers),
        curves=pen.curves(),
    )


@dataclass(slots=True)
class _Peaks:
    """A curve that keeps the highest of each part of the time."""

    part: timedelta
    points: list[tuple[datetime, float]] = field(default_factory=list)
    _until: datetime | None = None

    def add(self, at: datetime, value: float) -> None:
        if self._until is None or at >= self._until:
            self._until = at + self.part
            self.points.append((at, value))
        elif value > self.points[-1][1]:
            self.points[-1] = (self.points[-1][0], value)


class _Pen:
    """Notes what is drawn."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        part = (end - begin) / _MOST_POINTS
        self.end = end
        self._theirs: list[tuple[datetime, float]] = []
        self._ours: list[tuple[datetime, float]] = []
        self._requests, self._use = _Peaks(part), _Peaks(part)
        self._use_name = ""

    def draw(self, moment: Moment) -> None:
        _step(self._ours, moment.at, moment.ours)
        if moment.theirs is not None:
            _step(self._theirs, moment.at, moment.theirs)
        if moment.requests is not None:
            self._requests.add(moment.at, moment.requests)
        per_pod = next((use for use in moment.uses if use.per_pod), None)
        if per_pod is not None and self._use_name in ("", per_pod.name):
            self._use_name = per_pod.name
            self._use.add(moment.at, per_pod.value / per_pod.target)

    def curves(self) -> Curves:
        return Curves(
            theirs=self._theirs,
            ours=self._ours,
            requests=self._requests.points,
            use=self._use.points,
            use_name=self._use_name,
        )


def _step(points: list[tuple[datetime, float]], at: datetime, value: int) -> None:
    if not points or points[-1][1] != value:
        points.append((at, value))

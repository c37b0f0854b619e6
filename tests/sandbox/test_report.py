"""The figures, the table and the page."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from rich.console import Console

from autoscaler.charts.draw import clock, nice_top
from autoscaler.charts.marks import Mark, placed
from autoscaler.charts.steps import added, replica_hours
from autoscaler.sandbox.load import Outcome, Result
from autoscaler.sandbox.report import (
    Change,
    LaneSummary,
    Run,
    Span,
    print_summary,
    to_html,
    write_html,
)
from autoscaler.sandbox.summary import percentile, summarise
from tests.pages import Balance

OURS = LaneSummary(
    name="autoscaler",
    requests=100,
    served=98,
    refused=0,
    gave_up=2,
    cut=0,
    wait_p50_s=0.25,
    wait_p99_s=31.0,
    first_p50_s=14.0,
    first_p99_s=77.7,
    replica_hours=0.8,
)
RUN = Run(
    title="Demo <3b> & friends",
    speed=10,
    started=datetime(2026, 11, 23, 10, 0, tzinfo=UTC),
    duration_s=900.0,
    series={
        "desired": [(0, 2), (130, 6), (700, 3)],
        "ready": [(0, 2), (165, 6), (700, 3)],
        "up": [(0, 2), (130, 6), (720, 3)],
        "running": [(0, 0), (100, 2), (165, 6), (400, 1)],
        "waiting": [(0, 0), (120, 5), (240, 0)],
        "cpu_to_limit": [(0, 0.0), (100, 0.97), (400, 0.2)],
    },
    bounds=(2, 6),
    changes=(
        Change(at_s=130, from_=2, to=6, reason="AboveTarget", sentence="queue_depth = 7"),
        Change(at_s=700, from_=6, to=3, reason="RateLimited", sentence="at most 50 % a <minute>"),
    ),
    lanes=(OURS, replace(OURS, name="fixed 6", replica_hours=1.6)),
    phases=(Span(from_s=120, to_s=210, name="burst"),),
    faults=(Span(from_s=300, to_s=360, name="prometheus-outage"),),
    scaled=("arrivals",),
    settings={"profile": "3b-laptop"},
    notes=("one machine",),
)
BARE = replace(
    RUN, series={}, changes=(), lanes=(), phases=(), faults=(), scaled=(), settings={}, notes=()
)


def outcome(result, first=None, wait=None, finished=0.0):
    """Give the fate of a question of second 10."""
    return Outcome(
        arrival_s=10.0,
        first_s=first,
        wait_s=wait,
        finished_s=finished,
        status=None,
        result=result,
        bytes=0,
    )


# --- figures ----------------------------------------------------------------------------------


def test_a_summary_counts_each_result_and_lets_lost_patience_count_as_wait():
    """Who gave up waited longest; leaving him out would make a bad lane look good."""
    outcomes = [
        *[outcome(Result.SERVED, first=15.0, wait=1.0)] * 97,
        outcome(Result.GAVE_UP, finished=130.0),
        outcome(Result.GAVE_UP, finished=130.0),
        outcome(Result.CUT, first=3.0),
        outcome(Result.REFUSED),
    ]

    assert summarise("a", outcomes, [(0.0, 2.0)], until_s=1800.0) == LaneSummary(
        name="a",
        requests=101,
        served=97,
        refused=1,
        gave_up=2,
        cut=1,
        wait_p50_s=1.0,
        wait_p99_s=120.0,
        first_p50_s=15.0,
        first_p99_s=120.0,
        replica_hours=1.0,
    )


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([3.0], 0.99, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        (list(range(1, 101)), 0.99, 99),
    ],
)
def test_a_percentile_is_one_of_the_values(values, share, expected):
    """The smallest that at least this share does not exceed."""
    assert percentile(values, share) == expected


@pytest.mark.parametrize(
    ("points", "hours"),
    [
        ([], 0.0),
        ([(0.0, 2.0)], 2.0),
        ([(0.0, 2.0), (1800.0, 6.0)], 4.0),
        ([(900.0, 4.0), (7200.0, 9.0)], 3.0),
    ],
)
def test_replica_hours_are_the_area_under_the_steps(points, hours):
    """Up to the end of the run, and not beyond."""
    assert replica_hours(points, until_s=3600.0) == pytest.approx(hours)


def test_steps_are_added_at_all_their_times():
    """A value holds until the next point; before the first one it is zero."""
    assert added([(0, 1), (10, 2)], [(5, 3), (10, 0)]) == [(0, 1), (5, 4), (10, 2)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (905, "15:05"), (3725, "1:02:05")]
)
def test_times_are_written_as_on_a_clock(seconds, text):
    """Minutes and seconds, hours where there are any."""
    assert clock(seconds) == text


def test_an_axis_ends_on_a_round_number():
    """At or above every value."""
    assert [nice_top([value], 1) for value in (0.3, 6, 13, 14.5)] == [1.0, 6, 15, 15]


# --- terminal ---------------------------------------------------------------------------------


def test_the_table_has_a_column_for_each_lane():
    """Labels left, lanes side by side, in 80 columns."""
    console = Console(width=80, record=True)
    with console.capture() as capture:
        print_summary(RUN, console)
    text = capture.get()

    assert re.search(r"autoscaler .* fixed 6", text)
    assert re.search(r"replica-hours .* 0\.80 .* 1\.60", text)
    assert re.search(r"wait for a slot, p99 .* 31\.0 s", text)
    assert max(len(line) for line in text.splitlines()) <= 80


# --- page -------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [RUN, BARE], ids=["full", "bare"])
def test_the_page_is_whole_and_needs_nothing_from_elsewhere(run):
    """Every tag is closed; no script, no link, no import."""
    page, parser = to_html(run), Balance()
    parser.feed(page)
    parser.close()

    assert parser.open == []
    assert not parser.names & {"script", "link", "iframe", "img"}
    assert parser.addresses == []
    assert "@import" not in page
    assert "url(" not in page
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+|[a-z]+nan", "", page)


def test_the_page_shows_decisions_faults_lanes_settings_and_notes():
    """What a reader asks for after a run, with foreign text escaped."""
    page = to_html(RUN)

    for text in (
        "<h1>Demo &lt;3b&gt; &amp; friends</h1>",
        "2 → 6 → 3",
        "replica-hours (50% of fixed 6)",
        "<b>RateLimited</b> at most 50 % a &lt;minute&gt;",
        ">prometheus-outage</text>",
        ">burst</text>",
        "<li>arrivals</li>",
        "<td>3b-laptop</td>",
        "<li>one machine</li>",
    ):
        assert text in page, text
    assert "prefers-color-scheme: dark" in page


def test_the_page_is_written_as_utf_8(tmp_path):
    """Whatever the locale."""
    write_html(RUN, tmp_path / "report.html")

    assert (tmp_path / "report.html").read_bytes().decode() == to_html(RUN)


@pytest.mark.parametrize("width", [356.0, 920.0])
@pytest.mark.parametrize("gap", [1, 5, 40, 200])
def test_labels_never_overlap_and_stay_inside(width, gap):
    """Names where there is room, numbers where there is less, nothing where there is none."""
    marks = [
        Mark(css="", at_s=at, value=1, number=number, name="AboveTarget", hint="")
        for number, at in enumerate(range(0, 901, gap), start=1)
    ]
    pills = placed(marks, width, until_s=900)

    assert pills
    for row in range(3):
        inside = sorted((pill.left, pill.left + pill.wide) for pill in pills if pill.row == row)
        assert all(end < begin for (_, end), (begin, _) in pairwise(inside))
        assert all(left >= 0 and right <= width for left, right in inside)
    if (gap, width) == (200, 920.0):
        assert all(pill.text.endswith("AboveTarget") for pill in pills)

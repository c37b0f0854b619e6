"""What is told: for a terminal, as lines, as JSON, as a page."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler.decision.words import Mode
from autoscaler.errors import AutoscalerError
from autoscaler.shadow.command import Told, tell
from autoscaler.shadow.page import to_html
from autoscaler.shadow.report import limits, plain, shown
from autoscaler.shadow.text import SHOWN, render
from tests.decision.build import at
from tests.pages import Balance
from tests.shadow.build import QUICK, compared, load, shadowed

HPA = "kube-controller-manager"
CYCLES = [
    replace(each, writer="kubectl" if each.current == 1 else HPA)
    for each in load((3, 0.8, 1), (6, 4.0, 1), (3, 4.0, 5), (6, 0.8, 5))
]
REPORT = compared(shadowed(CYCLES))
OFTEN = compared(shadowed(load(*[(2, 0.8, 1), (2, 4.0, 1)] * 20)))
"""Twenty bursts that the other never followed."""


def test_lines_say_what_is_compared_and_every_disagreement_with_both_reasons():
    """Readable without a terminal, and without any markup."""
    text = render(REPORT, width=None)
    assert text.splitlines()[0] == (
        "llm/ollama: 2026-11-23 10:00:00 to 2026-11-23 10:03:00 UTC, 18 cycles, 0 of them blind; "
        f"replicas by the records, written by kubectl, {HPA}; both agree for 33% of 3m"
    )
    for line in (
        "replica-hours                             0.15          0.15",
        "reversals within 10m                         0             1",
        "time with a queue                           1m           10s",
        "11-23 10:00:30 for 1m: theirs 1, ours 5; the other grew later (+0.067 replica-hours)",
        "  ours    1 -> 5, AboveTarget (queue_depth 4, target 0.8 per replica)",
        (
            "  theirs  1 since before the first cycle, by kubectl; at the widest, queue_depth was 4"
            f" (target 0.8 per replica); up to 3 waited, 1m in all; {HPA} wrote 5 at 11-23 10:01:30"
        ),
        (
            f"  theirs  {HPA} wrote 5 at 11-23 10:01:30; at the widest, queue_depth was 0.8"
            " (target 0.8 per replica)"
        ),
        "What this cannot know",
    ):
        assert line in text.splitlines(), line


def test_a_terminal_gets_the_same_within_its_width():
    """Every figure and every reason, and no line is longer."""
    text = render(REPORT, width=80)
    assert "the other grew later" in text
    assert "1 -> 5, AboveTarget (queue_depth 4, target 0.8 per replica)" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("width", [None, 100])
def test_what_a_record_says_steers_no_terminal(width):
    """Records may be anybody's."""
    evil = [replace(each, writer="\x1b[31mred\n[bold]") for each in CYCLES]
    text = render(compared(shadowed(evil)), width=width)
    assert "?[31mred?[bold]" in " ".join(text.split())
    assert "\x1b[31mred" not in text


def test_of_many_disagreements_the_largest_are_told_and_all_are_counted():
    """JSON has them all."""
    text = render(OFTEN, width=None)
    assert f"Disagreements: 20, the {SHOWN} largest of them" in text
    assert text.count("the other did not grow") == SHOWN
    assert len(plain(OFTEN)["disagreements"]) == 20


def test_json_holds_figures_and_reasons():
    """A script needs nothing else; what is not known is null."""
    told = json.loads(tell(REPORT, Told(as_json=True)))
    assert (told["version"], told["target"], told["source"]) == (1, "llm/ollama", "records")
    assert (told["from"], told["to"]) == ("2026-11-23T10:00:00Z", "2026-11-23T10:03:00Z")
    assert told["theirs"]["changes"] == 1
    assert told["ours"]["queued_seconds"] == 10
    assert told["writers"] == ["kubectl", HPA]
    first, second = told["disagreements"]
    assert (first["kind"], first["seconds"]) == ("the other grew later", 60)
    assert (first["theirs"], first["ours"]) == ([1], [5])
    assert first["widest"]["reason"] == "AboveTarget"
    assert first["widest"]["metrics"] == {"queue_depth": 4.0}
    assert first["theirs_wrote"] == {
        "at": None,
        "to": 1,
        "writer": "kubectl",
        "metrics": {"queue_depth": 0.8},
    }
    assert first["theirs_wrote_later"][0]["writer"] == HPA
    assert second["theirs_wrote"]["at"] == "2026-11-23T10:01:30Z"
    assert told["start_up_seconds"] is None
    assert told["limits"] == list(limits(REPORT))


def test_what_it_cannot_know_is_said():
    """Also that some cycles were no shadow's, and that time is not compared."""
    acting = shadowed(CYCLES[:6], replace(QUICK, mode=Mode.ACT))
    said = " ".join(limits(compared([*acting, *shadowed(CYCLES[6:])])))
    assert "In 6 of 18 cycles the daemon was no shadow" in said
    assert "produced under the other's replicas" in said
    assert "new ones of ours count as ready at once" in said


def test_agreement_is_told_in_a_sentence():
    """No list, no stretch."""
    report = compared(shadowed(load((6, 4.0, 5))))
    assert "They never disagree." in render(report, width=None)
    assert "<p>Nowhere.</p>" in to_html(report)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (2.074, "2.1s"), (9.7, "9.7s"), (70.4, "1m10s"), (7200, "2h")]
)
def test_spans_are_written_as_exactly_as_they_matter(seconds, text):
    """A tenth below ten seconds, whole ones above."""
    assert shown(timedelta(seconds=seconds)) == text


# --- page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [REPORT, OFTEN], ids=["two", "many"])
def test_the_page_is_whole_and_needs_nothing_from_elsewhere(report):
    """Every tag is closed; no script, no link, no import."""
    page, parser = to_html(report), Balance("br")
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert not parser.names & {"script", "link", "iframe", "img"}
    assert parser.addresses == []
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_shows_both_curves_over_the_load_and_the_reasons():
    """What somebody wants to see before the daemon is allowed to act."""
    page = to_html(REPORT)
    for text in (
        'class="line ours"',
        'class="area theirs"',
        'aria-label="Requests"',
        "<b>the other grew later</b>, for 1m",
        "1 -&gt; 5, AboveTarget (queue_depth 4, target 0.8 per replica)",
        f"{HPA} wrote 5 at 11-23 10:01:30",
        "produced under the other",
    ):
        assert text in page, text


def test_a_long_time_is_drawn_with_days_and_few_points():
    """Three days at ten seconds are 26,000 cycles; the page stays small and its peaks are there."""
    cycles = [
        replace(each, now=at(10.0 * index))
        for index, each in enumerate(load((200, 0.8, 2), (1, 7.0, 2), (200, 0.8, 2)))
    ]
    report = compared(shadowed(cycles))
    long = replace(report, end=report.begin + timedelta(days=3))
    assert "23 Nov" in to_html(long)
    assert len(report.curves.requests) <= 1500
    assert max(value for _, value in report.curves.requests) == 7.0


def test_a_page_that_cannot_be_written_is_told(tmp_path):
    """One line with the path."""
    with pytest.raises(AutoscalerError, match=r"nowhere/p\.html: cannot be written: No such file"):
        tell(REPORT, Told(html=tmp_path / "nowhere" / "p.html"))

"""The runbook explains each reason, event and outcome; alerts: `tests/stack/test_rules.py`."""

import re

import pytest

from autoscaler.adapters.kubernetes.event_reporter import WRITE_FAILED
from autoscaler.decision.record import Outcome
from autoscaler.decision.words import Reason
from tests.docs.pages import ROOT, page
from tests.stack.rules import rules

TEXT = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
OF_REASONS = [name for name in SECTIONS if name.startswith("Reason ")]
OF_EVENTS = [name for name in SECTIONS if name.startswith("Event ")]


def events():
    """Return the reasons of events that the code makes beside those of decisions."""
    texts = [path.read_text() for path in (ROOT / "autoscaler").rglob("*.py")]
    return {WRITE_FAILED, *(name for text in texts for name in _told(text))}


def _told(text):
    return re.findall(r'_tell_targets\("(\w+)"', text)


def test_each_reason_has_its_section_and_no_other_has_one():
    """In the order in which the words are declared, so that nobody has to search."""
    assert [f"Reason {reason}" for reason in Reason] == OF_REASONS


def test_each_further_event_has_its_section_and_no_other_has_one():
    """What `kubectl describe deployment` shows can be looked up, too."""
    assert {f"Event {name}" for name in events()} == set(OF_EVENTS)
    assert len(events()) >= 2


def test_each_outcome_is_explained():
    """One row for each."""
    told = re.findall(r"^\| `([a-z-]+)` \|", TEXT.partition("## Outcomes")[2], re.MULTILINE)
    assert sorted(told) == sorted(Outcome)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_happens_by_itself_and_what_to_do(name):
    """What it means comes first; then these two, in this order."""
    meaning, by_itself, rest = SECTIONS[name].partition("\nBy itself: ")
    does, you, do = rest.partition("\nYou: ")
    assert by_itself
    assert you
    assert min(len(text.strip()) for text in (meaning, does, do)) >= len("nothing.")


@pytest.mark.parametrize("name", OF_REASONS)
def test_what_to_do_about_a_reason_names_where_to_look(name):
    """A command, a key or another section, also where nothing has to be done."""
    assert re.search(r"`|\(#|\.md\)", SECTIONS[name].partition("\nYou: ")[2])


def test_reasons_alerts_and_events_have_anchors_of_their_own():
    """An alert and a reason may share a word, not a place."""
    names = [*rules("alert"), *SECTIONS]
    anchors = page("docs/runbook.md").anchors
    assert {name.lower().replace(" ", "-") for name in names} <= anchors
    assert not [anchor for anchor in anchors if re.fullmatch(r".*-\d+", anchor)]


def test_every_page_that_gives_a_reason_uses_a_word_of_the_set():
    """The rules' table names reasons that there are, and all that rules give."""
    table = re.findall(r"^\| \w+ \| .* \| ((?:`\w+` ?)+) \|$", _rules(), re.MULTILINE)
    told = {word for row in table for word in re.findall(r"`(\w+)`", row)}
    never = {Reason.SHADOW, Reason.NOT_LEADER}
    assert told == {str(reason) for reason in Reason if reason not in never}


def _rules():
    return (ROOT / "docs" / "rules.md").read_text()

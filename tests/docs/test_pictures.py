"""The pictures are what the programs draw, and stand on their own."""

import json
import re
import runpy
from xml.etree import ElementTree as ET

import pytest

from autoscaler.sandbox.live import Frame, PodFrame
from autoscaler.sandbox.load import Progress
from autoscaler.sandbox.report import Change
from tests.docs.pages import ROOT, page

PICTURES = ROOT / "docs" / "pictures"
LARGEST_BYTES = 150_000
DECISION = runpy.run_path(str(ROOT / "scripts" / "decision_picture.py"))
LIVE = runpy.run_path(str(ROOT / "scripts" / "live_picture.py"))


def lane(name, waiting=0, running=1):
    """Return one lane's figures."""
    return Progress(
        lane=name,
        total=9,
        sent=9,
        waiting=waiting,
        running=running,
        served=3,
        cut=0,
        refused=0,
        gave_up=0,
    )


def frame(at_s=150.0, elsewhere=4, busy=1):
    """Return a moment of a run."""
    change = Change(at_s=149, from_=2, to=4, reason="AboveTarget", sentence="llm/o: 2 -> 4 [why]")
    return Frame(
        at_s=at_s,
        duration_s=900,
        phase="burst",
        desired=2,
        slots=1,
        pods=[PodFrame(name=f"ollama-{n}", state="ready", requests=n < busy) for n in range(2)],
        waiting=0,
        running=1,
        lanes=[lane("autoscaler"), lane("fixed 2", waiting=elsewhere)],
        changes=[change],
        last="llm/ollama: holds 2, WithinTolerance",
    )


@pytest.mark.parametrize("name", ["live.svg", "decision.svg"])
def test_a_picture_is_small_and_fetches_nothing(name):
    """It looks the same without a network, in a dark page and in a light one."""
    text = (PICTURES / name).read_text()
    assert ET.fromstring(text).tag.endswith("svg")
    assert len(text) < LARGEST_BYTES
    assert "font-face" not in text
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


def test_the_live_picture_shows_replicas_lanes_and_a_reason():
    """What makes somebody want to try it."""
    said = words((PICTURES / "live.svg").read_text())
    for word in ("make demo", "replica", "autoscaler", "fixed 2", "AboveTarget"):
        assert word in said


def test_the_live_picture_is_drawn_from_what_the_view_shows():
    """By Rich, from a frame of the run; a bracket in a sentence is no markup."""
    said = words(LIVE["draw"](frame()))
    for word in ("2:30", "burst", "ollama-1", "fixed 2", "llm/o: 2 -> 4 [why]"):
        assert word in said


def test_the_moment_is_one_at_which_the_scaling_pays():
    """Most wait where nobody scales; then most replicas work; then the later one."""
    worth = LIVE["worth"]
    assert worth(frame(elsewhere=5)) > worth(frame(at_s=300.0, elsewhere=4, busy=2))
    assert worth(frame(busy=2)) > worth(frame(at_s=300.0))
    assert worth(frame(at_s=300.0)) > worth(frame())


def test_what_is_kept_stays_while_the_run_goes_on():
    """The run adds to its list of changes; the picture is of the moment."""
    camera = LIVE["Camera"](LIVE["Console"](quiet=True))
    moment = frame()
    with camera:
        camera.show(moment, 0.0)
        moment.changes.append(moment.changes[0])
        camera.show(frame(elsewhere=0), 1.0)
    assert len(camera.kept.changes) == 1
    assert camera.kept.lanes[1].waiting == 4


def test_the_picture_of_a_decision_is_up_to_date():
    """It is drawn from what `decide` answers, and tells what the pages tell."""
    assert DECISION["WRITTEN"].read_text() == DECISION["render"](), "type: make pictures ARGS=live"
    (block,) = [b for b in page("docs/rules.md").blocks if '"now"' in b.text]
    (line,) = [line for line in block.text.splitlines() if line.startswith("{")]
    assert json.loads(DECISION["EXAMPLE"]) == json.loads(line)


def test_the_readme_tells_of_the_picture_what_it_shows():
    """Its numbers and reasons are the decision's."""
    view = DECISION["example"]()
    decision, steps = view.decision, view.record.steps
    text = (ROOT / "README.md").read_text()
    (alt,) = re.findall(r"!\[([^\]]*)\]\(docs/pictures/decision.svg\)", text)
    for word in (decision.from_, decision.to, *(step.reason for step in steps[1:])):
        assert str(word) in alt
    for step in steps[1:]:
        assert f"{step.stage} " in alt
        assert f"to {step.to} for {step.reason}" in alt


def words(svg):
    """Return the text of a picture, its lines put together."""
    return "\n".join(
        "".join(element.itertext()).replace("\N{NO-BREAK SPACE}", " ")
        for element in ET.fromstring(svg).iter()
        if element.tag.endswith(("text", "title"))
    )

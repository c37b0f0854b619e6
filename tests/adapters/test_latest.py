"""The latest cycles in memory, as `/records` tells them."""

import json
from dataclasses import replace

from autoscaler.adapters.latest import LatestRecords
from autoscaler.decision.fold import Gap
from autoscaler.records import read
from tests.cycles import START, STEP, UNREADABLE, Rig


def life(count, target="llm/ollama"):
    """Return the reports of cycles in a row."""
    rig = Rig()
    return [of_target(rig.cycle(1.6), target) for _ in range(count)]


def of_target(report, target):
    """Return the report as one of another target."""
    return replace(report, target=target, record=replace(report.record, target=target))


def keeper(*targets, **options):
    """Return a keeper of these targets' records."""
    latest = LatestRecords(**options)
    for target in targets or ("llm/ollama",):
        latest.expect(target)
    return latest


def told(latest):
    """Return what a reader of the page finds."""
    return [each.record or each.gap for each in read(latest.page().body.splitlines())]


def test_what_was_reported_is_what_is_told():
    """All of it as long as it fits, whole records first."""
    latest, reports = keeper(), life(25)
    assert latest.page().body == b""
    for count, report in enumerate(reports, start=1):
        latest.report(report)
        assert told(latest) == [each.record for each in reports[:count]]
    assert latest.page().content_type == "application/jsonl"


def test_the_oldest_go_where_the_bound_is_reached():
    """What is left begins with a whole record, and ends with the newest."""
    latest, reports = keeper(bound=65_536), life(300)
    for report in reports:
        latest.report(report)
    kept = told(latest)
    assert 50 < len(kept) < 300
    assert kept == [report.record for report in reports[-len(kept) :]]
    assert len(latest.page().body) < 80_000


def test_each_target_has_its_share():
    """One after the other by their names, each of which can be read alone."""
    latest = keeper("llm/b", "llm/a", bound=131_072)
    for first, second in zip(life(300, "llm/a"), life(300, "llm/b"), strict=True):
        latest.report(first)
        latest.report(second)
    kept = told(latest)
    half = len(kept) // 2
    assert {record.target for record in kept[:half]} == {"llm/a"}
    assert {record.target for record in kept[half:]} == {"llm/b"}
    assert 50 < half < 300


def test_of_a_thousand_targets_the_last_cycle_is_kept_each():
    """The very record that /status has anyway: nothing is made text of before somebody asks."""
    names = [f"llm/target-{number:04}" for number in range(1000)]
    latest, reports = keeper(*names), life(3)
    for report in reports:
        for name in names:
            latest.report(of_target(report, name))
    assert [len(ring.waiting) for ring in latest._rings.values()] == 1000 * [1]
    assert not any(ring.texts for ring in latest._rings.values())
    newest = reports[-1].record
    assert told(latest) == [replace(newest, target=name) for name in names]


def test_a_target_that_has_gone_is_forgotten():
    """Also where its last cycle ends after that."""
    latest, (report, late) = keeper(), life(2)
    latest.report(report)
    latest.forget("llm/ollama")
    latest.report(late)
    assert latest.page().body == b""


def test_a_long_outage_pushes_no_decision_out():
    """Its first cycle and its last one stand for all."""
    latest, rig = keeper(), Rig()
    latest.report(rig.cycle(1.6))
    rig.target.read_error = UNREADABLE
    for _ in range(200):
        latest.report(rig.cycle())
    record, first, last = told(latest)
    assert record.decision.reason == "WithinTolerance"
    assert isinstance(first, Gap)
    assert (first.now, first.cycles) == (START + 2 * STEP, 1)
    assert (last.now, last.cycles) == (START + 201 * STEP, 200)
    assert json.loads(latest.page().body.splitlines()[-1])["cycles"] == 200


def test_outages_of_two_kinds_are_told_apart():
    """The second begins where the first ends."""
    latest, rig = keeper(), Rig()
    for leads in (1, None, 1):
        rig.leadership.now, rig.target.read_error = leads, UNREADABLE
        for _ in range(3):
            latest.report(rig.cycle())
    gaps = told(latest)
    assert [(gap.reason, gap.cycles) for gap in gaps if gap.cycles != 2] == [
        ("", 1),
        ("", 3),
        ("NotLeader", 1),
        ("NotLeader", 3),
        ("", 1),
        ("", 3),
    ]

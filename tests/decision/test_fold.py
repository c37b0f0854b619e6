"""Lines that leave out what the line before implies, and the very same records from them."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.decision.decide import decide, remember
from autoscaler.decision.fold import Folder, Gap, Unfolder
from autoscaler.decision.model import Recommendation, ScalingState
from autoscaler.decision.record import Outcome, Record, from_json, to_json
from autoscaler.decision.words import Mode
from tests.decision.build import FREE, Story, at, policy, running, seconds, seen
from tests.decision.test_properties import histories, observations, policies

TARGETS = ("llm/a", "llm/b")


def record_of(own, state, observation, verdict, *, target="llm/ollama", outcome=Outcome.HELD):
    """Return a cycle's record."""
    return Record(
        target=target,
        policy=own,
        observation=observation,
        state=state,
        steps=verdict.steps,
        decision=verdict.decision,
        outcome=outcome,
        mode=own.mode,
    )


def gap(now=0.0, error="connection refused", target="llm/ollama", **rest):
    """Return a cycle that came to nothing."""
    return Gap(target=target, now=at(now), outcome=Outcome.FAILED, reason="", error=error, **rest)


def quiet(count, step=5.0, **rest):
    """Return the records of cycles in which nothing happens."""
    story, told = Story(policy(down_stabilization_window=seconds(300)), 2), []
    for number in range(count):
        before = story.state
        observation = seen(2, now=step * number, queue=1.6, pods=running("a", "b"), **rest)
        verdict = story.cycle(step * number, queue=1.6, pods=running("a", "b"), **rest)
        told.append(record_of(story.policy, before, observation, verdict))
    return told


def through_text(lines):
    """Return lines as a reader gets them."""
    return [json.loads(json.dumps(line, allow_nan=False)) for line in lines]


def there_and_back(cycles):
    """Fold cycles into one file's lines, and unfold them."""
    folder, unfolder = Folder(), Unfolder()
    lines = [line for cycle in cycles for line in folder.lines(cycle)]
    return [unfolder.unfold(line) for line in through_text([*lines, *folder.rest()])]


# --- nothing is lost ----------------------------------------------------------------------------


@st.composite
def files(draw):
    """Return cycles of two targets in any order: histories, odd states, changed policies, gaps."""
    cycles = []
    for target in TARGETS:
        now_s, own, state = 0, draw(policies()), ScalingState()
        for _ in range(draw(st.integers(0, 6))):
            now_s += draw(st.integers(1, 400))
            kind = draw(st.sampled_from(["cycle"] * 6 + ["gap", "restart", "policy", "odd"]))
            if kind == "gap":
                cycles.append(gap(now_s, draw(st.sampled_from(["a", "b"])), target))
                continue
            own = draw(policies()) if kind == "policy" else own
            if kind == "restart":
                state = ScalingState()
            elif kind == "odd":
                odd = decide(own, ScalingState(), draw(observations(now_s + 1))).state
                some = draw(st.sets(st.sampled_from([f.name for f in fields(ScalingState)])))
                state = replace(state, **{name: getattr(odd, name) for name in some})
            observation = draw(observations(now_s))
            verdict = decide(own, state, observation)
            outcome = draw(st.sampled_from(Outcome))
            told = record_of(own, state, observation, verdict, target=target, outcome=outcome)
            cycles.append(told)
            state = verdict.state
            if outcome is Outcome.SCALED:
                moved = verdict.decision.to - verdict.decision.from_
                state = remember(own, state, moved, observation.now)
    order = draw(st.permutations(range(len(cycles)))) if draw(st.booleans()) else None
    return cycles if order is None else [cycles[place] for place in order]


@settings(max_examples=40)  # each of them is many cycles
@given(files())
def test_every_record_comes_back_as_it_was(cycles):
    """Whatever order of cycles, targets, states, policies and gaps: to the letter."""
    back = [each for each in there_and_back(cycles) if isinstance(each, Record)]
    there = [each for each in cycles if isinstance(each, Record)]
    assert [to_json(each) for each in back] == [to_json(each) for each in there]


@settings(max_examples=20)
@given(histories(), st.data())
def test_each_place_may_be_the_first_of_a_file(history, data):
    """Whoever begins anew anywhere loses nothing of what follows."""
    own, cycles = history
    records = [record_of(own, *cycle) for cycle in cycles]
    place = data.draw(st.integers(0, len(records)))
    folder = Folder()
    lines = []
    for number, record in enumerate(records):
        if number == place:
            folder.begin_anew()
        lines += folder.lines(record)
    unfolder = Unfolder()
    back = [unfolder.unfold(line) for line in through_text(lines[place:])]
    assert [to_json(each) for each in back] == [to_json(each) for each in records[place:]]


def test_what_was_read_from_text_is_folded_the_same():
    """A record that went through JSON is as good as the daemon's own."""
    again = [from_json(Record, to_json(record)) for record in quiet(4)]
    fold, other = Folder(), Folder()
    assert [fold.fold(r) for r in quiet(4)] == [other.fold(r) for r in again]


# --- little is written --------------------------------------------------------------------------


def test_a_quiet_cycle_is_what_was_seen_and_nothing_else():
    """Neither policy, state, pods, steps nor decision, as long as all of them stay."""
    folder = Folder()
    first, second, *rest = [folder.fold(record) for record in quiet(5)]
    assert first == to_json(quiet(1)[0])
    assert set(second["state"]) == {"recommendations"}  # it had none before its first cycle
    for line in rest:
        assert set(line) == {"version", "target", "observation", "outcome", "mode"}
        assert "pods" not in line["observation"]
        assert 4 * len(json.dumps(line)) < len(json.dumps(first))


def test_only_what_differs_in_the_state_is_written():
    """After a write the event and its time; the window's old entries by their places."""
    own = policy(
        down_stabilization_window=seconds(300), up_policies=(), up_stabilization_window=seconds(0)
    )
    story, folder, lines = Story(own, 2), Folder(), []
    for number, queue in enumerate((1.6, 8.0, 4.0, 4.0, 2.4)):
        before, current = story.state, story.current
        verdict = story.cycle(5.0 * number, queue=queue)
        observation = seen(current, now=5.0 * number, queue=queue)
        lines.append(folder.fold(record_of(own, before, observation, verdict)))
    assert set(lines[2]["state"]) == {"recommendations", "last_up"}
    assert lines[2]["state"]["last_up"] == to_json(at(5))
    lull = {"at": to_json(at(10)), "replicas": 5}
    assert lines[3]["state"] == {"recommendations": [0, 1, lull]}
    assert "state" not in lines[4]


def test_without_folding_each_line_is_whole():
    """For those who may have missed what came before."""
    folder = Folder(folds=False)
    for record in quiet(3):
        assert folder.lines(record) == (to_json(record),)


def test_a_target_that_has_gone_is_forgotten():
    """When it comes back, its first record is whole; another's is not touched."""
    folder = Folder()
    one, two, three = quiet(3)
    folder.fold(one)
    folder.fold(replace(one, target="llm/other"))
    folder.forget("llm/ollama")
    assert "policy" in folder.fold(two)
    assert "policy" not in folder.fold(replace(three, target="llm/other"))


# --- gaps ---------------------------------------------------------------------------------------


def test_a_stretch_of_gaps_is_told_by_few_lines():
    """The first, each time that it has become twice as long, and the last before what ends it."""
    cycles = [gap(5.0 * number) for number in range(100)]
    (record,) = quiet(1)
    told = there_and_back([*cycles, replace(record, observation=seen(2, now=500.0))])
    assert [each.cycles for each in told[:-1]] == [1, 2, 4, 8, 16, 32, 64, 100]
    assert told[-2].now == at(495)
    assert isinstance(told[-1], Record)


def test_a_gap_of_another_kind_ends_the_stretch():
    """Each kind has a first line and a last one."""
    cycles = [gap(0), gap(5), gap(10), gap(15, "timeout"), gap(20)]
    told = [(each.error, each.cycles) for each in there_and_back(cycles)]
    assert told == [
        ("connection refused", 1),
        ("connection refused", 2),
        ("connection refused", 3),
        ("timeout", 1),
        ("connection refused", 1),
    ]


def test_a_stretch_that_goes_on_at_the_end_can_be_told():
    """By the last line of a process that stops."""
    folder = Folder()
    for number in range(3):
        folder.lines(gap(number))
    assert [line["cycles"] for line in folder.rest()] == [3]
    assert folder.rest() == ()


def test_a_gap_interrupts_no_folding():
    """What follows refers to the record before the gap."""
    one, two, _ = quiet(3)
    told = there_and_back([one, gap(2), two])
    assert told == [one, gap(2), two]


# --- what is no line ----------------------------------------------------------------------------


@pytest.fixture
def folded():
    """Return the lines of three records, the third as short as can be."""
    folder = Folder()
    return through_text([folder.fold(record) for record in quiet(3)])


def unfold(*lines):
    """Unfold lines from the start of a file; return the last."""
    unfolder = Unfolder()
    return [unfolder.unfold(line) for line in lines][-1]


def test_a_line_that_refers_to_none_is_refused(folded):
    """It would be given another record's policy, or none."""
    with pytest.raises(ValueError, match=r"^policy is missing, .* no whole record of llm/ollama"):
        unfold(folded[1])
    unfolder = Unfolder()
    unfolder.unfold(folded[0])
    unfolder.begin_anew()
    with pytest.raises(ValueError, match="policy is missing"):
        unfolder.unfold(folded[1])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"outcome": "held?"}, 'outcome = "held\\?", must be one of'),
        ({"strange": 1}, "strange = 1, unknown key"),
        ({"version": 2}, "version = 2, must be 1"),
        ({"observation": 3}, "observation = 3, must be an object"),
        ({"state": []}, "state = \\[\\], must be an object"),
        ({"state": {"x": 1}}, "state.x = 1, unknown key"),
        ({"state": {"recommendations": 1}}, "state.recommendations = 1, must be a list"),
        ({"state": {"recommendations": [7]}}, r"state.recommendations\[0\] = 7, must be 0..0"),
        ({"state": {"recommendations": [-1]}}, r"state.recommendations\[0\] = -1, must be"),
        ({"state": {"recommendations": [True]}}, r"state.recommendations\[0\] = true, must be"),
        ({"steps": [1]}, r"steps\[0\] = 1, must be an object"),
        ({"decision": {}}, "decision.from is missing"),
        ({"target": 5}, "target = 5, must be a string"),
    ],
)
def test_a_wrong_line_is_refused_by_its_path(folded, change, told):
    """With the value and the rule, as every other value."""
    with pytest.raises(ValueError, match=f"^{told}"):
        unfold(*folded[:2], folded[2] | change)


@pytest.mark.parametrize("key", ["target", "observation", "outcome", "mode"])
def test_what_is_never_left_out_must_be_there(folded, key):
    """A line that lacks it was not written by a Folder."""
    line = {name: value for name, value in folded[2].items() if name != key}
    with pytest.raises(ValueError, match=f"^{key} is missing, must be given"):
        unfold(*folded[:2], line)


@pytest.mark.parametrize("data", [None, 3, "text", [1]])
def test_what_is_no_object_is_refused(data):
    """Whatever JSON has to offer."""
    with pytest.raises(ValueError, match=r"^the line = .*, must be an object"):
        unfold(data)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 2}, "version = 2, must be 1"),
        ({"cycles": 0}, "cycles = 0, must be at least 1"),
        ({"now": "2026-11-23T10:00:00"}, "now = .*, must have a zone"),
        ({"more": 0}, "more = 0, unknown key"),
    ],
)
def test_a_wrong_gap_is_refused(change, told):
    """As a record is."""
    with pytest.raises(ValueError, match=f"^{told}"):
        unfold(to_json(gap()) | change)


def test_the_first_state_of_a_target_is_no_special_case():
    """An empty window has no newest entry."""
    (record,) = quiet(1)
    later = replace(record, observation=seen(2, now=5.0), mode=Mode.SHADOW)
    odd = replace(
        later, state=ScalingState(recommendations=(Recommendation(at=at(1), replicas=3),))
    )
    assert there_and_back([record, later, odd]) == [record, later, odd]
    assert FREE.mode is Mode.ACT

"""Records are read: whole, folded, cut, of other versions; from one file or from rotated ones."""

import json
from collections import Counter
from pathlib import Path

import pytest

from autoscaler import records
from autoscaler.adapters.records import as_text
from autoscaler.decision.decide import decide
from autoscaler.decision.fold import Folder
from autoscaler.decision.record import to_json
from autoscaler.decision.words import Reason
from autoscaler.errors import InputError
from autoscaler.records import Entry, read, read_files
from tests.cycles import Rig

KEPT = sorted((Path(__file__).parent / "records").glob("*.jsonl"))
"""Files that daemons and commands have written, of every form there was."""


def life(count):
    """Return the records of cycles in a row."""
    rig = Rig()
    return [rig.cycle(1.6).record for _ in range(count)]


@pytest.fixture
def lines():
    """Return the lines of four records: one whole, three folded."""
    folder = Folder()
    return [as_text(folder.lines(record)) for record in life(4)]


def refusal(lines):
    """Return why lines are refused."""
    with pytest.raises(InputError) as caught:
        list(read(lines))
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


# --- what was written once ----------------------------------------------------------------------


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in KEPT])
def test_whatever_was_written_once_decides_again(path):
    """Each record of each form gives the same decision by the same steps."""
    told = [entry.record for entry in read_files(path) if entry.record]
    assert len(told) >= 5
    for record in told:
        verdict = decide(record.policy, record.state, record.observation)
        assert (verdict.decision, verdict.steps) == (record.decision, record.steps)
    print(f"{path.name}: {len(told)} records decide again to the same")  # noqa: T201 - for -s


def test_the_folded_file_says_what_the_whole_one_says():
    """To the letter, whatever the rules have become since."""
    whole, folded = (
        [entry.record or entry.gap for entry in read_files(path)]
        for path in (KEPT[0].with_name("v1.jsonl"), KEPT[0].with_name("v1-folded.jsonl"))
    )
    assert [to_json(each) for each in folded] == [to_json(each) for each in whole]


def test_every_reason_stands_in_what_was_kept():
    """But for the one that no cycle gives as long as there is a mode for it."""
    steps = Counter()
    for path in KEPT:
        for entry in read_files(path):
            steps.update({entry.gap.reason} if entry.gap else ())
            steps.update(step.reason for step in (entry.record.steps if entry.record else ()))
    assert set(Reason) - set(steps) == {Reason.SHADOW}


# --- lines --------------------------------------------------------------------------------------


def test_folded_lines_are_whole_again(lines):
    """With the number of each line."""
    assert list(read(lines)) == [
        Entry(line=number, record=record) for number, record in enumerate(life(4), start=1)
    ]


def test_a_gap_is_an_entry_of_its_own():
    """The cycle had nothing to decide by, and says why."""
    line = b'{"version":1,"target":"llm/ollama","now":"2026-11-23T10:00:05Z","outcome":"failed",'
    (entry,) = read([line + b'"reason":"","error":"connection refused"}\n'])
    assert (entry.record, entry.gap.error, entry.gap.cycles) == (None, "connection refused", 1)


@pytest.mark.parametrize("cut", [1, 2, 30, 200, -30, -2])
def test_a_last_line_that_was_cut_is_dropped(lines, cut):
    """Wherever the writing ended."""
    told = list(read([*lines[:3], lines[3][:cut]]))
    assert [entry.record for entry in told] == life(3)


def test_a_last_line_that_only_lacks_its_end_is_whole(lines):
    """A brace that closes all of them is an end, too."""
    assert len(list(read([*lines[:3], lines[3].rstrip()]))) == 4


@pytest.mark.parametrize("spoilt", [b'{"version":1,"tar\n', b"\0\0\0\0\n", b'\0\0\0{"a":1}\n'])
def test_a_cut_line_is_dropped_where_the_next_daemon_began_anew(lines, spoilt):
    """Killed, or without power in the middle of it."""
    told = list(read([*lines[:2], spoilt, b"\n", *lines]))
    assert [entry.record for entry in told] == [*life(2), *life(4)]
    assert told[2].line == 5


def test_what_is_folded_on_a_cut_line_is_refused(lines):
    """Somebody else must have cut it: what it stood for is not known."""
    told = refusal([lines[0], lines[1][:50] + b"\n", lines[2]])
    assert told.startswith(
        "line 3: policy is missing, must be given: no whole record of llm/ollama"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"nonsense\n", "line 5: not JSON: Expecting value"),
        (b'{"version": 1} 2\n', "line 5: not JSON: Extra data"),
        (b'{"a": \xff}\n', "line 5: not JSON: 'utf-8' codec"),
        (b"[" * 100_000 + b"\n", "line 5: not JSON: nested too deeply"),
        (b"3\n", "line 5: the line = 3, must be an object"),
        (b'{"version": 1, "event": "cycle"}\n', "line 5: target is missing"),
        (b'{"version": 2}\n', "line 5: version = 2, must be 1: another autoscaler wrote it"),
        (b'{"version": "new"}\n', 'line 5: version = "new", must be 1'),
        (b'{"version": [1]}\n', "line 5: version = list of 1, must be 1"),
    ],
)
def test_any_other_wrong_line_is_refused_by_its_number(lines, line, told):
    """With what is wrong and what would be right."""
    assert refusal([*lines, line, *lines]).startswith(told)


# --- versions -----------------------------------------------------------------------------------


def test_a_line_of_an_older_version_is_made_one_of_the_present(lines, monkeypatch):
    """Step by step, each by the table's function for its version."""

    def from_0(data):
        data["outcome"] = data.pop("result")
        return data | {"version": 1}

    def from_minus_1(data):
        return data | {"version": 0, "result": data.pop("ending")}

    old = json.loads(lines[0])
    old |= {"version": -1, "ending": old.pop("outcome")}
    text = json.dumps(old).encode() + b"\n"
    assert refusal([text]).startswith("line 1: version = -1, must be 1")
    monkeypatch.setattr(records, "MIGRATIONS", {0: from_0, -1: from_minus_1})
    assert [entry.record for entry in read([text, *lines[1:]])] == life(4)
    assert "must be -1 or 0 or 1" in refusal([b'{"version": 2}\n'])


# --- files --------------------------------------------------------------------------------------


def write(path, told):
    """Write a file of whole records and return its path."""
    path.write_bytes(as_text(to_json(record) for record in told))
    return path


def test_rotated_files_come_first_the_oldest_at_the_beginning(tmp_path):
    """By their numbers, whatever else lies there."""
    path, told = tmp_path / "records.jsonl", life(12)
    write(path, told[11:])
    for number in range(1, 12):
        write(tmp_path / f"records.jsonl.{number}", told[11 - number :][:1])
    for name in ("records.jsonl.gz", "records.jsonl.1.bak", "records.jsonl.0", "xrecords.jsonl.1"):
        (tmp_path / name).write_text("nonsense")
    assert [entry.record for entry in read_files(path)] == told


def test_between_two_steps_of_a_rotation_the_rotated_ones_are_enough(tmp_path):
    """The live file is put aside before there is a new one."""
    told = life(2)
    write(tmp_path / "records.jsonl.1", told)
    assert [entry.record for entry in read_files(tmp_path / "records.jsonl")] == told


def test_a_file_that_is_rotated_meanwhile_is_read_once(tmp_path, monkeypatch):
    """The daemon goes on while somebody asks why."""
    path, told = tmp_path / "records.jsonl", life(3)
    write(path, told[2:])
    write(tmp_path / "records.jsonl.1", told[1:2])
    write(tmp_path / "records.jsonl.2", told[:1])
    opened, open_file = [], Path.open

    def rotate_after_the_first(self, *arguments, **options):
        file = open_file(self, *arguments, **options)
        opened.append(self)
        if len(opened) == 1:
            for number in (2, 1):
                numbered = tmp_path / f"records.jsonl.{number}"
                numbered.rename(tmp_path / f"records.jsonl.{number + 1}")
            path.rename(tmp_path / "records.jsonl.1")
            write(path, [])
        return file

    monkeypatch.setattr(Path, "open", rotate_after_the_first)
    assert [entry.record for entry in read_files(path)] == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none.jsonl", "none.jsonl: no such file, must be a file of records"),
        (".", "is a directory, must be a file of records"),
    ],
)
def test_a_file_that_is_not_there_is_an_error_of_input(tmp_path, name, told):
    """Told by its name."""
    with pytest.raises(InputError, match=told) as refusal:
        list(read_files(tmp_path / name))
    assert refusal.value.next_step.startswith("name another file: records.path ")


def test_the_folder_that_one_is_in_is_refused_likewise():
    """It has no name of its own that rotated files could be named after."""
    with pytest.raises(InputError, match=r"^\.: is a directory, must be a file of records$"):
        list(read_files(Path()))


def test_a_wrong_line_is_told_with_its_file(tmp_path):
    """Rotated ones have line numbers of their own."""
    path = write(tmp_path / "records.jsonl", life(1))
    (tmp_path / "records.jsonl.1").write_text("\nnonsense\n")
    with pytest.raises(InputError, match=r"records\.jsonl\.1: line 2: not JSON") as refusal:
        list(read_files(path))
    assert refusal.value.next_step.startswith(f"sed -n 2p {path}.1 shows the line")

"""Records on disk, rotated; and on standard output."""

import json
import os
import resource
import signal
import stat
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from threading import Thread

import pytest

from autoscaler.adapters import records as module
from autoscaler.adapters.records import RecordsFile, RecordsStream, why_not
from autoscaler.decision.record import Record, from_json
from autoscaler.errors import TargetReadError
from autoscaler.records import read, read_files
from tests.cycles import START, STEP, UNREADABLE, Rig, report_of


@pytest.fixture
def complaints():
    """Return the list that complaints go to."""
    return []


def life(count=10, target="llm/ollama"):
    """Return the reports of cycles in a row."""
    rig = Rig()
    return [replace(rig.cycle(1.6), target=target) for _ in range(count)]


def kept(path):
    """Return all records, and the times of all gaps, as a reader finds them."""
    return [each.record or each.gap.now for each in read_files(path)]


def begins_whole(path):
    """Tell whether a file can be read without any other."""
    lines = path.read_bytes().splitlines(keepends=True)
    return len(list(read(lines))) == len(lines)


def test_a_record_goes_to_disk_and_back(tmp_path, complaints):
    """The line is the record, whole, as soon as the cycle is over."""
    path = tmp_path / "records.jsonl"
    report = report_of(4.0)
    RecordsFile(path, complaints.append).report(report)
    (line,) = path.read_text().splitlines()
    assert from_json(Record, json.loads(line)) == report.record


def test_records_are_added(tmp_path, complaints):
    """A new daemon goes on where the last one stopped; nothing is overwritten."""
    path = tmp_path / "records.jsonl"
    for _ in range(2):
        records = RecordsFile(path, complaints.append)
        records.report(report_of(4.0))
        records.report(report_of(float("nan")))
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 4


def test_a_cycle_without_a_decision_leaves_a_short_line(tmp_path, complaints):
    """There is nothing to replay, but something to tell."""
    path = tmp_path / "records.jsonl"
    RecordsFile(path, complaints.append).report(report_of(read_error=UNREADABLE))
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "version": 1,
        "target": "llm/ollama",
        "now": "2026-11-23T10:00:05Z",
        "outcome": "failed",
        "reason": "",
        "error": str(UNREADABLE),
        "cycles": 1,
    }


def test_an_outage_is_a_few_lines(tmp_path, complaints):
    """Its beginning, its end, and the decision that follows."""
    path, rig = tmp_path / "records.jsonl", Rig()
    records = RecordsFile(path, complaints.append)
    rig.target.read_error = UNREADABLE
    for _ in range(100):
        records.report(rig.cycle())
    rig.target.read_error = None
    records.report(rig.cycle())
    entries = list(read_files(path))
    assert [entry.gap.cycles for entry in entries[:-1]] == [1, 2, 4, 8, 16, 32, 64, 100]
    assert entries[-2].gap.now == START + 100 * STEP
    assert entries[-1].record.decision.reason == "WithinTolerance"


def test_the_end_of_the_process_tells_how_long_an_outage_has_been(tmp_path, complaints):
    """Where it stops before the outage does."""
    path, rig = tmp_path / "records.jsonl", Rig()
    records = RecordsFile(path, complaints.append)
    rig.target.read_error = TargetReadError("away")
    for _ in range(3):
        records.report(rig.cycle())
    records.close()
    records.close()
    assert [entry.gap.cycles for entry in read_files(path)] == [1, 2, 3]


def test_a_file_that_cannot_be_written_is_told_of_once(tmp_path, complaints):
    """Until it can be written again; then the next failure is news."""
    folder = tmp_path / "late"
    path = folder / "records.jsonl"
    records = RecordsFile(path, complaints.append)
    for _ in range(3):
        records.report(report_of())
    assert complaints == [f"records.path = {path}: No such file or directory"]
    folder.mkdir()
    records.report(report_of())
    path.unlink()
    folder.rmdir()
    records.report(report_of())
    assert len(complaints) == 2


def test_a_file_that_was_moved_is_made_anew(tmp_path, complaints):
    """Rotation needs no signal."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append)
    records.report(report_of())
    path.rename(tmp_path / "records.1")
    records.report(report_of())
    assert len(path.read_text().splitlines()) == 1


def test_a_pipe_that_nobody_reads_does_not_stop_the_loop(tmp_path, complaints):
    """Waiting for a reader would be waiting for ever."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    RecordsFile(path, complaints.append).report(report_of())
    assert len(complaints) == 1


def test_a_full_disk_spoils_one_line_at_most(tmp_path, complaints):
    """The next record begins on a line of its own."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        records.report(report_of())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    records.report(report_of(4.0))
    cut, whole = path.read_text().splitlines()
    assert len(cut) == 100
    assert json.loads(whole)["decision"]["to"] == 5
    assert len(complaints) == 1


def test_behind_a_spoilt_line_nothing_is_folded_on_it(tmp_path, complaints):
    """Nor behind a failure; so that what follows can be read."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append)
    first, lost, *rest = life(5)
    records.report(first)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 20)
    records.report(lost)
    for report in rest:
        records.report(report)
    assert kept(path) == [report.record for report in (lost, *rest)]
    assert complaints == []


def test_a_new_daemon_begins_on_a_line_of_its_own(tmp_path, complaints):
    """Behind one whose last line was cut when it crashed; that one alone is lost."""
    path = tmp_path / "records.jsonl"
    before, after = life(3), life(3)
    for report in before:
        RecordsFile(path, complaints.append).report(report)
    with path.open("ab") as file:
        file.write(path.read_bytes()[:500])
    records = RecordsFile(path, complaints.append)
    for report in after:
        records.report(report)
    assert kept(path) == [report.record for report in (*before, *after)]
    assert "\n\n" not in path.read_text()


@pytest.mark.parametrize("harm", ["cut to nothing", "removed", "moved", "written to"])
def test_whatever_is_done_to_the_file_what_follows_can_be_read(tmp_path, complaints, harm):
    """It begins with a whole record, in whatever is there then."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append)
    first, second, third, fourth = life(4)
    records.report(first)
    records.report(second)
    if harm == "cut to nothing":
        path.write_text("")
    elif harm == "removed":
        path.unlink()
    elif harm == "moved":
        path.rename(tmp_path / "elsewhere")
    else:
        RecordsFile(path, complaints.append).report(second)
    records.report(third)
    records.report(fourth)
    lines = path.read_text().splitlines()
    assert "policy" in json.loads(lines[-2])
    assert "policy" not in json.loads(lines[-1])
    assert kept(path)[-2:] == [third.record, fourth.record]


def test_targets_share_the_file(tmp_path, complaints):
    """Lines of several threads do not mix."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append)
    report = report_of()
    threads = [Thread(target=lambda: [records.report(report) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 80


# --- rotation -----------------------------------------------------------------------------------


def names(folder):
    """Return the names of the files there."""
    return sorted(path.name for path in folder.iterdir())


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path, complaints):
    """The files that are left hold the latest cycles, and each of them can be read alone."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append, max_size=3000, files=3)
    reports = life(100)
    for report in reports:
        records.report(report)
    assert names(tmp_path) == [path.name, *(f"{path.name}.{number}" for number in (1, 2, 3))]
    for file in tmp_path.iterdir():
        assert file.stat().st_size < 3000 + 2000
        assert begins_whole(file)
    told = kept(path)
    assert 10 < len(told) < 100
    assert told == [report.record for report in reports[-len(told) :]]


def test_each_target_is_whole_in_each_file(tmp_path, complaints):
    """Rotation begins anew for all of them, not only for the one that it happened to."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append, max_size=6000, files=9)
    for first, second in zip(life(40), life(40), strict=True):
        records.report(first)
        records.report(replace(second, record=replace(second.record, target="llm/other")))
    assert len(names(tmp_path)) > 3
    assert all(begins_whole(file) for file in tmp_path.iterdir())
    assert len(kept(path)) == 80


def test_fewer_files_than_before_are_kept_from_the_next_time_on(tmp_path, complaints):
    """What the settings do not speak of any more does not stay for ever."""
    path = tmp_path / "records.jsonl"
    for files in (5, 2):
        records = RecordsFile(path, complaints.append, max_size=2000, files=files)
        for report in life(60):
            records.report(report)
    assert names(tmp_path) == [path.name, f"{path.name}.1", f"{path.name}.2"]


class PowerCutError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("steps", range(6))
def test_a_rotation_may_end_anywhere(tmp_path, complaints, monkeypatch, steps):
    """No record is lost but those of the oldest file, and none stands twice."""
    path, done = tmp_path / "records.jsonl", []
    reports = life(100)
    every, crashed = [report.record for report in reports], None
    rename = Path.rename

    def fragile(self, target):
        if len(done) == steps:
            raise PowerCutError
        done.append(target)
        return rename(self, target)

    records = RecordsFile(path, complaints.append, max_size=3000, files=4)
    while not (tmp_path / f"{path.name}.4").exists():
        records.report(reports.pop(0))
    before = kept(path)
    monkeypatch.setattr(Path, "rename", fragile)
    with suppress(PowerCutError):
        while len(done) < 5:
            crashed = reports.pop(0).record
            records.report(replace(report_of(), record=crashed))
        crashed = None
    monkeypatch.undo()
    records = RecordsFile(path, complaints.append, max_size=3000, files=4)
    for _ in range(2):
        records.report(reports.pop(0))
    told = kept(path)
    every = [record for record in every[: len(every) - len(reports)] if record is not crashed]
    assert told == every[-len(told) :]
    assert len(told) > 0.7 * len(before)
    assert len(names(tmp_path)) <= 5


def test_a_file_that_cannot_be_put_aside_does_not_grow(tmp_path, complaints, monkeypatch):
    """It is told of once, and nothing is written until it can."""
    path = tmp_path / "records.jsonl"
    records = RecordsFile(path, complaints.append, max_size=1000, files=1)
    first, *rest = life(5)
    records.report(first)
    size = path.stat().st_size

    def refuse(self, target):
        raise OSError(16, "Device or resource busy")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        for report in rest[:-1]:
            records.report(report)
    assert path.stat().st_size == size
    assert complaints == [f"records.path = {path}: Device or resource busy"]
    records.report(rest[-1])
    assert kept(path) == [first.record, rest[-1].record]


def test_a_place_that_is_no_file_is_not_rotated(tmp_path, complaints):
    """A pipe has no size, and its lines are folded as in a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    records = RecordsFile(path, complaints.append, max_size=1, files=1)
    reports = life(3)
    for report in reports:
        records.report(report)
    with os.fdopen(reader, "rb") as file:
        told = list(read(file.read().splitlines()))
    assert [entry.record for entry in told] == [report.record for report in reports]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert complaints == []


def test_what_a_target_left_is_not_kept_in_mind(tmp_path, complaints):
    """A daemon whose targets come and go does not grow by it."""
    records = RecordsFile(tmp_path / "records.jsonl", complaints.append)
    (report,) = life(1)
    records.report(report)
    records.forget("llm/ollama")
    assert records._folder._records == {}


# --- standard output ----------------------------------------------------------------------------


def test_standard_output_has_whole_records(complaints):
    """Whoever follows it may come late, and whatever collects it may drop lines."""
    out = StringIO()
    records = RecordsStream(out, complaints.append)
    reports = life(3)
    for report in reports:
        records.report(report)
    lines = out.getvalue().splitlines()
    assert [from_json(Record, json.loads(line)) for line in lines] == [r.record for r in reports]


def test_an_outage_is_a_few_lines_there_too(complaints):
    """A standby says so for weeks."""
    out, rig = StringIO(), Rig()
    records = RecordsStream(out, complaints.append)
    rig.leadership.now = None
    for _ in range(100):
        records.report(rig.cycle())
    gaps = [entry.gap for entry in read(out.getvalue().encode().splitlines())]
    assert [gap.cycles for gap in gaps] == [1, 2, 4, 8, 16, 32, 64]
    assert {gap.reason for gap in gaps} == {"NotLeader"}


def test_lines_that_nobody_took_are_counted(complaints):
    """The log says how many, once it goes on."""
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as out:
        records = RecordsStream(out, complaints.append)
        records._lines._lose()
        records.report(report_of())
        records.close()
        assert complaints == ["records.path = -: 1 lines were lost"]
        assert module.as_text([{"a": 1}]) == b'{"a":1}\n'
    os.close(read_end)


# --- before the start ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/proc/records.jsonl", "No such file or directory"),
        ("/nowhere/records.jsonl", "No such file or directory"),
        ("/", "Is a directory"),
        ("/dev/null/records.jsonl", "Not a directory"),
    ],
)
def test_a_place_where_no_record_can_be_kept_is_known_before(path, told):
    """By the reason that the daemon would tell."""
    assert why_not(Path(path)) == told


def test_looking_at_a_place_changes_nothing(tmp_path):
    """No file is left behind, and none is touched."""
    path = tmp_path / "records.jsonl"
    assert why_not(path) == ""
    assert list(tmp_path.iterdir()) == []
    path.write_text("a\n")
    assert why_not(path) == ""
    assert path.read_text() == "a\n"

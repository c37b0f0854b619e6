"""Records on disk."""

import json
import os
import resource
import signal
from pathlib import Path
from threading import Thread

import pytest

from autoscaler.adapters.records import RecordsFile, why_not
from autoscaler.decision.record import Record, from_json
from tests.cycles import UNREADABLE, report_of


@pytest.fixture
def complaints():
    """Return the list that complaints go to."""
    return []


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


def test_a_cycle_without_a_decision_leaves_no_line(tmp_path, complaints):
    """There is nothing to replay."""
    path = tmp_path / "records.jsonl"
    RecordsFile(path, complaints.append).report(report_of(read_error=UNREADABLE))
    assert not path.exists()


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

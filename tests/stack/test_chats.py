"""The backup of chats, on a database that is being written to meanwhile."""

import io
import os
import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.stack.builds import ROOT

SCRIPT = ROOT / "deploy" / "open-webui" / "chats.py"


def _run(data, *arguments, given=b"", output=subprocess.PIPE):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env={**os.environ, "DATA_DIR": str(data)},
        input=given,
        stdout=output,
        stderr=subprocess.PIPE,
        check=False,
    )


def _connect(data):
    database = sqlite3.connect(data / "webui.db", timeout=30)
    database.execute("PRAGMA journal_mode=WAL")
    return database


@pytest.fixture
def data(tmp_path):
    """Make a data folder with one pair of rows and one upload."""
    folder = tmp_path / "data"
    (folder / "uploads" / "deep").mkdir(parents=True)
    (folder / "uploads" / "deep" / "note.txt").write_text("kept")
    with closing(_connect(folder)) as database, database:
        database.execute("CREATE TABLE chat (name TEXT)")
        database.executemany("INSERT INTO chat VALUES (?)", [("a",), ("a again",)])
    return folder


def _chats(data):
    with closing(_connect(data)) as database:
        return [name for (name,) in database.execute("SELECT name FROM chat ORDER BY rowid")]


def test_what_was_backed_up_comes_back(data):
    """Later chats and a lost upload are as they were at the backup, seen by an open connection."""
    saved = _run(data, "backup")
    assert (saved.returncode, saved.stderr) == (0, b"")
    with closing(_connect(data)) as held:
        with held:
            held.execute("INSERT INTO chat VALUES ('later')")
        (data / "uploads" / "deep" / "note.txt").unlink()
        restored = _run(data, "restore", given=saved.stdout)
        assert restored.returncode == 0, restored.stderr
        assert held.execute("SELECT count(*) FROM chat").fetchone() == (2,)
    assert _chats(data) == ["a", "a again"]
    assert (data / "uploads" / "deep" / "note.txt").read_text() == "kept"
    assert sorted(path.name for path in data.iterdir() if path.is_dir()) == ["uploads"]


def test_backup_is_whole_while_somebody_writes(data):
    """Rows that are written in pairs are never backed up as half a pair."""
    ending = threading.Event()

    def write():
        with closing(_connect(data)) as database:
            number = 0
            while not ending.is_set():
                number += 1
                with database:
                    database.execute("INSERT INTO chat VALUES (?)", (f"{number} first",))
                    database.execute("INSERT INTO chat VALUES (?)", (f"{number} second",))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [_run(data, "backup").stdout for _ in range(5)]
    finally:
        ending.set()
        writer.join()
    sizes = []
    for number, copy in enumerate(copies):
        other = data.parent / str(number)
        with tarfile.open(fileobj=io.BytesIO(copy)) as archive:
            archive.extractall(other, filter="data")
        sizes.append(len(_chats(other)))
    assert all(size % 2 == 0 for size in sizes)
    assert sizes[-1] > sizes[0]


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        pytest.param((), b"", "say backup", id="no command"),
        pytest.param(("restore",), b"no tar file", "restore failed", id="not a tar file"),
        pytest.param(("restore",), "other", "has no webui.db", id="another tar file"),
        pytest.param(("restore",), "damaged", "restore failed", id="not a database"),
    ],
)
def test_what_cannot_be_restored_changes_nothing(data, arguments, given, message):
    """A wrong command or file is refused on one line with code 2, and the chats stay."""
    if isinstance(given, str):
        given = _tar({"other": "else.db", "damaged": "webui.db"}[given])
    told = _run(data, *arguments, given=given)
    assert told.returncode == 2
    assert message in told.stderr.decode()
    assert told.stderr.count(b"\n") == 1
    assert _chats(data) == ["a", "a again"]


def test_nothing_to_back_up_is_said(tmp_path):
    """Before anybody has signed up there is no database, and no empty archive either."""
    told = _run(tmp_path, "backup")
    assert (told.returncode, told.stdout) == (2, b"")
    assert b"nobody has signed up" in told.stderr


def test_a_backup_that_could_not_be_written_is_not_to_be_kept(data):
    """Where its output breaks off, it says so on one line and ends with code 2."""
    with Path("/dev/full").open("wb") as full:
        told = _run(data, "backup", output=full)
    assert told.returncode == 2
    assert told.stderr.startswith(b"chats: backup failed, throw away what it wrote: ")
    assert told.stderr.count(b"\n") == 1
    assert sorted(path.name for path in data.iterdir() if path.is_dir()) == ["uploads"]


def _tar(name):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        content = b"not a database, but long enough to look at" * 100
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return held.getvalue()

"""Back up and restore Open WebUI's accounts, chats, settings and uploads, while it runs.

kubectl -n llm exec deploy/open-webui -- python3 /scripts/chats.py backup > chats.tar
kubectl -n llm exec -i deploy/open-webui -- python3 /scripts/chats.py restore < chats.tar

The database is copied through SQLite itself, in both directions, so a copy is whole whatever is
being written meanwhile. After a restore, restart the Deployment: it remembers what it has read.
"""

import os
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

DATABASE, UPLOADS = "webui.db", "uploads"


def main() -> int:
    """Run the command; 0, or 2 with one line where it cannot."""
    data = Path(os.environ["DATA_DIR"])
    name = " ".join(sys.argv[1:])
    command = {"backup": backup, "restore": restore}.get(name)
    if command is None:
        return _fail("say backup (a tar file to standard output) or restore (from standard input)")
    try:
        return command(data)
    except (OSError, sqlite3.Error, tarfile.TarError) as error:
        left = {"backup": "throw away what it wrote", "restore": "the chats are as they were"}
        return _fail(f"{name} failed, {left[name]}: {error}")


def backup(data: Path) -> int:
    """Write a tar file to standard output."""
    if not (data / DATABASE).exists():
        return _fail(f"{data / DATABASE}: no such file, so nobody has signed up yet")
    with tempfile.TemporaryDirectory(dir=data) as folder:
        copied = Path(folder, DATABASE)
        _copy(data / DATABASE, copied)
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
            archive.add(copied, DATABASE)
            if (data / UPLOADS).is_dir():
                archive.add(data / UPLOADS, UPLOADS)
    return 0


def restore(data: Path) -> int:
    """Read a tar file from standard input, and let it take the place of what is there."""
    with tempfile.TemporaryDirectory(dir=data) as folder:
        with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
            archive.extractall(folder, filter="data")
        new = Path(folder)
        if not (new / DATABASE).exists():
            return _fail(f"standard input has no {DATABASE}, must be what `backup` wrote")
        with closing(sqlite3.connect(new / DATABASE)) as database:
            told = database.execute("PRAGMA integrity_check").fetchone()[0]
        if told != "ok":
            return _fail(f"the {DATABASE} in it is damaged: {told}")
        for source in sorted((new / UPLOADS).rglob("*")):
            target = data / UPLOADS / source.relative_to(new / UPLOADS)
            if source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
        _copy(new / DATABASE, data / DATABASE)
    sys.stderr.write("restored; now: kubectl -n llm rollout restart deploy/open-webui\n")
    return 0


def _copy(source: Path, target: Path) -> None:
    """Copy a database as one transaction of the target, waiting for whoever writes."""
    with (
        closing(sqlite3.connect(source, timeout=30)) as old,
        closing(sqlite3.connect(target, timeout=30)) as new,
    ):
        old.backup(new)


def _fail(message: str) -> int:
    sys.stderr.write(f"chats: {message}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""What fetches the models and what loads the first one, with a stand-in for Ollama.

The same with the real one: test_ollama.py.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack.builds import ROOT

SCRIPTS = ROOT / "deploy" / "ollama"

STAND_IN = r"""#!/bin/sh
# Not Ollama: a model is a file in the volume, and every call is written down.
echo "$*" >>"$CALLS"
model=$OLLAMA_MODELS/$(echo "${2:-}" | tr / _)
case $1 in
serve)
    [ -z "${BROKEN:-}" ] || { echo "Error: no space left for the key" >&2; exit 1; }
    exec sleep 1000
    ;;
list)
    [ -z "${BROKEN:-}" ] || exit 1
    echo NAME; ls "$OLLAMA_MODELS"
    ;;
rm) rm "$model" ;;
show) [ -e "$model" ] || { echo "Error: ${WORDS:-model '$2' not found}" >&2; exit 1; } ;;
run)
    [ -z "${BROKEN:-}" ] || { printf '\033[1G\342\240\213 \033[KError: no memory\n' >&2; exit 1; }
    ;;
pull)
    case $2 in absent*) echo "Error: file does not exist" >&2; exit 1 ;; esac
    for part in ' 7' ' 7' 12 30 100 100; do
        printf '\033[?2026h\033[?25l\033[A\033[1Gpulling manifest \033[K\n' >&2
        printf 'pulling 74701a8c35f6: %s%% \342\226\225\342\226\210  \342\226\217 ' "$part" >&2
        printf ' 160 MB/1.3 GB   24 MB/s     48s\033[K\033[?25h\033[?2026l' >&2
        [ -z "${HANGS:-}" ] || exec sleep 1000
        sleep "${PAUSE:-0}"
    done
    printf '\033[1Gverifying sha256 digest \342\240\213 \033[K\nsuccess \033[K\n' >&2
    : >"$model"
    ;;
esac
"""


class Container:
    """A volume, a list of models, and what is called in the place of Ollama."""

    def __init__(self, directory: Path):
        self.volume = directory / "models"
        self.list = directory / "models.txt"
        self._calls = directory / "calls"
        self._started: list[subprocess.Popen[str]] = []
        programs = directory / "bin"
        for made in (self.volume, programs, directory / "tmp"):
            made.mkdir()
        (programs / "ollama").write_text(STAND_IN)
        (programs / "ollama").chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "TMPDIR": str(directory / "tmp"),
            "OLLAMA_MODELS": str(self.volume),
            "CALLS": str(self._calls),
            "PULL_DELAY": "0",
        }

    def start(self, script: str, **environment: str) -> subprocess.Popen[str]:
        """Run a script, in a process group of its own."""
        process = subprocess.Popen(
            ["sh", SCRIPTS / script, self.list],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(self, script: str, listed: str, **environment: str) -> tuple[int, list[str]]:
        """Run a script with a list to its end; answers its exit code and its lines."""
        self.list.write_text(listed)
        process = self.start(script, **environment)
        output, _ = process.communicate(timeout=30)
        until(lambda: not alive(process))
        return process.returncode, output.splitlines()

    def remove(self) -> None:
        """Leave nothing behind, whatever a test found."""
        for process in self._started:
            if alive(process):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def calls(self, verb: str = "") -> list[str]:
        """Tell how Ollama was called."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line for line in lines if line.startswith(verb)]


@pytest.fixture
def container(tmp_path) -> Iterator[Container]:
    """Make a container with an empty volume."""
    made = Container(tmp_path)
    yield made
    made.remove()


def alive(process: subprocess.Popen[str]) -> bool:
    """Tell whether anything that the script started is still there."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition, within_s: float = 10.0):
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


# --- pull.sh


def test_what_is_listed_and_not_there_is_fetched(container):
    """Comments, empty lines and a last line without an end are read as one would expect."""
    (container.volume / "there:1b").touch()
    listed = "# our models\n\nthere:1b\n  new:1b   # the small one\nhf.co/a/b-GGUF:Q4_K_M"
    code, lines = container.run("pull.sh", listed)
    assert code == 0
    assert container.calls("pull") == ["pull new:1b", "pull hf.co/a/b-GGUF:Q4_K_M"]
    assert "pull: there:1b is there" in lines
    assert lines[-1] == "pull: all models of the list are there"


def test_running_it_again_fetches_nothing(container):
    """A second run finds everything there."""
    container.run("pull.sh", "new:1b\n")
    assert container.run("pull.sh", "new:1b\n")[0] == 0
    assert container.calls("pull") == ["pull new:1b"]


def test_what_is_listed_with_a_minus_is_removed(container):
    """And nothing else is; where it is gone already, nothing happens."""
    container.run("pull.sh", "kept\nold:1b\nother\n")
    for _ in range(2):
        code, lines = container.run("pull.sh", "kept\n-old:1b # too large\n")
        assert (code, lines[-1]) == (0, "pull: all models of the list are there")
    assert container.calls("rm") == ["rm old:1b"]
    assert {path.name for path in container.volume.glob("[!.]*")} == {"kept", "other"}


def test_a_model_that_cannot_be_had_is_named_and_the_others_are_fetched(container):
    """It is tried four times, its error shown, and the end is a failure that names it."""
    code, lines = container.run("pull.sh", "absent:1b\nnew:1b\nabsent:2b\n")
    assert code == 1
    assert lines[-1] == "pull: missing: absent:1b absent:2b"
    assert container.calls("pull") == 4 * ["pull absent:1b"] + ["pull new:1b"] + 4 * [
        "pull absent:2b"
    ]
    assert lines.count("absent:1b: Error: file does not exist") == 4


def test_progress_is_lines_not_a_picture(container):
    """A layer says when it begins and when it is complete; there is no escape code in the log."""
    _, lines = container.run("pull.sh", "new:1b\n")
    assert [line for line in lines if line.startswith("new:1b: ")] == [
        "new:1b: pulling manifest",
        "new:1b: pulling 74701a8c35f6: 7% 160 MB/1.3 GB 24 MB/s 48s",
        "new:1b: pulling 74701a8c35f6: 100% 160 MB/1.3 GB 24 MB/s 48s",
        "new:1b: verifying sha256 digest",
        "new:1b: success",
    ]


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        pytest.param("good:1b\nllama3.2 1b\n", "line 2: 'llama3.2 1b' is not the name", id="space"),
        pytest.param("--help\n", "line 1: '--help' is not the name of a model", id="option"),
        pytest.param("a:1b, b:1b\n", "line 1: 'a:1b, b:1b' is not the name", id="comma"),
        pytest.param("# nothing\n\n", "names no model", id="empty"),
    ],
)
def test_a_wrong_list_is_refused_before_anything_is_done(container, listed, message):
    """One line says what is wrong and where; the exit code says that trying again is useless."""
    code, lines = container.run("pull.sh", listed)
    assert code == 2
    assert len(lines) == 1
    assert message in lines[0]
    assert container.calls() == []


def test_two_at_once_do_not_fetch_twice(container):
    """The second waits for the first to end and then finds the model there."""
    container.list.write_text("new:1b\n")
    first = container.start("pull.sh", PAUSE="0.2")
    until(lambda: container.calls("pull"))
    second = container.start("pull.sh")
    output, _ = second.communicate(timeout=30)
    assert (first.wait(timeout=5), second.returncode) == (0, 0)
    assert "waiting for its end" in output.splitlines()[0]
    assert "pull: new:1b is there" in output
    assert container.calls("pull") == ["pull new:1b"]


def test_told_to_end_it_ends_soon_with_all_that_it_started(container):
    """TERM in the middle of a model: the server and the attempt end too, and it says so."""
    container.list.write_text("new:1b\n")
    process = container.start("pull.sh", HANGS="1")
    while "pulling manifest" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=5)
    assert process.returncode == 143
    assert output.splitlines()[-1] == "pull: told to end; another run goes on from here"
    until(lambda: not alive(process))  # an orphan is there until the system has noted its end


def test_told_to_end_it_does_not_wait_for_another_run(container):
    """TERM also ends one that waits for the volume, and the other is not disturbed."""
    container.list.write_text("new:1b\n")
    first = container.start("pull.sh", PAUSE="0.5")
    until(lambda: container.calls("pull"))
    second = container.start("pull.sh")
    assert "waiting" in second.stdout.readline()
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=5) == 143
    assert first.wait(timeout=30) == 0


def test_a_server_that_does_not_start_is_shown(container):
    """What the server said about it stands in the log."""
    code, lines = container.run("pull.sh", "new:1b\n", BROKEN="1")
    assert code == 1
    assert lines == ["pull: the server does not start:", "Error: no space left for the key"]


def test_a_volume_that_is_not_there_is_named(container):
    """Without a volume to write to nothing is begun."""
    code, lines = container.run("pull.sh", "new:1b\n", OLLAMA_MODELS="/nowhere")
    assert (code, lines) == (1, ["pull: cannot write to /nowhere"])
    assert container.calls() == []


# --- warm.sh


def test_the_first_model_is_loaded(container):
    """It is asked for without a prompt, which loads it and generates nothing."""
    (container.volume / "first:1b").touch()
    listed = "# the first is kept in memory\n\n  first:1b # small\nsecond:1b\n"
    assert container.run("warm.sh", listed) == (0, ["warm: first:1b is in memory"])
    assert container.calls() == ["show first:1b", "run first:1b "]


def test_a_model_that_is_missing_is_never_fetched_by_a_replica(container):
    """The probe fails, and one line says which Job fetches it and how to watch that."""
    code, lines = container.run("warm.sh", "first:1b")
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("warm: first:1b is not on disk yet, the Job ollama-models fetches")
    assert "kubectl logs -f -l app.kubernetes.io/name=ollama-models" in lines[0]
    assert container.calls() == ["show first:1b"]


def test_the_server_is_waited_for(container):
    """The first probe comes before the server listens, and needs no second."""
    container.list.write_text("first:1b\n")
    process = container.start("warm.sh", WORDS="could not connect to server")
    until(lambda: container.calls("show"))
    (container.volume / "first:1b").touch()
    assert process.wait(timeout=5) == 0


@pytest.mark.parametrize(
    ("listed", "environment", "said"),
    [
        ("first:1b\n", {"WORDS": "could not connect to server"}, "the server does not answer"),
        ("first:1b\n", {"WORDS": "bad manifest"}, "first:1b: Error: bad manifest"),
        ("there:1b\n", {"BROKEN": "1"}, "there:1b was not loaded: no memory"),
        ("# none\n", {}, "models.txt names no model"),
    ],
)
def test_what_keeps_a_model_out_of_memory_is_said(container, listed, environment, said):
    """Ollama's own words reach the event of the failed probe, on one line."""
    (container.volume / "there:1b").touch()
    code, lines = container.run("warm.sh", listed, **environment)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].endswith(said)


@pytest.mark.parametrize(("script", "code"), [("pull.sh", 2), ("warm.sh", 1)])
def test_a_list_that_is_not_there_is_named(container, script, code):
    """One line, and nothing is done."""
    process = container.start(script)
    output, _ = process.communicate(timeout=5)
    assert process.returncode == code
    assert output.splitlines() == [f"{script.removesuffix('.sh')}: cannot read {container.list}"]
    assert container.calls() == []


def test_the_shipped_list_names_a_model(container):
    """The list that is deployed passes, and its models are what is fetched."""
    assert container.run("pull.sh", (SCRIPTS / "models.txt").read_text())[0] == 0
    assert container.calls("pull") == ["pull llama3.2:1b"]

"""`autoscaler status`: what a real page says in words, and what happens where there is none."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from autoscaler import cli
from autoscaler.adapters.cycle_view import view_of
from autoscaler.adapters.health import HealthServer, Page, StatusBoard
from autoscaler.decision.words import Mode
from autoscaler.status import asking, rows, showing
from tests.adapters.views import STANDBY, seen
from tests.cycles import UNREADABLE, FakeClock, report_of

HINT = "kubectl -n llm port-forward svc/autoscaler-metrics 8080:8080"


@pytest.fixture
def clock() -> FakeClock:
    """Begin in the morning."""
    return FakeClock()


@pytest.fixture
def board(clock) -> StatusBoard:
    """Keep the last cycle of one target that shrinks in five minutes."""
    board = StatusBoard("1.2.3", clock)
    board.expect_every(timedelta(seconds=5))
    board.show(seen(1.5, current=4, ready=3))
    clock.pass_by(timedelta(seconds=3))
    return board


@contextmanager
def served(page):
    """Serve a page as /status, and give its address."""
    server = HealthServer("127.0.0.1", 0, {}, {"/status": page})
    address = server.start()
    yield f"http://{address}"
    server.stop()


@pytest.fixture
def url(board):
    """Serve the board's page."""
    with served(board.page) as url:
        yield url


@pytest.fixture
def run(capsys):
    """Run a command; return exit code, output and errors."""

    def run(*arguments):
        code = cli.run(["status", *arguments])
        told = capsys.readouterr()
        return code, told.out.splitlines(), told.err.splitlines()

    return run


# --- what it shows ------------------------------------------------------------------------------


def test_every_target_is_one_line(run, url):
    """Replicas, bounds, each metric against its target, decision, what comes next, age."""
    told = (
        "llm/ollama: replicas 4, 3 ready, bounds 2..6; queue_depth 1.5 of 3.2 (0.47x); "
        "holds 4, Stabilized (highest recommendation of the last 300s is 4); "
        "next: shrinks to 2 at 10:05:00Z if queue_depth stays under 1.6 (BelowTarget); "
        "until then Stabilized (highest recommendation of the last 300s is 4) (3s ago)"
    )
    assert run("--url", url) == (0, ["autoscaler 1.2.3: leads", told], [])


def test_json_is_the_answer_itself(run, url):
    """For scripts."""
    code, lines, _ = run("--url", url, "--json")
    (target,) = json.loads("\n".join(lines))["targets"]
    assert code == 0
    assert target["outlook"]["move"]["at"] == "2026-11-23T10:05:00Z"
    assert target["outlook"]["conditions"][0]["metric"] == "queue_depth"


def test_one_target_is_chosen(run, url, board):
    """The others are not shown; a name that is none is told with those that are."""
    board.show(replace(seen(1.6), target="llm/other"))
    _, lines, _ = run("--url", url)
    assert len(lines) == 3
    _, lines, _ = run("--url", url, "--target", "llm/other")
    assert [line.partition(":")[0] for line in lines] == ["autoscaler 1.2.3", "llm/other"]
    told = "autoscaler: --target = llm/nobody, must be one of llm/ollama, llm/other"
    step = f"autoscaler status --url {url} --target llm/ollama"
    assert run("--url", url, "--target", "llm/nobody") == (2, [], [f"{told}; next: {step}"])


def test_what_is_not_known_is_left_out(run, board, url, clock):
    """No number is made up for what could not be read, and a late cycle is told as such."""
    board.show(view_of(report_of(read_error=UNREADABLE)))
    clock.pass_by(timedelta(minutes=2))
    _, (_, line), _ = run("--url", url)
    assert line == "llm/ollama: failed: connection refused (1m 58s ago, late)"
    board.show(view_of(STANDBY))
    _, (head, line), _ = run("--url", url)
    assert head == "autoscaler 1.2.3: stands by: another daemon leads, ask that one"
    assert line.startswith("llm/ollama: stands by, another daemon leads (")
    board.forget("llm/ollama")
    assert run("--url", url)[1] == ["autoscaler 1.2.3: has not ended a cycle yet"]


def test_what_was_written_counts_and_what_was_not_does_not(board):
    """The replicas are those asked for now."""
    for view, number in (
        (view_of(report_of(5.0)), 6),
        (view_of(report_of(5.0, dry_run=True)), 2),
        (seen(5.0, changes={"mode": Mode.SHADOW}), 2),
    ):
        board.show(view)
        (row,) = rows.rows_of(json.loads(board.page().body))
        assert row.replicas == f"{number}, 2 ready, bounds 2..6"
    assert row.decision.endswith(" [shadow]")


def test_a_metric_that_is_missing_says_why(board):
    """Instead of a value."""
    board.show(seen(metrics={}))
    (row,) = rows.rows_of(json.loads(board.page().body))
    assert row.metrics == ("queue_depth Failed: not in the observation",)
    assert row.next.startswith("goes on at 10:15:00Z when hold_limit ends; stays at 2: HoldExpired")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (60, "1m 0s"), (3661, "1h 1m"), (90_000, "1d 1h"), (-5, "0s")],
)
def test_a_span_has_its_two_largest_units(seconds, text):
    """More would be noise; clocks may differ by a little."""
    assert rows.span(timedelta(seconds=seconds)) == text


def test_nothing_of_the_answer_steers_the_terminal(run):
    """Whoever answers."""
    evil = "x\n\x1b[2J"
    told = {"version": evil, "targets": [{"target": evil, "sentence": evil, "outcome": evil}]}
    with served(lambda query: Page(body=json.dumps(told).encode())) as url:
        _, lines, _ = run("--url", url)
        _, _, errors = run("--url", url, "--target", "y\x1b[2J")
    assert len(lines) == 2
    assert all(line.isprintable() for line in (*lines, *errors))


# --- where there is no answer -------------------------------------------------------------------


def test_a_daemon_that_is_not_there_is_1_with_the_next_command(run):
    """One line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    code, lines, (error,) = run("--url", url)
    assert (code, lines) == (1, [])
    assert error.startswith(f"autoscaler: {url}: not reachable: Connection refused, ")
    assert f"; next: {HINT}" in error


@pytest.mark.parametrize(
    "body",
    [
        b"ok",
        b"[]",
        b"{}",
        b'{"targets": {}}',
        b'{"targets": [1]}',
        b'{"targets": [{}]}',
        b'{"targets": [{"target": 1}]}',
        b'{"targets": [{"target": "a", "metrics": {"m": 1}}]}',
        b'{"targets": [{"target": "a", "metrics": []}]}',
        b'{"targets": [{"target": "a", "outlook": "x"}]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_an_answer_of_something_else_is_one_clear_line(run, body):
    """Whatever it is."""
    with served(lambda query: Page(body=body)) as url:
        code, lines, (error,) = run("--url", url)
    assert (code, lines) == (1, [])
    told = "what answers is no autoscaler's status, must be the port of a daemon"
    assert error.startswith(f"autoscaler: {url}: {told}; next: {HINT}")


def test_a_page_that_is_not_there_is_told(run):
    """Another server than the daemon."""
    server = HealthServer("127.0.0.1", 0, {})
    url = f"http://{server.start()}"
    code, _, (error,) = run("--url", url)
    server.stop()
    assert code == 1
    told = "answers /status with HTTP 404, must be the port of a daemon of this version"
    assert error.startswith(f"autoscaler: {url}: {told}; next: {HINT}")


def test_what_does_not_speak_http_is_told(run):
    """It is no crash."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "autoscaler", "status", "--url", url]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = server.accept()
            connection.sendall(b"SSH-2.0-x\r\n")
            connection.close()
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1
    assert f"{url}: not reachable: " in errors


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://x:y",
        "http://a b",
        "http://a..b",
        "",
    ],
)
def test_an_address_that_is_none_is_2(run, url):
    """With what would be one."""
    code, lines, (error,) = run("--url", url)
    assert (code, lines) == (2, [])
    told = "must be an address such as http://127.0.0.1:8080"
    assert error.endswith(f"{told}; next: type it again with --url http://127.0.0.1:8080")


def test_an_answer_that_has_no_end_is_cut(run, monkeypatch):
    """Whatever listens there may send for ever."""
    monkeypatch.setattr(asking, "_MOST_BYTES", 2**20)
    with served(lambda query: Page(body=b" " * (2**20 + 1))) as url:
        code, _, (error,) = run("--url", url)
    assert code == 1
    assert "what /status answers must not be larger than 1 MiB; next: " in error


def test_an_unknown_option_is_2(run):
    """As with every command."""
    assert run("--wacth")[0] == 2


@pytest.mark.parametrize("given", ["", "/", "/status", "/status/"])
def test_the_address_may_end_in_the_page(url, given):
    """Which people copy out of their browser."""
    assert asking.ask(f"{url}{given}")["version"] == "1.2.3"


# --- again and again ----------------------------------------------------------------------------


class _EndError(Exception):
    """Enough was watched."""


def watched(monkeypatch, options, changes) -> list[str]:
    """Watch in lines, with a change before each next look; return what was written."""
    told: list[str] = []
    coming = iter(changes)

    def pause(seconds):
        change = next(coming, None)
        if change is None:
            raise _EndError
        change()

    monkeypatch.setattr(showing.time, "sleep", pause)
    with suppress(_EndError):
        showing.show_status(options, lambda text: told.append(text) or True)
    return told


def test_watching_writes_what_is_new(monkeypatch, board, clock):
    """Neither what is the same nor that a cycle is older by a second."""
    pages = [board.page]

    def page(query):
        return pages[-1](query)

    with served(page) as url:
        told = watched(
            monkeypatch,
            showing.StatusOptions(url=url, watch=True),
            [
                clock.pass_by,
                lambda: board.show(seen(1.6)),
                lambda: pages.append(lambda query: Page(body=b"x")),
                lambda: None,
                pages.pop,
            ],
        )
    assert [text.partition(":")[0] for text in told] == [
        "autoscaler 1.2.3",
        "llm/ollama",
        "llm/ollama",
        "http",
    ]
    assert "no autoscaler's status" in told[3]


def test_watching_in_json_writes_each_answer_on_a_line(monkeypatch, board, url, clock):
    """For a program that reads along."""
    options = showing.StatusOptions(url=url, watch=True, as_json=True)
    told = watched(monkeypatch, options, [clock.pass_by, clock.pass_by])
    assert [json.loads(text)["now"][-3:-1] for text in told] == ["03", "08", "13"]


def test_a_reader_that_goes_away_ends_the_watch(board, url):
    """It has seen enough."""
    options = showing.StatusOptions(url=url, watch=True)
    assert showing.show_status(options, lambda text: False) == 0


def on_a_terminal(*arguments) -> tuple[subprocess.Popen, int]:
    """Run the command on a terminal of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "autoscaler", "status", *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "30"}
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    return process, ours


def read_until(terminal, words, seconds=60) -> str:
    """Read what is shown until these words are, or it ends."""
    shown, end = "", time.monotonic() + seconds
    with suppress(OSError):  # the terminal is closed
        while words not in shown and time.monotonic() < end:
            shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


def test_a_terminal_gets_a_table(url):
    """With a column for each thing."""
    process, terminal = on_a_terminal("--url", url)
    shown = read_until(terminal, "\0")
    assert process.wait(30) == 0
    for title in ("target", "replicas", "metrics", "decision", "next", "last cycle"):
        assert title in shown
    assert "4, 3 ready" in shown


def test_a_terminal_is_redrawn_until_ctrl_c(url, board):
    """Live, and no traceback at the end."""
    process, terminal = on_a_terminal("--url", url, "--watch")
    assert "4, 3 ready" in read_until(terminal, "4, 3 ready")
    board.show(seen(1.6, current=5, ready=5))
    assert "5, 5 ready" in read_until(terminal, "5, 5 ready")
    process.send_signal(signal.SIGINT)
    rest = read_until(terminal, "\0", 30)
    assert process.wait(30) == 130
    assert "Traceback" not in rest

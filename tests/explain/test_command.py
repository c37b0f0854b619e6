"""`autoscaler explain` as it is typed: what is chosen, and one line for whatever is wrong."""

import io
import json
import sys
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from autoscaler import cli
from autoscaler.decision.fold import Gap
from autoscaler.decision.record import Outcome, Record, from_json, to_json
from autoscaler.explain.moments import parse_at, parse_since
from tests.explain.material import keep, scenario, steady


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def run(capsys):
    """Return a function that runs the command: exit code, output lines, error lines."""

    def run(*arguments):
        code = cli.run(["explain", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return run


@pytest.fixture
def file(tmp_path):
    """Return a records file of one story."""
    return keep(tmp_path / "records.jsonl", *steady())


def gap(seconds, **rest):
    """Return a cycle of the story that came to no decision."""
    first = steady()[0]
    return Gap(
        **{
            "target": first.target,
            "now": first.observation.now + timedelta(seconds=seconds),
            "outcome": Outcome.FAILED,
            "reason": "",
            "error": "connection refused",
        }
        | rest
    )


# --- which cycle ----------------------------------------------------------------------------------


def test_the_last_cycle_is_told_without_being_asked_for(run, file):
    """With the line that it stands in, and no colours where there is no terminal."""
    code, out, err = run(file)
    assert (code, err) == (0, [])
    assert out[0] == "llm/ollama at 2026-11-23 10:15:00 UTC  (records.jsonl line 61)"
    assert "\x1b" not in "".join(out)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("10:01", "10:01:00"),
        ("10:01:14", "10:01:00"),
        ("10:01:15", "10:01:15"),
        ("2026-11-23T10:02:01Z", "10:02:00"),
        ("2026-11-23T11:02:01+01:00", "10:02:00"),
        ("2026-11-23 10:02:01", "10:02:00"),
        ("10:15", "10:15:00"),
        ("10:00", "10:00:00"),
    ],
)
def test_the_cycle_in_force_at_a_time(run, file, asked, told):
    """It is the last one not later; the date is told, too."""
    code, out, _ = run(file, "--at", asked)
    assert code == 0
    assert out[0].startswith("in force at 2026-11-23 ")
    assert f"at 2026-11-23 {told} UTC" in out[1]


@pytest.mark.parametrize("asked", ["09:59", "10:16", "2026-11-22T10:05:00Z", "2026-11-24"])
def test_a_time_outside_is_refused_with_the_range(run, file, asked):
    """And with a time that would do."""
    code, out, (line,) = run(file, "--at", asked)
    assert (code, out) == (2, [])
    told = "must lie within the records: 2026-11-23 10:00:00 to 10:15:00 UTC"
    assert line.endswith(f"{told}; next: type it again with --at 10:15:00")


def test_the_minute_in_which_the_records_begin_counts(run, tmp_path):
    """Whoever says 10:00 means none of its seconds."""
    file = keep(tmp_path / "r", *steady()[1:])
    assert "10:00:15" in run(file, "--at", "10:00")[1][1]
    assert run(file, "--at", "10:00:00")[0] == 2


def test_a_time_that_was_shown_can_be_asked_for(run, tmp_path):
    """Cycles begin between two seconds, and lists show whole ones."""
    texts = [json.dumps(to_json(one)).replace(':00Z"', ':00.7Z"') for one in steady()[:5]]
    file = keep(tmp_path / "r", *(from_json(Record, json.loads(text)) for text in texts))
    assert "(r line 5)" in run(file, "--at", "10:01:00")[1][1]
    assert "(r line 4)" in run(file, "--at", "2026-11-23T10:01:00.5Z")[1][1]
    assert "(r line 5)" in run(file, "--at", "2026-11-23T10:01:00.7Z")[1][1]


def test_a_time_of_day_is_the_latest_such(run, tmp_path):
    """Not the one of the day before."""
    today = steady()
    yesterday = [
        from_json(Record, json.loads(json.dumps(to_json(one)).replace("11-23", "11-22")))
        for one in today
    ]
    file = keep(tmp_path / "r", *yesterday, *today[:2])
    assert "2026-11-22 10:00:15" in run(file, "--at", "10:00:20")[1][1]
    assert "2026-11-23 10:00:00" in run(file, "--at", "10:00:14")[1][1]
    assert "2026-11-22 10:05:00" in run(file, "--at", "10:05")[1][1]


def test_each_target_has_its_own(run, tmp_path):
    """Unless one is asked for."""
    other = json.loads(json.dumps(to_json(steady()[3])).replace("llm/ollama", "lab/other"))
    file = keep(tmp_path / "r", steady()[2], from_json(Record, other))
    assert [line.split()[0] for line in run(file)[1] if " at 2026" in line] == [
        "llm/ollama",
        "lab/other",
    ]
    out = run(file, "--target", "lab/other")[1]
    assert sum(" at 2026" in line for line in out) == 1
    code, _, (line,) = run(file, "--target", "lab/nobody")
    assert code == 2
    assert "must be one of lab/other, llm/ollama; next: type it again with --target lab/" in line


def test_a_gap_is_told_with_the_last_decision_before_it(run, tmp_path):
    """At the end, and at a time within it."""
    story = steady()
    file = keep(tmp_path / "r", *story[:2], gap(30), gap(45), *story[4:6])
    _, out, _ = run(file, "--at", "10:00:50")
    assert "came to no decision" in out[2]
    assert "2 cycles in a row" in out[2]
    assert "The last decision before that:" in out
    assert any("at 2026-11-23 10:00:15" in line for line in out)
    _, out, _ = run(keep(tmp_path / "g", gap(0)))
    assert " ".join(out[1:]).endswith("failed: connection refused")


def test_rotated_files_are_read_with_the_live_one(run, tmp_path):
    """The oldest first, each by its own lines."""
    story = steady()
    keep(tmp_path / "r.jsonl.2", *story[:20])
    keep(tmp_path / "r.jsonl.1", *story[20:40])
    file = keep(tmp_path / "r.jsonl", *story[40:])
    assert "(r.jsonl line 21)" in run(file)[1][0]
    assert "(r.jsonl.2 line 5)" in run(file, "--at", "10:01")[1][1]
    assert run(file, "--verify")[1][-1].startswith("61 decisions of 1 target(s)")
    assert run(file, tmp_path / "r.jsonl.1", "--verify")[1][-1].startswith("61 decisions")


# --- many -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "first", "count"),
    [("1m", "10:14:00", 5), ("10:14", "10:14:00", 5), ("2026-11-23T10:14:01Z", "10:14:15", 4)],
)
def test_one_line_for_each_cycle_since_then(run, file, since, first, count):
    """The sentence of the log, and when."""
    code, out, _ = run(file, "--since", since)
    assert code == 0
    assert len(out) == count
    assert out[0].startswith(f"2026-11-23 {first}  llm/ollama: holds 2, ")


def test_nothing_since_then_is_refused_with_the_range(run, file):
    """It is no empty answer."""
    code, out, (line,) = run(file, "--since", "2026-11-24")
    assert (code, out) == (2, [])
    assert "must lie within the records: 2026-11-23 10:00:00" in line
    assert line.endswith("; next: type it again with --since 15m")


def test_only_changes(run, tmp_path):
    """Who comes to the same as before says nothing; a gap is a change."""
    story = scenario("a_write_that_failed_used_up_the_cooldown")
    file = keep(tmp_path / "r", *story)
    lines = run(file, "--only-changes")[1]
    told = [line.split("llm/ollama: ")[1].split(" (")[0] for line in lines]
    assert 1 < len(told) < len(story)
    assert told[0] == "2 -> 4, AboveTarget"
    assert told.count("holds 4, CoolingDown") == 1
    quiet = steady()
    file = keep(tmp_path / "q", *quiet[:1], gap(1), gap(2), gap(3), *quiet[1:])
    told = run(file, "--only-changes")[1]
    assert sum("failed: connection refused" in line for line in told) == 1
    assert run(file, "--only-changes", "--since", "1m")[0] == 0


# --- json -----------------------------------------------------------------------------------------


def test_json_is_whole_records(run, file):
    """Unfolded, so that each line stands alone."""
    story = steady()
    (line,) = run(file, "--json")[1]
    assert from_json(Record, json.loads(line)) == story[-1]
    lines = run(file, "--json", "--since", "1m")[1]
    assert [from_json(Record, json.loads(line)) for line in lines] == [*story[-5:]]
    lines = run(file, "--json", "--verify")[1]
    assert [from_json(Record, json.loads(line)) for line in lines[:-1]] == [*story]
    assert json.loads(lines[-1]) == {"decisions": 61, "different": 0, "targets": ["llm/ollama"]}


# --- sources --------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_standard_input(run, file, monkeypatch, arguments):
    """A pipe needs no name."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    code, out, _ = run(*arguments)
    assert code == 0
    assert out[0].endswith("(line 61)")


@pytest.fixture
def daemon(file):
    """Serve the records as a daemon does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            known = {"/records": 200, "/broken/records": 500}.get(self.path, 404)
            self.send_response(known)
            self.end_headers()
            self.wfile.write(file.read_bytes())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_running_daemon_is_asked(run, daemon):
    """With or without the last slash, or the page."""
    for url in (daemon, f"{daemon}/", f"{daemon}/records"):
        code, out, _ = run("--url", url)
        assert code == 0
        assert out[0].endswith("(line 61)")


@pytest.mark.parametrize(
    ("path", "told"), [("/nowhere", "/nowhere/records with HTTP 404"), ("/broken", "HTTP 500")]
)
def test_a_daemon_that_does_not_answer_well(run, daemon, path, told):
    """Exit code 1: nothing is wrong with what was typed."""
    code, _, (line,) = run("--url", daemon + path)
    assert code == 1
    assert told in line


def test_a_daemon_that_is_not_there(run):
    """The next command is named."""
    code, _, (line,) = run("--url", "http://127.0.0.1:9")
    assert code == 1
    assert "; next: kubectl -n llm port-forward svc/autoscaler-metrics 8080:8080 " in line


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("/nowhere/records.jsonl",), "/nowhere/records.jsonl: no such file, must be a file of"),
        (("/tmp",), "/tmp: is a directory, must be a file of records; next: name another"),
        (("--url", "localhost"), "must be an address such as http://127.0.0.1:8080"),
        (("--url", "http://a..b"), "must be an address"),
        (("--url", "http://x:99999"), "must be an address"),
        (("--url", "http://x", "f"), "must be one of both"),
        (("-", "f"), "must stand alone"),
        (("f", "--at", "noon"), "--at = noon, must be a time of day such as 03:12"),
        (("f", "--at", "25:00"), "must be a time of day"),
        (("f", "--since", "soon"), "--since = soon, must be a span such as 15m"),
        (("f", "--at", "1:00", "--since", "1m"), "--at and --since cannot go together"),
        (("f", "--verify", "--what-if", "x=1"), "--verify and --what-if cannot go together"),
        (("f", "--verify", "--only-changes"), "cannot go together"),
        (("f", "--at", "1:00", "--verify"), "cannot go together"),
    ],
)
def test_a_mistake_is_one_line_and_2(run, file, monkeypatch, arguments, told):
    """It says what would be right."""
    given = [file if argument == "f" else argument for argument in arguments]
    code, out, (line,) = run(*given)
    assert (code, out) == (2, [])
    assert told in line


def test_nothing_to_read_is_told_with_what_to_type(run, monkeypatch):
    """On a terminal nobody would pipe anything."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    code, _, (line,) = run()
    assert code == 2
    assert line.endswith("; next: autoscaler explain --url http://127.0.0.1:8080")


def test_an_empty_source_says_so(run, tmp_path):
    """And where records come from."""
    empty = tmp_path / "records.jsonl"
    empty.touch()
    for options in ((), ("--verify",), ("--since", "1m"), ("--at", "1:00"), ("--what-if", "x=1")):
        code, out, (line,) = run(empty, *options)
        assert (code, out) == (2, [])
        assert "holds no records, must hold one line for each cycle of a daemon; next: " in line


def test_a_line_that_is_no_record_is_named(run, file):
    """With the command that shows it."""
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], '{"version": 1, "target": 5}\n', *lines[2:]]))
    code, _, (line,) = run(file)
    assert code == 2
    assert f"{file}: line 3: " in line
    assert f"; next: sed -n 3p {file} shows the line" in line


def test_a_last_line_that_is_being_written_is_passed_over(run, file):
    """It is whole a moment later."""
    text = file.read_text()
    file.write_text(text[:-40])
    assert "10:14:45" in run(file)[1][0]


def test_a_terminal_gets_colours(file, monkeypatch, capsys):
    """And as many columns as it has."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert cli.run(["explain", str(file)]) == 0
    out = capsys.readouterr().out
    assert "\x1b[1m" in out


def test_whoever_reads_may_stop(file, monkeypatch):
    """A closed pipe is no error."""
    monkeypatch.setattr(cli, "_print", lambda _: False)
    assert cli.run(["explain", str(file), "--since", "1h"]) == 0


# --- moments --------------------------------------------------------------------------------------


def test_moments_know_how_exactly_they_were_meant():
    """A minute, or a second."""
    assert parse_at("3:12", None).slack == timedelta(minutes=1)
    assert parse_at("03:12:00", None).slack == timedelta(seconds=1)
    assert parse_since("1h30m", None) == timedelta(minutes=90)

"""Every refusal of every command: one line, exit code, place, value, rule, and what to do next.

Each is provoked as a person provokes it: by the command line, the environment, a file or what is
sent to standard input.
"""

import io
import json
import os
import re
import shutil
import socket
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoscaler import cli
from autoscaler.adapters.health import HealthServer, Page

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "config" / "autoscaler.yaml"
POLICY = """
targets:
  - namespace: llm
    deployment: ollama
    metrics: [{name: queue, query: sum(x), type: total, target: 1}]
"""
SECOND = POLICY + POLICY.split("targets:")[1].replace("ollama", "other")
OBSERVATION = '{"now": "2026-11-23T10:00:00Z", "current": 2, "ready": 2, "metrics": {}}\n'
_LINE = re.compile(r"autoscaler( sandbox)?: (?P<what>\S.*?); next: (?P<step>\S.+)")
_COMMANDS = (
    "autoscaler ", "apt-get ", "cat ", "zcat ", "head ", "ls ", "make ", "pip ", "sed ", "curl ",
    "kubectl ",
    "mend ", "name another ", "choose another ", "run in a cluster", "send it ", "type it again",
)  # fmt: skip
"""What a next step begins with: a command to type, or something to do."""


@pytest.fixture
def refused(capsys, monkeypatch, tmp_path):
    """Return a function that runs a command and returns its exit code and its only line."""
    for name in [name for name in os.environ if name.startswith("AUTOSCALER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def refused(*arguments, given=b"", **environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        code = cli.run([str(each) for each in arguments])
        _, err = capsys.readouterr()
        (line,) = err.splitlines()
        return code, line

    return refused


def teaches(answer, code, *words):
    """Judge a refusal: its code, that it is one line with a step, and that it has these words."""
    told, line = answer
    parts = _LINE.fullmatch(line)
    assert parts, line
    assert told == code
    for word in words:
        assert word in parts["what"], line
    assert parts["step"].startswith(_COMMANDS), line
    assert len(line) < 420, line


# --- the configuration, of every command that reads one -----------------------------------------

FILES = {
    "unknown key": (POLICY + "intervall: 5s\n", ["intervall = ", "unknown key", "interval"]),
    "wrong value": (POLICY + "interval: fast\n", ['interval = "fast"', "must be a duration"]),
    "out of bounds": (POLICY + "interval: 1d\n", ['interval = "1d"', "must lie within 100ms..1h"]),
    "no number": (POLICY + "http: {port: x}\n", ['http.port = "x"', "must be a whole number"]),
    "bounds that cross": (
        POLICY + "    min_replicas: 9\n",
        ["targets[0].min_replicas = 9", "must not be above max_replicas = 6"],
    ),
    "two rules": (
        POLICY + "leadership: {duration: 2s}\n",
        ['leadership.duration = "2s"', "must be at least 15s"],
    ),
    "a key is missing": (
        "targets: [{namespace: llm}]\n",
        ["targets[0].deployment", "must be given"],
    ),
    "twice the same": (SECOND.replace("other", "ollama"), ['"llm/ollama"', "must not stand twice"]),
    "no targets": ("interval: 5s\n", ["targets", "must be given"]),
    "no mapping": ("- a\n", ["must be a mapping of keys, is a list"]),
    "empty": ("", ["is empty, must name at least one target"]),
    "no YAML": ("targets: [\n", [":2:1: must be YAML"]),
    "twice a key": (POLICY + "interval: 5s\ninterval: 6s\n", [":7:1: must be YAML", "stand twice"]),
    "no text": (b"\xff\xfe\x00", ["byte 0 is not UTF-8, must be text"]),
    "too large": ("#" * 2**20 + "#", ["must not be larger than 1048576 bytes"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file(refused, tmp_path, name):
    """File, key, value and rule; then the command that looks at it again."""
    content, words = FILES[name]
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    teaches(refused("check", "--config", path), 2, str(path), *words)


@pytest.mark.parametrize("command", ["run", "check", "decide", "sandbox"])
def test_every_command_refuses_a_bad_file_alike(refused, tmp_path, command):
    """With the same words and the same next step."""
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY + "interval: 0s\n")
    code, line = refused(command, "--config", path)
    teaches((code, line), 2, f'{path}: interval = "0s", must lie within 100ms..1h')
    step = f"mend it, then type: autoscaler check --offline --config {path}"
    assert line.endswith(f"; next: {step}")


@pytest.mark.parametrize("command", ["run", "check", "decide", "sandbox"])
@pytest.mark.parametrize(("file", "rule"), [("none.yaml", "no such file"), (".", "is a directory")])
def test_no_file(refused, command, file, rule):
    """Which was looked for, and how to name another."""
    teaches(refused(command, "--config", file), 2, f"{file}: {rule}, must be a")


def test_a_file_that_may_not_be_read(refused, tmp_path, monkeypatch):
    """The command shows whose it is."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    answer = refused("check", "--config", "secret.yaml")
    teaches(answer, 2, "secret.yaml: cannot be read: Permission denied")


def test_no_file_at_all(refused, monkeypatch):
    """Both places, and the option."""
    monkeypatch.setattr(Path, "exists", lambda _: False)
    teaches(refused("check"), 2, "config/autoscaler.yaml", "must be given with --config FILE")


ENVIRONMENT = {
    "unknown variable": (
        {"AUTOSCALER_INTERVALL": "5s"},
        ['AUTOSCALER_INTERVALL = "5s"', "unknown variable; did you mean AUTOSCALER_INTERVAL"],
    ),
    "wrong value": (
        {"AUTOSCALER_PROMETHEUS__URL": "prometheus:9090"},
        ["environment: AUTOSCALER_PROMETHEUS__URL = ", "must be an http:// or https:// address"],
    ),
    "no number": ({"AUTOSCALER_HTTP__PORT": "many"}, ["AUTOSCALER_HTTP__PORT", "a whole number"]),
    "no YAML": ({"AUTOSCALER_TARGETS": "["}, ["AUTOSCALER_TARGETS:1:2: must be YAML"]),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_bad_variable(refused, name):
    """It is told by its own name, not by the key's."""
    environ, words = ENVIRONMENT[name]
    teaches(refused("check", "--config", SHIPPED, **environ), 2, *words)


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("AUTOSCALER_KUBERNETES__KUBECONFIG", "/nowhere", "kubernetes.kubeconfig: "),
        ("AUTOSCALER_KUBERNETES__CONTEXT", "nobody", "kubernetes.context: "),
    ],
)
def test_no_cluster(refused, command, variable, value, key):
    """The key and the value; and what shows whether another is right."""
    answer = refused(command, "--config", SHIPPED, **{variable: value})
    teaches(answer, 2, key)


# --- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words", "step"),
    [
        (["nonsense"], ["nonsense"], "autoscaler --help"),
        (["check", "--nonsense"], ["--nonsense"], "autoscaler check --help"),
        (["check", "more"], ["more"], "autoscaler check --help"),
        (["decide", "--config"], ["--config"], "autoscaler decide --help"),
        (["sandbox", "--speed", "fast"], ["--speed", "fast"], "autoscaler sandbox --help"),
    ],
)
def test_a_wrong_usage(refused, arguments, words, step):
    """It points to the help of that very command."""
    code, line = refused(*arguments)
    teaches((code, line), 2, *words)
    assert line.endswith(f"; next: {step}")


def test_what_nobody_expected(refused, monkeypatch):
    """The same command again, with a traceback."""

    def fail(*_):
        raise ZeroDivisionError("oh no")

    monkeypatch.setattr(cli, "find_file", fail)
    code, line = refused("check", "--offline")
    teaches((code, line), 1, "unexpected ZeroDivisionError: oh no")
    assert "autoscaler --debug check --offline" in line


# --- decide -------------------------------------------------------------------------------------

LINES = {
    "no JSON": ("{", ["not JSON: ", "must be one object"]),
    "no object": ("5", ["must be"]),
    "nested": ("[" * 100_000, ["nested too deeply", "must be one object"]),
    "twice a key": ('{"now": 1, "now": 2}', ["keys", "must be distinct"]),
    "unknown key": (OBSERVATION.replace("ready", "redy"), ["redy = 2", "unknown key, must be one"]),
    "no key": (OBSERVATION.replace('"current": 2, ', ""), ["current is missing, must be given"]),
    "wrong value": (OBSERVATION.replace("2,", "-2,", 1), ["current = -2", "must not be negative"]),
    "no zone": (OBSERVATION.replace("00Z", "00"), ["now = ", "must"]),
    "not later": (OBSERVATION, ["now = 2026-11-23T10:00:00+00:00", "must be later than the line"]),
}


@pytest.mark.parametrize("name", LINES)
def test_a_bad_observation(refused, name):
    """The number of the line, which is to be mended."""
    line, words = LINES[name]
    answer = refused("decide", "--config", SHIPPED, given=f"{OBSERVATION}{line}\n".encode())
    teaches(answer, 2, "line 2: ", *words)


def test_an_observation_that_is_no_text(refused):
    """Likewise."""
    answer = refused("decide", "--config", SHIPPED, given=OBSERVATION.encode() + b"\xff\n")
    teaches(answer, 2, "line 2: byte 0 is not UTF-8, must be text")


@pytest.mark.parametrize("more", [[], ["--target", "llm/nobody"]])
def test_no_such_target(refused, tmp_path, more):
    """All that there are, and the command with one of them."""
    path = tmp_path / "mine.yaml"
    path.write_text(SECOND)
    code, line = refused("decide", "--config", path, *more)
    teaches((code, line), 2, "--target", *more[1:], "one of llm/ollama, llm/other")
    assert line.endswith("; next: autoscaler decide --target llm/ollama")


def test_no_input_and_no_output(refused, monkeypatch):
    """Closed streams are told on the one that is left."""
    monkeypatch.setattr(cli.sys, "stdout", None)
    answer = refused("decide", "--config", SHIPPED)
    teaches(answer, 1, "standard output is closed, must be open")


# --- run ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("signal_mask")
def test_a_port_that_is_taken(refused, tmp_path):
    """Host, port and cause; and how to see who has it."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster("http://127.0.0.1:9")))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = refused(
            "run",
            *("--config", SHIPPED),
            AUTOSCALER_KUBERNETES__KUBECONFIG=str(kubeconfig),
            AUTOSCALER_HTTP__HOST="127.0.0.1",
            AUTOSCALER_HTTP__PORT=str(port),
        )
    words = (f"http.host = 127.0.0.1, http.port = {port}", "Address already in use")
    teaches(answer, 1, *words)


def cluster(url):
    """Return a kubeconfig."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": {}}],
    }


# --- sandbox ------------------------------------------------------------------------------------

OPTIONS = {
    "fault": (["--fault", "fire"], ["--fault = fire", "must be one of prometheus-outage"]),
    "slow": (["--speed", "0.5"], ["--speed = 0.5", "must be from 1 to 50"]),
    "fast": (["--speed", "60"], ["--speed = 60", "must be from 1 to 50"]),
    "minutes": (["--minutes", "-1"], ["--minutes = -1", "must be above 0"]),
    "profile": (["--profile", "toaster"], ["--profile = toaster", "must be one of 1b-sbc"]),
    "no trace": (
        ["--trace", "none.csv"],
        ["trace none.csv: No such file", "must be a readable CSV"],
    ),
    "busy slots": (["--trace", "none.csv", "--busy-slots", "0"], ["--busy-slots = 0", "above 0"]),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_bad_option_of_the_sandbox(refused, name):
    """The option, its value and the values that there are; then one that works."""
    arguments, words = OPTIONS[name]
    teaches(refused("sandbox", "--config", SHIPPED, *arguments), 2, *words)


TRACES = {
    "header": ("a,b\n", ["line 1: header = 'a,b'", "must have arrival_s"]),
    "nothing": ("arrival_s,input_tokens,output_tokens\n", ["no requests, must have at least one"]),
    "no time": (
        "arrival_s,input_tokens,output_tokens\nx,1,1\n",
        ["line 2: arrival_s = 'x'", "0 or"],
    ),
    "no count": (
        "arrival_s,input_tokens,output_tokens\n0,0,1\n",
        ["input_tokens = '0'", "1 or more"],
    ),
    "backwards": (
        "arrival_s,input_tokens,output_tokens\n5,1,1\n1,1,1\n",
        ["line 3: arrival_s = '1', must not go back in time"],
    ),
    "no text": (b"\xff\xfe\x00\x01", ["must be CSV in UTF-8"]),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_bad_trace(refused, tmp_path, name):
    """File, line, column and value; and how to look at it."""
    content, words = TRACES[name]
    path = tmp_path / "requests.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    answer = refused("sandbox", "--config", SHIPPED, "--trace", path)
    teaches(answer, 2, f"trace {path}", *words)


def test_a_configuration_that_the_sandbox_cannot_play(refused, tmp_path):
    """Several targets; more replicas than the gateway has places for."""
    path = tmp_path / "mine.yaml"
    path.write_text(SECOND)
    teaches(refused("sandbox", "--config", path), 2, f"{path}: targets = 2, must be 1")
    path.write_text(POLICY + "    max_replicas: 99\n")
    answer = refused("sandbox", "--config", path)
    teaches(answer, 2, "targets[0].max_replicas = 99", "must be at most 32")


def test_programs_that_are_not_installed(refused, monkeypatch):
    """Their names, and the command that installs them."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    code, line = refused("sandbox", "--config", SHIPPED)
    teaches((code, line), 2, "haproxy and prometheus not found on PATH")
    assert line.endswith("; next: apt-get install haproxy prometheus")


def test_a_folder_that_cannot_be_written_to(refused, tmp_path):
    """Where report and records were to go."""
    (tmp_path / "file").write_text("")
    answer = refused("sandbox", "--config", SHIPPED, "--out", tmp_path / "file" / "out")
    teaches(answer, 1, f"{tmp_path / 'file'}", "must be a folder to write to")


@pytest.mark.parametrize(
    ("missing", "words", "step"),
    [
        ("autoscaler.sandbox", "the source checkout alone", "make demo"),
        ("aiohttp", "the package aiohttp", "pip install 'ollama-autoscaler[sandbox]'"),
    ],
)
def test_a_package_without_the_sandbox(refused, monkeypatch, missing, words, step):
    """Where it is, or what brings it."""
    for name in [
        name for name in sys.modules if name.startswith(("aiohttp", "autoscaler.sandbox"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    code, line = refused("sandbox")
    teaches((code, line), 2, words)
    assert f"; next: {step}" in line


# --- what reads records: explain, shadow-report -------------------------------------------------

KEPT = ROOT / "tests" / "records" / "v1.jsonl"
TELLERS = ["explain", "shadow-report"]


@pytest.mark.parametrize("command", TELLERS)
@pytest.mark.parametrize(
    ("file", "rule"),
    [("none.jsonl", "no such file, must be a file of records"), (".", "is a directory, must be a")],
)
def test_no_file_of_records(refused, command, file, rule):
    """Which was looked for, and where records are."""
    answer = refused(command, file)
    teaches(answer, 2, f"{file}: {rule}")
    assert "; next: name another file: records.path of the configuration says where" in answer[1]


@pytest.mark.parametrize("command", TELLERS)
@pytest.mark.parametrize("more", [[], ["a secret.jsonl"]])
def test_records_that_may_not_be_read(refused, monkeypatch, command, more):
    """The command shows whose they are; so it does where there are several."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    code, line = refused(command, *more, "a secret.jsonl")
    teaches((code, line), 2, "cannot be read: Permission denied, must be a file that you may read")
    assert line.endswith("; next: ls -l 'a secret.jsonl'")


RECORD_LINES = {
    "no JSON": (b"nonsense", ["not JSON: ", "must be one object"]),
    "nested": (b"[" * 100_000, ["nested too deeply", "must be one object"]),
    "no object": (b"5", ["must be"]),
    "no text": (b'{"now": "\xff"}', ["not JSON: ", "must be one object"]),
    "another version": (b'{"version": 9}', ["version = 9, must be 1"]),
    "no record": (b'{"version": 1}', ["must be"]),
}


@pytest.mark.parametrize("command", TELLERS)
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", RECORD_LINES)
def test_a_bad_record(refused, tmp_path, command, several, name):
    """File and number, and the command that shows the line."""
    content, words = RECORD_LINES[name]
    path, other = tmp_path / "records.jsonl", tmp_path / "other.jsonl"
    first = KEPT.read_bytes().splitlines()[0]
    path.write_bytes(first + b"\n" + content + b"\n")
    other.write_bytes(first + b"\n")
    code, line = refused(command, *([other] if several else []), path)
    teaches((code, line), 2, f"{path}: line 2: ", *words)
    assert f"; next: sed -n 2p {path} shows the line" in line


@pytest.mark.parametrize("name", RECORD_LINES)
def test_a_bad_record_of_a_pipe(refused, name):
    """There is no file to show it in."""
    content, words = RECORD_LINES[name]
    code, line = refused("explain", "-", given=content + b"\n")
    teaches((code, line), 2, "standard input: line 1: ", *words)
    assert "; next: mend line 1 of the input" in line


@pytest.mark.parametrize("command", TELLERS)
def test_a_file_without_records(refused, tmp_path, command):
    """It is named where there is one, and what would be in it."""
    (tmp_path / "empty.jsonl").touch()
    teaches(refused(command, "empty.jsonl"), 2, "no ", "must ")


@pytest.mark.parametrize("command", TELLERS)
def test_a_target_without_records(refused, tmp_path, command):
    """All that there are, and one of them to type."""
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"".join(KEPT.read_bytes().splitlines(keepends=True)[:4]))
    code, line = refused(command, path, "--target", "llm/nobody")
    teaches((code, line), 2, "--target = llm/nobody, ", "must be one of llm/")
    assert "; next: type it again with --target llm/" in line


EXPLAIN = {
    "no time": (["--at", "noon"], ["--at = noon", "must be a time of day such as 03:12"]),
    "too late": (["--at", "2030-01-01"], ["--at = 2030-01-01", "must lie within the records: "]),
    "too early": (["--at", "2001-01-01"], ["--at = 2001-01-01", "must lie within the records: "]),
    "no span": (["--since", "soon"], ["--since = soon", "must be a span such as 15m"]),
    "nothing since": (["--since", "2030-01-01"], ["--since = 2030-01-01", "must lie within"]),
    "a time and a span": (
        ["--at", "1:00", "--since", "1m"],
        ["--at and --since cannot go together, must be one of both"],
    ),
    "two ways to decide": (["--verify", "--what-if", "x=1"], ["--verify and --what-if cannot go"]),
    "a file and a daemon": (["--url", "http://x"], ["--url = http://x, must be one of both"]),
    "a file and a pipe": (["-"], ["FILE = - (standard input), must stand alone"]),
    "no key": (["--what-if", "max_replicas"], ["--what-if max_replicas: must be KEY=VALUE"]),
    "misspelt key": (
        ["--what-if", "max_replica=8"],
        ["--what-if max_replica=8: unknown key, must be", "did you mean max_replicas"],
    ),
    "unknown key": (["--what-if", "x=8"], ["x=8: unknown key, must be one of min_replicas, "]),
    "unknown key inside": (
        ["--what-if", "scale_up.x=8"],
        ["scale_up.x=8: unknown key, must be scale_up. and one of tolerance, "],
    ),
    "wrong value": (["--what-if", "max_replicas=0"], ["max_replicas = 0, must be at least 1"]),
    "no YAML": (["--what-if", "hold_limit=["], ["must be YAML"]),
    "gone": (
        ["--what-if", "scale_up.policies=[]", "--what-if", "scale_up.policies.0.value=2"],
        ["is no longer there after scale_up=..., must be a key that is left"],
    ),
}


@pytest.mark.parametrize("name", EXPLAIN)
def test_a_bad_option_of_explain(refused, name):
    """The option, its value, and one that would do."""
    arguments, words = EXPLAIN[name]
    teaches(refused("explain", KEPT, *arguments), 2, *words)


def test_nothing_to_explain(refused, monkeypatch):
    """On a terminal, and where standard input is closed."""
    teaches(refused("explain", "-", given=b""), 2, "standard input: holds no records, must hold")
    for closed in (None, SimpleNamespace(isatty=lambda: True)):
        with monkeypatch.context() as patched:
            patched.setattr("autoscaler.explain.source.sys", SimpleNamespace(stdin=closed))
            teaches(refused("explain"), 2, "nothing to read, must be given the FILE")
            if closed is None:
                teaches(refused("explain", "-"), 2, "standard input is closed, must give records")


SHADOW = {
    "no zone": (["--from", "2026-11-23"], ["--from = 2026-11-23, must be a time with its zone"]),
    "no time": (["--to", "noon"], ["--to = noon, must be a time with its zone"]),
    "nothing then": (
        ["--from", "2001-01-01T00:00:00Z", "--to", "2001-01-02T00:00:00Z"],
        ["--from = 2001-01-01", "--to = 2001-01-02", "no cycle", "must be at least 2"],
    ),
    "no address": (["--prometheus", "prom"], ["--prometheus = prom, must be the URL of a"]),
}


@pytest.mark.parametrize("name", SHADOW)
def test_a_bad_option_of_the_shadow_report(refused, tmp_path, name):
    """The option, its value, and one that would do."""
    arguments, words = SHADOW[name]
    teaches(refused("shadow-report", one_target(tmp_path), *arguments), 2, *words)


def test_too_little_to_compare(refused, tmp_path):
    """One cycle has no span; no FILE and none configured is nothing at all."""
    path = one_target(tmp_path)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    teaches(refused("shadow-report", path), 2, ": 1 cycle in the records, must be at least 2")
    answer = refused("shadow-report", "--config", SHIPPED)
    teaches(answer, 2, "no FILE is given and records.path names none, must name the records")


def test_several_targets_to_compare(refused):
    """One must be chosen."""
    told, line = refused("shadow-report", KEPT)
    assert told == 2
    assert "--target must be given, one of llm/" in line
    assert "; next: type it again with --target llm/" in line


def test_a_prometheus_that_cannot_be_asked(refused, tmp_path):
    """Exit code 1: whom, why, and how to look; or what is known without it."""
    answer = refused("shadow-report", one_target(tmp_path), "--prometheus", "http://127.0.0.1:9")
    teaches(answer, 1, "prometheus http://127.0.0.1:9: connection refused, must be a Prometheus")
    assert "; next: curl http://127.0.0.1:9/-/ready, or type it again without" in answer[1]


def test_a_page_that_cannot_be_written(refused, tmp_path):
    """Exit code 1, and another name."""
    answer = refused("shadow-report", one_target(tmp_path), "--html", "none/page.html")
    teaches(answer, 1, "--html = none/page.html: cannot be written: No such file", "must be a file")


def one_target(folder):
    """Return a file with the cycles of the target that has most, all of one day."""
    lines = [json.loads(line) for line in KEPT.read_text().splitlines()]
    count = Counter(line["target"] for line in lines)
    name = count.most_common(1)[0][0]
    path = folder / "one.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines if line["target"] == name))
    return path


# --- what asks the daemon: status, explain --url ------------------------------------------------

ASKERS = ["status", "explain"]
FORWARD = "; next: kubectl -n llm port-forward svc/autoscaler-metrics 8080:8080 "


@pytest.mark.parametrize("command", ASKERS)
@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:99999", "http://a b", "http://a..b"]
)
def test_an_address_that_is_none(refused, command, url):
    """What is one."""
    code, line = refused(command, "--url", url)
    teaches((code, line), 2, f"--url = '{url}', must be an address such as http://127.0.0.1:8080")


@pytest.mark.parametrize("command", ASKERS)
def test_a_daemon_that_cannot_be_reached(refused, command):
    """Exit code 1, and the command that brings it near."""
    code, line = refused(command, "--url", "http://127.0.0.1:9")
    teaches((code, line), 1, "http://127.0.0.1:9: not reachable: Connection refused, must be where")
    assert FORWARD in line


@pytest.fixture
def daemon():
    """Return a function that serves pages as a daemon's port, and returns its address."""
    with ExitStack() as closing:

        def serve(**pages):
            asked = {
                f"/{name}": lambda query, body=body: Page(body=body) for name, body in pages.items()
            }
            server = HealthServer("127.0.0.1", 0, {}, asked)
            closing.callback(server.stop)
            return f"http://{server.start()}"

        yield serve


@pytest.mark.parametrize("command", ASKERS)
def test_a_port_that_is_no_daemons(refused, daemon, command):
    """The page that is missing, and how to come to the right port."""
    url = daemon()
    code, line = refused(command, "--url", url)
    teaches((code, line), 1, f"{url}: answers /", "HTTP 404, must be the port of a daemon")
    assert FORWARD in line


def test_an_answer_that_is_no_status(refused, daemon):
    """The port is another one's."""
    code, line = refused("status", "--url", daemon(status=b"hello"))
    teaches((code, line), 1, "what answers is no autoscaler's status, must be the port of a daemon")
    assert FORWARD in line


def test_a_page_of_records_that_cannot_be_told(refused, daemon):
    """A line that is none, and no line at all."""
    url = daemon(records=b"hello\n")
    answer = refused("explain", "--url", url)
    teaches(answer, 2, f"{url}: line 1: not JSON", "must be one object")
    url = daemon(records=b"")
    code, line = refused("explain", "--url", url)
    teaches((code, line), 2, f"{url}: holds no records, must hold one line for each cycle")
    assert line.endswith(f"; next: autoscaler status --url {url}")


@pytest.mark.parametrize(
    ("names", "rule", "step"),
    [
        (["llm/a", "llm/b"], "must be one of llm/a, llm/b", "--target llm/a"),
        ([], "must be one that the daemon has looked at", "--watch"),
    ],
)
def test_a_target_that_the_daemon_does_not_know(refused, daemon, names, rule, step):
    """All that there are, and the command with one of them."""
    url = daemon(status=json.dumps({"targets": [{"target": name} for name in names]}).encode())
    code, line = refused("status", "--url", url, "--target", "llm/nobody")
    teaches((code, line), 2, "--target = llm/nobody", rule)
    assert line.endswith(f"; next: autoscaler status --url {url} {step}")

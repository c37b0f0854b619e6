"""The command line: exit codes, and one line on standard error for whatever is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autoscaler import __version__, cli
from tests.stubs import CONFIGURATION, World, environment

SHIPPED = Path(__file__).parent.parent / "config" / "autoscaler.yaml"
OBSERVATION = {
    "now": "2026-11-23T10:00:00Z",
    "current": 2,
    "ready": 2,
    "metrics": {
        "queue_depth": {"samples": [{"labels": {}, "value": 5.0, "at": "2026-11-23T09:59:58Z"}]},
        "cpu_to_limit": {"missing": "Failed", "detail": "timeout after 3s"},
    },
}


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a function that runs a command in this process: exit code, output, error lines."""
    for name in [name for name in os.environ if name.startswith("AUTOSCALER_")]:
        monkeypatch.delenv(name)

    def run(*arguments):
        code = cli.run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err.splitlines()

    return run


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Return a world that the environment points at."""
    world = World(tmp_path)
    for name, value in environment(world).items():
        monkeypatch.setenv(name, value)
    yield world
    world.stop()


def decide(*arguments, given=b"", **options):
    """Run `autoscaler decide` as a process of its own."""
    command = [sys.executable, "-m", "autoscaler", "decide", *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, check=False, timeout=60, **options
    )


def observation(second=0, **more):
    """Return an observation line."""
    now = f"2026-11-23T10:00:{second:02}Z"
    return json.dumps(OBSERVATION | {"now": now} | more).encode() + b"\n"


# --- usage --------------------------------------------------------------------------------------


def test_the_version(run):
    """One line, exit code 0."""
    assert run("--version") == (0, f"autoscaler {__version__}\n", [])


def test_help_names_the_commands(run):
    """Each with a line of its own."""
    code, out, _ = run("--help")
    assert code == 0
    for command in ("run", "check", "decide", "explain", "sandbox"):
        assert f" {command} " in out


@pytest.mark.parametrize("command", ["run", "check", "decide", "sandbox"])
def test_every_command_has_help(run, command):
    """Without needing anything."""
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "--config" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("check", "--nonsense"),
        ("check", "nonsense"),
        ("check", "--config"),
        ("sandbox", "--speed", "fast"),
    ],
)
def test_a_usage_error_is_one_line_and_2(run, arguments):
    """It points to the help."""
    code, out, (line,) = run(*arguments)
    assert (code, out) == (2, "")
    assert line.startswith("autoscaler: ")
    assert "--help" in line


def test_no_command_shows_the_help(run):
    """And is a usage error."""
    code, out, lines = run()
    assert code == 2
    assert "Usage" in out + "".join(lines)


# --- check --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "told"),
    [("/nowhere/autoscaler.yaml", "no such file"), ("/tmp", "is a directory")],
)
@pytest.mark.parametrize("command", ["check", "decide"])
def test_a_bad_configuration_is_one_line_and_2(run, command, config, told):
    """The same line for every command."""
    code, out, (line,) = run(command, "--config", config)
    assert (code, out) == (2, "")
    assert line.startswith(f"autoscaler: {config}: {told}")


def test_the_shipped_configuration_passes_offline(run):
    """Queries included; plain lines where there is no terminal."""
    code, out, errors = run("check", "--offline", "--config", str(SHIPPED))
    assert (code, errors) == (0, [])
    assert out.startswith("ok      llm/ollama: 2..6 replicas by queue_depth, cpu_to_limit")


def test_a_check_of_a_world_that_works(run, world, tmp_path):
    """Exit code 0."""
    path = tmp_path / "autoscaler.yaml"
    path.write_text(CONFIGURATION)
    code, out, errors = run("check", "--config", str(path))
    assert (code, errors) == (0, [])
    assert "2 replicas, 2 ready" in out


def test_a_check_with_findings_is_1(run, world, tmp_path):
    """Each finding is a line with a next step."""
    world.prometheus_status = 503
    path = tmp_path / "autoscaler.yaml"
    path.write_text(CONFIGURATION)
    code, out, errors = run("check", "--config", str(path))
    assert (code, errors) == (1, [])
    (line,) = [line for line in out.splitlines() if line.startswith("error")]
    assert "prometheus.url" in line
    assert "HTTP 503" in line
    assert "next: correct prometheus.url" in line


def test_findings_are_a_table_on_a_terminal(run, monkeypatch):
    """What stands in brackets is text, not a colour."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("AUTOSCALER_RECORDS__PATH", "/no[red]where/records")
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run("check", "--offline", "--config", str(SHIPPED))
    assert code == 1
    assert "next step" in out
    assert "/no[red]where" in out


# --- decide -------------------------------------------------------------------------------------


def test_observations_become_records():
    """By the shipped policy, one line each."""
    ended = decide("--config", str(SHIPPED), given=observation() + observation(5, current=6))
    assert (ended.returncode, ended.stderr) == (0, b"")
    first, second = (json.loads(line) for line in ended.stdout.splitlines())
    assert (first["target"], first["decision"]["to"]) == ("llm/ollama", 6)
    assert second["decision"]["from"] == 6


def test_each_line_is_answered_before_the_next_is_read():
    """A simulation can be closed around it."""
    command = [sys.executable, "-m", "autoscaler", "decide", "--config", str(SHIPPED)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for second in range(3):
            process.stdin.write(observation(second))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["observation"]["current"] == 2
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{\n", b"line 2: not JSON"),
        (b'{"now": 5}\n', b"line 2: "),
        (b"\xff\n", b"line 2: byte 0 is not UTF-8"),
        (observation(0), b"line 2: now = "),
    ],
    ids=["no JSON", "no observation", "no text", "no later"],
)
def test_a_line_that_is_no_observation_is_refused_with_its_number(line, told):
    """Exit code 2; the line before was answered."""
    ended = decide("--config", str(SHIPPED), given=observation() + line + observation(9))
    assert ended.returncode == 2
    assert len(ended.stdout.splitlines()) == 1
    (error,) = ended.stderr.splitlines()
    assert error.startswith(b"autoscaler: " + told)


def test_no_input_is_no_output():
    """And no error."""
    ended = decide("--config", str(SHIPPED))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_reader_that_has_seen_enough_is_no_error():
    """`| head -1` leaves no noise behind."""
    command = f"{sys.executable} -m autoscaler decide --config {SHIPPED} | head -1"
    lines = b"".join(
        observation(n % 60, now=f"2026-11-23T{n // 60:02}:{n % 60:02}:00Z") for n in range(900)
    )
    ended = subprocess.run(
        command, shell=True, input=lines, capture_output=True, check=False, timeout=60
    )
    assert len(ended.stdout.splitlines()) == 1
    assert ended.stderr == b""


def shell(redirection, *arguments, given=b""):
    """Run a command with its standard streams redirected by a shell; return code, out, errors."""
    command = [sys.executable, "-m", "autoscaler", *arguments]
    ended = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command, "--config", str(SHIPPED)],
        input=given,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode().splitlines()


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_an_error_that_nobody_can_be_told_of_is_still_2(redirection):
    """And never stands among the records."""
    code, out, errors = shell(redirection, "decide", given=observation() + b"bad\n")
    assert (code, errors) == (2, [])
    assert len(out.splitlines()) == 1


@pytest.mark.parametrize("command", [("decide",), ("check", "--offline")])
@pytest.mark.parametrize(
    ("redirection", "told"),
    [
        (
            ">&-",
            (
                "standard output is closed, must be open; "
                "next: type it again without `>&-`, or with > FILE"
            ),
        ),
        (
            ">/dev/full",
            (
                "standard output: No space left on device, must take what is printed; "
                "next: send it elsewhere: > FILE on a disk with room"
            ),
        ),
    ],
)
def test_an_answer_that_cannot_be_given_is_1(command, redirection, told):
    """One line says so; nothing is taken for done."""
    assert shell(redirection, *command, given=observation()) == (1, "", [f"autoscaler: {told}"])


def test_no_standard_input_is_bad_input():
    """There is nothing to decide on."""
    told = (
        "autoscaler: standard input is closed, must give observations; "
        "next: autoscaler decide < observations.jsonl"
    )
    assert shell("<&-", "decide") == (2, "", [told])


def test_a_byte_order_mark_is_no_part_of_the_input():
    """As in the configuration."""
    ended = decide("--config", str(SHIPPED), given=b"\xef\xbb\xbf" + observation())
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout)["observation"]["current"] == 2


def test_one_of_several_targets_is_chosen_by_name(run, tmp_path, monkeypatch):
    """Without a name there is no guess."""
    path = tmp_path / "autoscaler.yaml"
    second = CONFIGURATION.split("targets:")[1].replace("ollama", "other")
    path.write_text(CONFIGURATION + second)
    code, _, (line,) = run("decide", "--config", str(path))
    assert code == 2
    assert line == (
        "autoscaler: --target must be given, one of llm/ollama, llm/other; "
        "next: autoscaler decide --target llm/ollama"
    )
    code, _, (line,) = run("decide", "--config", str(path), "--target", "llm/nobody")
    assert code == 2
    assert "--target = llm/nobody, must be one of" in line
    ended = decide("--config", str(path), "--target", "llm/other", given=observation())
    assert json.loads(ended.stdout)["target"] == "llm/other"


# --- what nobody expected -----------------------------------------------------------------------


def test_an_unexpected_error_is_one_line_and_1(run, monkeypatch):
    """No traceback, unless asked for."""

    def fail(*args):
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(cli, "find_file", fail)
    assert run("check") == (
        1,
        "",
        [
            (
                "autoscaler: unexpected ZeroDivisionError: oh no; "
                "next: autoscaler --debug check shows where"
            )
        ],
    )
    _, _, lines = run("--debug", "check")
    assert any("Traceback" in line for line in lines)


def test_a_line_of_ours_cannot_steer_the_terminal(run):
    """Whatever it quotes."""
    code, _, (line,) = run("check", "--config", "/no\x1b[31mwhere")
    assert code == 2
    assert line.startswith("autoscaler: /no\\x1b[31mwhere: no such file")


def test_a_package_without_the_sandbox_says_where_it_is(run, monkeypatch):
    """In the container image there is none."""
    for name in [name for name in sys.modules if name.startswith("autoscaler.sandbox")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "autoscaler.sandbox", None)
    code, _, (line,) = run("sandbox")
    assert code == 2
    assert line == (
        "autoscaler: the sandbox comes with the source checkout alone; "
        "next: make demo, in a checkout"
    )


def test_a_sandbox_without_its_packages_names_the_next_command(run, monkeypatch):
    """Exit code 2."""
    for name in [
        name for name in sys.modules if name.startswith(("aiohttp", "autoscaler.sandbox"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    code, _, (line,) = run("sandbox")
    assert code == 2
    assert line == (
        "autoscaler: the sandbox needs the package aiohttp, which is not there; "
        "next: pip install 'ollama-autoscaler[sandbox]'"
    )


# --- signals ------------------------------------------------------------------------------------


def signalled_while_it_loads(number, *arguments):
    """Run a command that gets a signal when its imports begin; return exit code and errors."""
    program = f"""
import os, sys
from autoscaler.__main__ import main
class Finder:
    def find_spec(self, name, *more):
        if name == "autoscaler.cli":
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Finder())
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stderr.decode().splitlines()


@pytest.mark.parametrize("command", ["decide", "check"])
def test_ctrl_c_while_a_command_loads_leaves_no_traceback(command):
    """It ends as any program does."""
    assert signalled_while_it_loads(signal.SIGINT, command) == (-signal.SIGINT, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_daemon_loads_waits_for_it(number):
    """So that what it finds wrong is told, and its end is its own."""
    code, (line,) = signalled_while_it_loads(number, "run", "--config", "/nowhere")
    assert code == 2
    assert "/nowhere" in line


def test_ctrl_c_leaves_no_traceback():
    """Exit code 130, as shells have it."""
    command = [sys.executable, "-m", "autoscaler", "decide", "--config", str(SHIPPED)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(observation())
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read().strip() == b""

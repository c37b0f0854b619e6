"""The commands: arguments in, exit code out; no logic of their own.

Exit codes: 0 done, 1 failed (or findings), 2 bad configuration, input or usage. An error is one
line on standard error.
"""

# Commands import what they run when they run it: `decide` needs neither the cluster's client nor a
# scheduler, and both take their time to load.
# ruff: noqa: PLC0415

# Options are what a command line library makes arguments of, and a command prints.
# ruff: noqa: FBT001, FBT002, PLR0913, PLR0917, T201

import os
import shlex
import shutil
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, TextIO

import typer

from autoscaler import __version__
from autoscaler.daemon.reload import ConfigFile
from autoscaler.duration import parse_duration
from autoscaler.errors import AutoscalerError, ConfigError, InputError, told
from autoscaler.settings import (
    PrometheusSettings,
    Settings,
    TargetSettings,
    find_file,
    load,
    to_policy,
)
from autoscaler.settings.refusal import printable

if TYPE_CHECKING:
    from rich.text import Text

    from autoscaler.check import Finding

_NO_OUTPUT = "standard output is closed, must be open"
_OPEN = "type it again without `>&-`, or with > FILE"

app = typer.Typer(
    help="Scales Ollama's replicas with the load, never on missing data, and says why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass
class _Invocation:
    debug: bool = False


_Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration; config/autoscaler.yaml if not given."
    ),
]


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    invocation = _Invocation()
    try:
        code = app(arguments, prog_name="autoscaler", standalone_mode=False, obj=invocation)
    except (KeyboardInterrupt, typer.Abort):
        return 128 + signal.SIGINT
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes a line
        if invocation.debug:
            _say(traceback.format_exc().rstrip())
        return _refuse(error, arguments)
    return code if isinstance(code, int) else 0


def _refuse(error: Exception, arguments: list[str]) -> int:
    if isinstance(error, AutoscalerError):
        _complain(told(error))
        return 2 if isinstance(error, ConfigError | InputError) else 1
    if hasattr(error, "format_message"):  # a usage error of the command line library
        text = error.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":
            _say(text)
        else:
            _complain(f"{_given(error, arguments)}{text.rstrip('.')}; next: {_help(arguments)}")
        return 2
    again = shlex.join(["autoscaler", "--debug", *arguments])
    _complain(f"unexpected {type(error).__name__}: {error}; next: {again} shows where")
    return 1


def _given(error: Exception, arguments: list[str]) -> str:
    """Name the value that an option was given: the library tells the option alone."""
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for argument, value in zip(arguments, [*arguments[1:], ""], strict=True):
            if argument == option:
                return f"{option} = {value}: "
            if argument.startswith(f"{option}="):
                return f"{argument.replace('=', ' = ', 1)}: "
    return ""


def _help(arguments: list[str]) -> str:
    """Return the command that shows what may be typed there."""
    names = {str(command.name) for command in app.registered_commands}
    names |= {command.callback.__name__ for command in app.registered_commands if command.callback}
    return " ".join(["autoscaler", *[each for each in arguments if each in names][:1], "--help"])


def _complain(text: str) -> None:
    _say(f"autoscaler: {printable(text)}")


def _say(text: str) -> None:
    """Write to standard error; where nobody can be told, the exit code still tells."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _print(text: str) -> bool:
    """Write a line to standard output; False where nobody reads it any more."""
    if sys.stdout is None:
        raise AutoscalerError(_NO_OUTPUT, next_step=_OPEN)
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard(sys.stdout)
        return False
    except OSError as error:
        _discard(sys.stdout)
        raise AutoscalerError(
            f"standard output: {error.strerror}, must take what is printed",
            next_step="send it elsewhere: > FILE on a disk with room",
        ) from error
    return True


def _discard(stream: TextIO) -> None:
    """Let what the stream still holds go nowhere at exit, where it would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print_version(wanted: bool) -> None:
    if wanted:
        _print(f"autoscaler {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Tell the version."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    context.obj.debug = debug


@app.command("run")
def run_daemon(
    config: _Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide and report, but write nothing.")
    ] = False,
) -> int:
    """Scale the targets until a signal asks to stop."""
    file = ConfigFile(find_file(config), os.environ)
    settings = file.load()

    from autoscaler.bootstrap import build

    if sys.stdout is None:
        lost = "records" if settings.records.to_output else "log"
        _complain(f"standard output is closed: there will be no {lost}; scaling goes on")
    with Path(os.devnull).open("w") as nowhere:
        build(settings, sys.stdout or nowhere, dry_run=dry_run, file=file).run()
    return 0


@app.command("check")
def check_everything(
    config: _Config = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look at the configuration and the queries only.")
    ] = False,
) -> int:
    """Look at configuration, queries, target, rights and rivals, and say what to mend."""
    settings = _load(config)

    from autoscaler.bootstrap import check_settings
    from autoscaler.check import Severity

    findings = check_settings(settings, offline=offline)
    _show(findings)
    return 0 if all(finding.severity is Severity.OK for finding in findings) else 1


@app.command()
def decide(
    config: _Config = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE/NAME", help="Which target's policy; the only one if not given."
        ),
    ] = None,
) -> int:
    """Turn observations (JSON Lines on standard input) into records (JSON Lines)."""
    from autoscaler.replay import replay

    chosen = _choose(_load(config), target)
    if sys.stdin is None:
        raise InputError(
            "standard input is closed, must give observations",
            next_step="autoscaler decide < observations.jsonl",
        )
    if sys.stdout is None:
        raise AutoscalerError(_NO_OUTPUT, next_step=_OPEN)
    for line in replay(to_policy(chosen), chosen.name, _lines(sys.stdin.buffer)):
        if not _print(line):  # whoever read us has seen enough
            break
    return 0


@app.command()
def sandbox(
    config: _Config = None,
    speed: Annotated[
        float | None,
        typer.Option(help="Times real time; if not given, what ends in two minutes."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the load generator.")] = 1,
    minutes: Annotated[float | None, typer.Option(help="Simulated minutes of load.")] = None,
    profile: Annotated[str | None, typer.Option(help="The machine that is imitated.")] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A request log to replay.")
    ] = None,
    busy_slots: Annotated[float | None, typer.Option(help="Mean load of a trace.")] = None,
    fault: Annotated[
        str | None, typer.Option(help="prometheus-outage, replica-crash or gateway-restart.")
    ] = None,
    rival: Annotated[
        str | None, typer.Option(help="Who writes instead, beside the daemon in shadow mode: hpa.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="For report and records.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay up after the load, until Ctrl-C.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live view.")] = False,
) -> int:
    """Show the daemon scale a real load on this machine alone."""
    try:
        from autoscaler.sandbox.run import SandboxOptions, run_sandbox
    except ModuleNotFoundError as error:
        name = error.name or ""
        if name.startswith("autoscaler.sandbox"):
            raise ConfigError(
                "the sandbox comes with the source checkout alone",
                next_step="make demo, in a checkout",
            ) from error
        if name.startswith("autoscaler"):
            raise
        raise ConfigError(
            f"the sandbox needs the package {name}, which is not there",
            next_step="pip install 'ollama-autoscaler[sandbox]'",
        ) from error
    options = SandboxOptions(
        config=config,
        speed=speed,
        seed=seed,
        minutes=minutes,
        profile=profile,
        trace=trace,
        busy_slots=busy_slots,
        fault=fault,
        rival=rival,
        out=out,
        keep=keep,
        plain=plain,
    )
    return run_sandbox(options)


@app.command("shadow-report")
def shadow_report(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Records; records.path if not given."),
    ] = None,
    config: _Config = None,
    prometheus: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Who knows the replicas that there were, by kube-state-metrics."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAMESPACE/NAME", help="The only one if not given.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Leave out what was before.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Leave out what came then or later.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a page, too, with curves.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Compare what a shadow would have done with what another autoscaler did."""
    from autoscaler.shadow import Asked, Told, compare_records, tell

    settings = _load(config) if config or not files else None
    asked = Asked(
        files=files or _records_of(settings),
        prometheus=_prometheus(prometheus, settings),
        target=target,
        begin=begin,
        end=end,
    )
    told = Told(as_json=as_json, html=html, width=_width())
    _print(tell(compare_records(asked), told))
    return 0


def _records_of(settings: Settings | None) -> list[Path]:
    path = settings.records.path if settings and not settings.records.to_output else None
    if path is None:
        raise InputError(
            "no FILE is given and records.path names none, must name the records",
            next_step="autoscaler shadow-report FILE",
        )
    return [path]


def _prometheus(url: str | None, settings: Settings | None) -> PrometheusSettings | None:
    """Return whom to ask: with the configuration's token, certificates and headers, if any."""
    if url is None:
        return None
    known = settings.prometheus if settings else PrometheusSettings()
    return known.model_copy(update={"url": url})


def _width() -> int | None:
    """Return how wide standard output is; None where it is no terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


@app.command()
def status(
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the daemon answers.")
    ] = "http://127.0.0.1:8080",
    target: Annotated[
        str | None, typer.Option(metavar="NAMESPACE/NAME", help="This target alone.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The answer itself.")] = False,
) -> int:
    """Show what the daemon makes of each target now, and what comes next."""
    from autoscaler.status import StatusOptions, show_status

    return show_status(StatusOptions(url=url, target=target, watch=watch, as_json=as_json), _print)


@app.command()
def explain(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE ...]",
            help="Records, with the files that they were rotated into; - for standard input.",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask a running daemon instead.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAMESPACE/NAME", help="Of this target only.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="The cycle in force then; 03:12 or a date.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="SPAN|TIME", help="One line for each cycle since then; 15m or 03:12."),
    ] = None,
    only_changes: Annotated[
        bool, typer.Option("--only-changes", help="Of these, who say something new.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Whole records as JSON lines instead.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Decide every record again, and compare.")
    ] = False,
    what_if: Annotated[
        list[str] | None,
        typer.Option("--what-if", metavar="KEY=VALUE", help="Decide by another configuration."),
    ] = None,
) -> int:
    """Tell why a cycle came to what it did: the last one, or one of the past."""
    from autoscaler.explain.command import Explaining, Options
    from autoscaler.explain.layout import readable_width
    from autoscaler.explain.screen import Paper

    options = Options(
        files=files or (),
        url=url,
        target=target,
        at=at,
        since=since,
        only_changes=only_changes,
        as_json=as_json,
        verify=verify,
        what_if=what_if or (),
    )
    explaining = Explaining(options, Paper(width=readable_width(_width())))
    for line in explaining.run():
        if not _print(_drawn(line)):
            break
    return explaining.code


@app.command()
def backtest(
    trace: Annotated[
        Path,
        typer.Argument(help="CSV or CSV.gz: arrival_s, input_tokens, output_tokens."),
    ],
    service: Annotated[str, typer.Option("--set", help="The machine and model.")] = "3b-laptop",
    seed: Annotated[int, typer.Option(help="Of the thinning and of start-up times.")] = 0,
    share: Annotated[float, typer.Option(help="Of the requests that is kept.")] = 1.0,
    wish: Annotated[str, typer.Option(help="How long a request may wait for a slot.")] = "10s",
    slots: Annotated[int | None, typer.Option(help="Requests at a time on a replica.")] = None,
    phi: Annotated[float | None, typer.Option(help="What parallel slots do not share.")] = None,
    fixed: Annotated[
        int | None, typer.Option(metavar="N", help="So many replicas, instead of a policy.")
    ] = None,
    config: _Config = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="NAMESPACE/NAME", help="Whose policy; the only one if not given."),
    ] = None,
    max_replicas: Annotated[
        int | None, typer.Option(metavar="N", help="Instead of the configured bound.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Run a log of requests through the policy, in virtual time, and tell cost and waits."""
    from autoscaler.backtest import command

    try:
        span = parse_duration(wish)
    except ValueError as refusal:
        raise InputError(f"--wish = {wish}, {refusal}") from refusal
    options = command.Options(
        trace=trace,
        service=service,
        seed=seed,
        share=share,
        wish=span,
        slots=slots,
        phi=phi,
        fixed=fixed,
        max_replicas=max_replicas,
    )
    settings = _load(config) if fixed is None else None
    chosen = _choose(settings, target) if settings else None
    interval = settings.interval if settings else timedelta(0)
    report = command.backtest(options, chosen, interval)
    for line in [report.as_json()] if as_json else report.lines():
        _print(line)
    return 0


def _load(config: Path | None) -> Settings:
    return load(find_file(config), os.environ)


def _choose(settings: Settings, name: str | None) -> TargetSettings:
    names = [target.name for target in settings.targets]
    if name is None and len(names) > 1:
        raise InputError(
            f"--target must be given, one of {', '.join(names)}",
            next_step=f"autoscaler decide --target {names[0]}",
        )
    if name is not None and name not in names:
        raise InputError(
            f"--target = {name}, must be one of {', '.join(names)}",
            next_step=f"autoscaler decide --target {names[0]}",
        )
    return settings.targets[names.index(name) if name else 0]


def _lines(stream: BinaryIO) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"line {number}: byte {error.start} is not UTF-8, must be text",
                next_step=f"mend line {number} of the input, or convert it: iconv -t UTF-8",
            ) from error


def _drawn(line: "Text | str") -> str:
    """Return a line with colours where a terminal shows them."""
    if isinstance(line, str):
        return line
    if sys.stdout is None or not sys.stdout.isatty():
        return line.plain
    from rich.console import Console

    console = Console(width=len(line.plain) + 1)
    with console.capture() as drawn:
        console.print(line)
    return drawn.get().rstrip("\n")


def _show(findings: "Iterable[Finding]") -> None:
    if sys.stdout is None or not sys.stdout.isatty():
        for finding in findings:
            then = f"; next: {finding.next_step}" if finding.next_step else ""
            _print(f"{finding.severity:<7} {printable(f'{finding.where}: {finding.what}{then}')}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    table = Table("", "where", "found", "next step", show_edge=False, pad_edge=False)
    for finding in findings:
        # Text, not markup: a query's [1m] is no colour.
        table.add_row(
            Text(finding.severity, style=colours[finding.severity]),
            *(Text(printable(text)) for text in (finding.where, finding.what, finding.next_step)),
        )
    console = Console()
    with console.capture() as drawn:
        console.print(table)
    _print(drawn.get().rstrip("\n"))

"""What a run came to: the table, the report, and whether it worked."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from autoscaler.records import Entry
from autoscaler.sandbox.faults import Fault
from autoscaler.sandbox.hpa import MANAGER
from autoscaler.sandbox.lanes import SLOTS
from autoscaler.sandbox.lived import as_lived
from autoscaler.sandbox.report import Run, Span, print_summary, write_html
from autoscaler.sandbox.stack import Stack
from autoscaler.sandbox.summary import LaneSummary, summarise
from autoscaler.sandbox.verdict import Evidence, failures, remarks, warnings
from autoscaler.sandbox.watch import Lateness
from autoscaler.shadow.command import write_page
from autoscaler.shadow.compare import compare
from autoscaler.shadow.survey import Window, survey
from autoscaler.shadow.text import render
from autoscaler.shadow.theirs import ByRecords

SHADOW = "shadow.html"
_SCALED = (
    "the daemon's interval, windows, cooldowns, periods and limits",
    "the ranges inside its queries and max_age",
    "Prometheus' scrape intervals and look-back",
    "the gateway's timers",
    "start-up, probes, back-off and grace period of the replicas",
    "token times and the users' arrivals and patience",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run that has gone through; nothing of it runs any more."""

    stack: Stack
    exit_code: int
    """The daemon's."""
    until_s: float
    """When it was over, in simulated seconds."""
    lateness: Lateness


def tell(ended: Ended, console: Console, report: Path) -> Sequence[str]:
    """Print the end and write the report; answers what did not work, one sentence each."""
    setup = ended.stack.setup
    evidence = _evidence(ended)
    problems = list(failures(evidence))
    notes = [*remarks(evidence), *warnings(ended.lateness), *_machine(ended)]
    run = _run(ended, [*problems, *notes])
    print_summary(run, console)
    write_html(run, report)
    for line in notes:
        _line(console, line)
    if setup.rival is not None:
        shadow = _shadow(ended, console, report.with_name(SHADOW))
        _line(console, f"shadow   {shadow}")
    _line(console, f"report   {report}")
    _line(console, f"records  {_short(setup.records)}")
    _line(console, f"next     {_next(ended)}")
    return problems


def _run(ended: Ended, notes: Sequence[str]) -> Run:
    stack, setup = ended.stack, ended.stack.setup
    traffic = setup.traffic
    fault = f" with fault {setup.fault}" if setup.fault else ""
    fault += f", {setup.rival} writes" if setup.rival else ""
    return Run(
        title=f"{setup.settings.targets[0].name}, {traffic.duration_s / 60:.0f} minutes{fault}",
        speed=setup.speed,
        started=stack.watch.started,
        duration_s=ended.until_s,
        series=stack.watch.series,
        bounds=setup.bounds,
        changes=stack.watch.changes,
        lanes=tuple(_lanes(ended)),
        phases=[
            Span(from_s=phase.from_s, to_s=phase.to_s, name=phase.name) for phase in traffic.phases
        ],
        faults=[stack.injected.span] if stack.injected else [],
        scaled=() if setup.speed == 1 else _SCALED,
        settings={
            "configuration": str(setup.config),
            "traffic": traffic.source,
            "replicas": f"{setup.profile.name}: {setup.profile.model}, {setup.profile.grounds}",
            "slots per replica": str(SLOTS),
            "seed": str(setup.seed),
            **{one.key: f"{one.shipped} -> {one.here}" for one in stack.plan.differences},
        },
        notes=notes,
    )


def _lanes(ended: Ended) -> Iterator[LaneSummary]:
    stack, until_s = ended.stack, ended.until_s
    ours = stack.lane.name
    yield summarise(ours, stack.load.outcomes(ours), stack.watch.series["up"], until_s)
    for lane in stack.fixed:
        steps = [(0.0, float(lane.replicas))]
        yield summarise(lane.name, stack.load.outcomes(lane.name), steps, until_s)


def _evidence(ended: Ended) -> Evidence:
    stack = ended.stack
    return Evidence(
        speed=stack.setup.speed,
        requests=len(stack.setup.traffic.requests),
        outcomes=stack.load.outcomes(stack.lane.name),
        cycles=stack.watch.cycles,
        exit_code=ended.exit_code,
        jobs=stack.jobs,
        slots=SLOTS,
        injected=stack.injected,
        fault=stack.setup.fault,
        moves=None if stack.lane.rival is None else [c.to - c.from_ for c in stack.watch.changes],
        written=() if stack.lane.rival is None else tuple(_written(stack)),
    )


def _written(stack: Stack) -> Iterator[str]:
    """Yield every write that was asked of the API but for the rival's."""
    for entry in stack.lane.cluster.audit:
        if entry.who != MANAGER:
            yield f"{entry.verb} {entry.path} by {entry.who}"


def _shadow(ended: Ended, console: Console, page: Path) -> Path:
    """Tell what the daemon would have done, in simulated time."""
    watch = ended.stack.watch
    cycles = [cycle.record for cycle in watch.cycles]
    lived = [Entry(line=0, record=one) for one in as_lived(cycles, watch.speed)]

    def entries() -> Iterator[Entry]:
        return iter(lived)

    window = Window()
    report = compare(entries, survey(entries, None, window), window, ByRecords())
    write_page(report, page)
    _line(console, render(report, width=console.width if console.is_terminal else None))
    return page


def _machine(ended: Ended) -> Iterator[str]:
    late = ended.lateness
    yield (
        f"machine: {late.busy:.0%} busy; 99 of 100 questions were sent within"
        f" {late.load_s:.1f} s and 99 of 100 cycles began within {late.cycles_s:.1f} s"
        f" of their time (simulated, at {ended.stack.setup.speed:g} times real time)"
    )


def _next(ended: Ended) -> str:
    setup = ended.stack.setup
    program = _short(Path(sys.argv[0])) if sys.argv[0].endswith("autoscaler") else "autoscaler"
    if setup.fault is None:
        return f"{program} sandbox --fault {Fault.PROMETHEUS_OUTAGE}"
    return f"{program} check --offline --config {setup.config}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)

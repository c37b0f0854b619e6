"""One cycle on one screen: what was seen, what each rule made of it, what came of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta, tzinfo

from rich.text import Text

from autoscaler.adapters.cycle_view import STAGES, CycleView, MetricView, view_of, view_of_record
from autoscaler.decision.cycle import Cycle
from autoscaler.decision.fold import Gap
from autoscaler.decision.model import Decision, Step
from autoscaler.decision.quality import Reading
from autoscaler.decision.recommend import wanted
from autoscaler.decision.record import Outcome, Record
from autoscaler.decision.words import Direction, MetricType, Reason, Stage
from autoscaler.explain.layout import WIDTH, line, paragraph, table
from autoscaler.explain.moments import shown
from autoscaler.explain.reasons import ENDINGS, MEANINGS
from autoscaler.ports import CycleReport

_MOTION = tuple(s for s in STAGES if s not in (Stage.QUALITY, Stage.SWITCH, Stage.CONFLICT))
"""Rules that have an opinion in every cycle."""
_BAD = (Outcome.CONFLICTED, Outcome.FAILED, Outcome.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What it is told on."""

    width: int = WIDTH
    zone: tzinfo | None = None
    """None: the system's."""


def viewed(record: Record) -> CycleView:
    """Return what there is to tell of a record, as the log and /status tell it."""
    return view_of_record(record, record.error or "")


def gap_sentence(gap: Gap) -> str:
    """Return the sentence of a cycle without a decision, as in the log."""
    return view_of(
        CycleReport(
            target=gap.target,
            at=gap.now,
            duration=timedelta(0),
            outcome=gap.outcome,
            record=None,
            error=gap.error,
            reason=gap.reason,
        )
    ).sentence


def tell_gap(gap: Gap, place: str, paper: Paper) -> list[Text]:
    """Tell of a cycle that came to no decision."""
    title = f"{gap.target} at {shown(gap.now, paper.zone)}"
    head = line(f"{title}  ({place})", "bold")
    row = f" (for {gap.cycles} cycles in a row)" if gap.cycles > 1 else ""
    why = f"came to no decision, and nothing was written{row}: {gap_sentence(gap)}"
    return [head, *paragraph(why, paper.width)]


def tell(record: Record, place: str, paper: Paper) -> list[Text]:
    """Tell one cycle."""
    view, width = viewed(record), paper.width
    cycle = view.judged
    assert cycle is not None  # noqa: S101 - there is a record
    head = f"{record.target} at {shown(view.at, paper.zone)}"
    return [
        *paragraph(f"{head}  ({place})", width, style="bold"),
        *paragraph(_headline(record), width, style=_style(record)),
        *paragraph(_seen(view, cycle), width),
        line(""),
        *_metrics(view, cycle, paper),
        line(""),
        *_rules(record, cycle, width),
        line(""),
        *(part for text in _endings(view, record) for part in paragraph(text, width, indent=2)),
    ]


def moved(decision: Decision) -> str:
    """Tell what was decided, in words."""
    if decision.direction is Direction.HOLD:
        return f"holds {decision.to}"
    verb = "grows" if decision.direction is Direction.UP else "shrinks"
    return f"{verb} from {decision.from_} to {decision.to}"


def told_step(step: Step) -> str:
    """Tell why a step was taken."""
    return f"{step.reason}: {step.detail}" if step.detail else str(step.reason)


def _headline(record: Record) -> str:
    reason = record.decision.reason
    return f"{moved(record.decision)}, {reason}: {MEANINGS[reason]}"


def _style(record: Record) -> str:
    if record.outcome in _BAD:
        return "red"
    return {Direction.UP: "green", Direction.DOWN: "cyan"}.get(record.decision.direction, "yellow")


def _seen(view: CycleView, cycle: Cycle) -> str:
    """Tell what replicas there are, and which there may be."""
    seen, bounds = cycle.observation, cycle.bounds
    said = [f"asked for {_count(seen.current, 'replica')}, {seen.ready} ready"]
    by = f" by schedule {bounds.schedule}" if bounds.schedule else ""
    said.append(f"allowed {bounds.min_replicas} to {bounds.max_replicas}{by}")
    if view.in_flight is not None:
        said.append(f"{_count(view.in_flight, 'request')} in flight")
    if view.paused:
        said.append("paused" if len(view.paused) > 1 else f"scaling {view.paused[0]} is paused")
    return "; ".join(said)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


# --- metrics ------------------------------------------------------------------------------------


def _metrics(view: CycleView, cycle: Cycle, paper: Paper) -> list[Text]:
    rows = [("metric", "value", "target", "age", "quality", "alone it wants")]
    styles = ["dim"]
    for metric, reading in zip(view.metrics, cycle.readings, strict=True):
        value = "-" if metric.value is None else f"{metric.value:.4g}"
        age = "-" if metric.age is None else f"{metric.age:.3g}s"
        wants = _wants(metric, reading, cycle, paper)
        rows.append((metric.name, value, f"{metric.target:g}", age, metric.quality, wants))
        styles.append("" if reading.whole else "yellow")
    return table(rows, paper.width, styles)


def _wants(metric: MetricView, reading: Reading, cycle: Cycle, paper: Paper) -> str:
    if reading.missing:
        return f"nothing: {_absence(reading, cycle, paper)}"
    want = wanted(cycle, reading)
    said = [f"{want.replicas}" if want else f"nothing: used for {reading.metric.use_for} only"]
    if want and want.reason not in (Reason.ABOVE_TARGET, Reason.BELOW_TARGET):
        said.append(MEANINGS[want.reason])
    if reading.metric.type is MetricType.POD and reading.counted:
        said.append(f"mean of {_count(reading.counted, 'pod')}")
    if metric.usage_ratio is not None:
        said.append(f"{metric.usage_ratio:.0%} of the target")
    if reading.detail:
        said.append(reading.detail)
    return ", ".join(said)


def _absence(reading: Reading, cycle: Cycle, paper: Paper) -> str:
    """Tell what is missing, and until when that blocks shrinking."""
    told = reading.detail or reading.quality
    if reading.since is None:
        return told
    if reading.expired:
        return f"{told}; missing for longer than hold_limit"
    until = (reading.since + cycle.policy.hold_limit).astimezone(paper.zone)
    return f"{told}; blocks shrinking until {until:%H:%M:%S}"


# --- rules --------------------------------------------------------------------------------------


def _rules(record: Record, cycle: Cycle, width: int) -> list[Text]:
    rows = [("rule", "from", "to", "because")]
    styles = ["dim"]
    told = [step for step in record.steps if step.stage is not Stage.VICTIMS]
    for step in told:
        rows.append((str(step.stage), str(step.from_), str(step.to), told_step(step)))
        styles.append("bold" if step.from_ != step.to else "")
    lines = table(rows, width, styles) if told else []
    return [*lines, *paragraph(_silent(record, cycle), width, style="dim", indent=2)]


def _silent(record: Record, cycle: Cycle) -> str:
    """Tell of the rules that left no step: they were asked in vain, or not at all."""
    stages = [step.stage for step in record.steps]
    number, bounds = cycle.current, cycle.bounds
    if Stage.SWITCH in stages and Stage.RECOMMEND not in stages and Stage.BOUNDS not in stages:
        return "no other rule has a say while it is switched off or paused"
    if not bounds.min_replicas <= number <= bounds.max_replicas:
        return "no metric has a say while the number is outside of what is allowed"
    silent = [str(stage) for stage in _MOTION if stage not in stages]
    if bounds.min_replicas > 0:
        silent.remove(Stage.IDLE)
    return f"nothing to change for: {', '.join(silent)}" if silent else ""


# --- what came of it ----------------------------------------------------------------------------


def _endings(view: CycleView, record: Record) -> Iterator[str]:
    decision = record.decision
    ending = ENDINGS[record.outcome]
    if record.outcome is Outcome.SCALED:
        ending = f"written, {_count(decision.to, 'replica')} asked for from now on"
    if record.outcome is Outcome.DRY_RUN:
        ending = f"dry run: nothing was written, else {_would(record)}"
    error = f": {record.error}" if record.error else ""
    yield f"outcome: {ending}{error}"
    victims = [step.detail for step in record.steps if step.stage is Stage.VICTIMS]
    if victims:
        yield f"who goes first: {victims[0]}"
    if decision.replace:
        yield f"to be replaced: {decision.replace}"
    pods = {
        "stuck": view.stuck,
        "failing to come up": view.failing,
        "without a node": view.unschedulable,
    }
    for what, names in pods.items():
        if names:
            yield f"{what}: {', '.join(names)}"
    foreign = record.observation.foreign_write
    if foreign is not None:
        to = "" if foreign.replicas is None else f" to {foreign.replicas}"
        yield f"another writer: {foreign.manager} set replicas{to}"


def _would(record: Record) -> str:
    decision = record.decision
    if decision.direction is Direction.HOLD:
        return f"{decision.replace} would have been deleted"
    return f"{_count(decision.to, 'replica')} would be asked for"

"""What is worth knowing of a line and is no contradiction: there are honest reasons for each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo

from autoscaler.decision.chain import Kind, Link
from autoscaler.decision.record import Json, Record, to_json
from autoscaler.decision.refusal import shown as shown_value
from autoscaler.decision.verify import NOTHING, compare
from autoscaler.explain.moments import shown

_LINKS = {
    Kind.RESUMED: "goes on after cycles without a decision, or after a start",
    Kind.ARRIVED: "a write whose answer was lost is taken for done",
    Kind.CLOCK_SET: "the clock was set, by {shift:+g}s; what is remembered has moved along",
    Kind.OLDER: "goes on from the memory of {last}, as after a restart",
    Kind.AFRESH: "begins without memory, as after a first start",
    Kind.ELSEWHERE: "goes on from a cycle at {last} that is not in these records",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing worth knowing."""

    kind: str
    """The same for all of its sort."""
    text: str


def notes(before: Record | None, record: Record, link: Link, zone: tzinfo | None) -> Iterator[Note]:
    """Yield what is odd about a line, seen alone and after the one before it."""
    if link.kind in _LINKS:
        last = record.state.last_cycle
        told = shown(last, zone) if last else "nowhere"
        text = _LINKS[link.kind].format(shift=link.shift.total_seconds(), last=told)
        yield Note(kind=link.kind, text=text)
    yield from _ready(record)
    if before is not None:
        yield from _settings(before, record)
        yield from _pods(before, record)


def value(told: Json) -> str:
    """Write a value for a message."""
    return NOTHING if told == NOTHING else shown_value(told, 100)


def _ready(record: Record) -> Iterator[Note]:
    """Tell where `ready` is not what the pods are; a simulation may say so, a daemon does not."""
    seen = record.observation
    if seen.pods is None:
        return
    ready = sum(pod.ready and not pod.deleting for pod in seen.pods)
    if ready != seen.ready:
        yield Note(kind="ready", text=f"ready is {seen.ready}, and {ready} of the pods are ready")


def _settings(before: Record, record: Record) -> Iterator[Note]:
    """Tell what somebody has set to another value."""
    if before.policy is not record.policy and before.policy != record.policy:
        changes = compare("policy", to_json(before.policy), to_json(record.policy))
        told = [f"{c.where} {value(c.recorded)} -> {value(c.decided)}" for c in changes]
        yield Note(kind="policy", text=f"the policy has changed: {'; '.join(told)}")
    if before.mode is not record.mode:
        yield Note(kind="mode", text=f"the mode has changed: {before.mode} -> {record.mode}")


def _pods(before: Record, record: Record) -> Iterator[Note]:
    """Tell of a pod that is no longer the same: what it was made of and when never changes."""
    old, new = before.observation.pods, record.observation.pods
    if not old or not new or old is new:
        return
    known = {pod.name: pod for pod in old}
    for pod in new:
        last = known.get(pod.name, pod)
        if pod.created != last.created:
            born = f"{value(to_json(last.created))} -> {value(to_json(pod.created))}"
            yield Note(kind="pods", text=f"pod {pod.name} was created at another time: {born}")
        if pod.template != last.template:
            kinds = f"{value(last.template)} -> {value(pod.template)}"
            yield Note(kind="pods", text=f"pod {pod.name} has another template: {kinds}")

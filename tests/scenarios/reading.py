"""A scenario file, read strictly: what is seen cycle by cycle, and what must come of it.

Whatever is misspelt, stands in the wrong place or could never be checked is a ScenarioError.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from autoscaler.decision.model import Pod
from autoscaler.duration import parse_duration
from autoscaler.settings.yaml_file import read_yaml

FOLDER = Path(__file__).parent
DEFAULT = FOLDER / "_default.yaml"
START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
EVERY = timedelta(seconds=15)

_FILE_KEYS = {"title", "wishes", "start", "every", "target", "refused", "lines", "overall"}
_TIME_KEYS = {"at", "until", "every"}
_SEEN_KEYS = {"current", "ready", "pods", "paused", "foreign", "write", "restart"}
_LINE_KEYS = _TIME_KEYS | _SEEN_KEYS | {"then"}
_POD_KEYS = set(Pod.__dataclass_fields__) - {"name"}
_THEN_KEYS = {"to", "reason", "step", "no_step", "victims", "replace", "outcome"}
_POD_WORDS: Mapping[str, Mapping[str, Any]] = {
    "ready": {},
    "starting": {"ready": False},
    "pending": {"phase": "Pending", "unschedulable": False},
    "unschedulable": {"phase": "Pending", "unschedulable": True},
    "failing": {"ready": False, "failing": True},
    "deleting": {"deleting": True},
}
_STEP_KEYS = {"stage", "reason", "from", "to", "detail"}
_OVERALL_KEYS = {"moves", "turns", "lowest", "highest", "never"}
_DIRECTIONS = {"grows", "shrinks"}
_PAUSES = {"both", "up", "down", "none"}
_WISH = re.compile(r"[\w.-]+/[\w.-]+#\d+")
_UNSEEN = "unseen"


class ScenarioError(Exception):
    """A file that does not say what it seems to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One line of a file: cycles that see the same and must come to the same."""

    number: int
    times: tuple[datetime, ...]
    seen: Mapping[str, Any]
    """The line's own keys, and what still holds of the lines before."""
    metrics: Mapping[str, Any]
    """Metric name to what it says, in short form."""
    then: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One failure that somebody saw."""

    name: str
    title: str
    wishes: tuple[str, ...]
    start: datetime
    target: Mapping[str, Any]
    """As in the configuration, whole."""
    refused: tuple[str, ...] = ()
    """What the refusal of the configuration says; then there are no lines."""
    stretches: tuple[Stretch, ...] = ()
    overall: Mapping[str, Any] = field(default_factory=dict)


def files() -> list[Path]:
    """Return all scenario files."""
    return sorted(path for path in FOLDER.glob("*.yaml") if path != DEFAULT)


def read_scenario(path: Path) -> Scenario:
    """Read one file."""
    data = read_yaml(path)
    _known(data, _FILE_KEYS, path.name)
    _need(("lines" in data) != ("refused" in data), f"{path.name}: either lines or refused")
    target = _merged(_default(), data.get("target", {}))
    target["metrics"] = [{"query": f"sum({m['name']})"} | m for m in target["metrics"]]
    title = data.get("title", "")
    _need(title.endswith("."), f"{path.name}: title must be a sentence")
    start = _time(data.get("start", START), START)
    return Scenario(
        name=path.stem,
        title=title,
        wishes=tuple(_wish(wish) for wish in data.get("wishes", [])),
        start=start,
        target=target,
        refused=tuple(data.get("refused", ())),
        stretches=tuple(_stretches(data, start, {metric["name"] for metric in target["metrics"]})),
        overall=_overall(data.get("overall", {})),
    )


@cache
def _default() -> Mapping[str, Any]:
    return read_yaml(DEFAULT)


def _stretches(data: Mapping[str, Any], start: datetime, metrics: set[str]) -> Iterator[Stretch]:
    every = _span(data["every"]) if "every" in data else EVERY
    said: dict[str, Any] = dict.fromkeys(metrics, _UNSEEN)
    pods: Any = None
    last: datetime | None = None
    for number, line in enumerate(data.get("lines", []), start=1):
        where = f"line {number}"
        _known(line, _LINE_KEYS | metrics, where)
        times = _times(line, start, every, where)
        _need(last is None or times[0] > last, f"{where}: must be later than the line before")
        last = times[-1]
        said.update({name: line[name] for name in metrics & set(line)})
        pods = line.get("pods", pods)
        _need(number > 1 or "current" in line, f"{where}: the first line must say current")
        yield Stretch(
            number=number,
            times=times,
            seen=_seen(line, start, where) | {"pods": _pods(pods, start, where)},
            metrics={name: value for name, value in said.items() if value is not _UNSEEN},
            then=_then(line.get("then"), where),
        )


def _times(
    line: Mapping[str, Any], start: datetime, every: timedelta, where: str
) -> tuple[datetime, ...]:
    _need("at" in line, f"{where}: must say at")
    first = _time(line["at"], start)
    _need("every" not in line or "until" in line, f"{where}: every without until")
    if "until" not in line:
        return (first,)
    step = _span(line["every"]) if "every" in line else every
    count = (_time(line["until"], start) - first) // step
    _need(count > 0, f"{where}: until must be a step after at, or more")
    return tuple(first + step * nth for nth in range(count + 1))


def _seen(line: Mapping[str, Any], start: datetime, where: str) -> dict[str, Any]:
    seen = {key: line[key] for key in _SEEN_KEYS & set(line) - {"pods"}}
    _need(seen.get("paused", "none") in _PAUSES, f"{where}: paused is one of {_PAUSES}")
    return seen


def _pods(pods: Any, start: datetime, where: str) -> list[dict[str, Any]] | None:
    """Return pods as an observation has them; what is not said is that of a pod that serves."""
    if pods in (None, "unknown"):
        return None
    told = []
    for name, short in pods.items():
        said = _pod(short)
        _known(said, _POD_KEYS, f"{where}: pod {name}")
        running = said.get("phase", "Running") == "Running"
        created = _time(said.get("created", "-1h"), start)
        told.append(
            {"name": name, "phase": "Running", "ready": running, **said}
            | {"created": created.isoformat()}
        )
    return told


def _pod(short: Any) -> Any:
    """Return what is said of a pod: a number is that of its requests in flight."""
    if isinstance(short, int):
        return {"in_flight": short}
    return _POD_WORDS.get(short, short) if isinstance(short, str) else short


def _then(then: Any, where: str) -> Mapping[str, Any]:
    _need(isinstance(then, dict), f"{where}: must say then")
    _known(then, _THEN_KEYS, f"{where}: then")
    _need("to" in then and "reason" in then, f"{where}: then must say to and reason")
    mixed = then["reason"]
    if isinstance(mixed, dict):
        _known(mixed, {"mixed"}, f"{where}: reason")
        _need(len(mixed["mixed"]) > 1, f"{where}: mixed is of several")
    for key in ("step", "no_step"):
        for step in listed(then.get(key, [])):
            _known(step, _STEP_KEYS, f"{where}: {key}")
            _need(bool(step), f"{where}: {key} says nothing")
    return then


def _overall(overall: Mapping[str, Any]) -> Mapping[str, Any]:
    _known(overall, _OVERALL_KEYS, "overall")
    _need(overall.get("never", "grows") in _DIRECTIONS, f"never is one of {_DIRECTIONS}")
    return overall


def listed(value: Any) -> list[Any]:
    """Return a list of what may be given alone."""
    return value if isinstance(value, list) else [value]


def _merged(base: Any, change: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return base | {key: _merged(base.get(key), value) for key, value in change.items()}


def _wish(wish: Any) -> str:
    _need(_WISH.fullmatch(str(wish)) is not None, f"{wish}: must be project#number")
    return str(wish)


def _time(said: Any, start: datetime) -> datetime:
    """Return a time: a span after the start (also a negative one), or a date with its zone."""
    if isinstance(said, datetime):
        return said
    if isinstance(said, str) and said[4:5] == "-":
        at = datetime.fromisoformat(said)
        _need(at.tzinfo is not None, f"{said}: must have a zone")
        return at
    return start + _span(said)


def _span(said: Any) -> timedelta:
    text = str(said)
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


def _known(data: Any, keys: set[str], where: str) -> None:
    _need(isinstance(data, dict), f"{where}: must be a mapping")
    strange = set(data) - keys
    _need(not strange, f"{where}: unknown {', '.join(sorted(strange))}")


def _need(holds: bool, rule: str) -> None:
    if not holds:
        raise ScenarioError(rule)

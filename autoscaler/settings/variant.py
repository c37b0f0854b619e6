"""A recorded policy under other values, by the rules of the configuration: `key=value`."""

# What a person types may be anything until it is checked.
# ruff: noqa: ANN401

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from autoscaler.decision.model import Policy
from autoscaler.errors import ConfigError
from autoscaler.settings.refusal import nearest, tell
from autoscaler.settings.sources import faults_of
from autoscaler.settings.target import TargetSettings, to_policy
from autoscaler.settings.yaml_file import parse_yaml

_NOT_DECIDED_BY = ("mode",)
"""What changes no decision, only what is done about it."""
_FIXED = ("metrics.*.name", "metrics.*.query", "schedules.*.name")
_INDEX = re.compile(r"\[([0-9]+)\]")

Tree = dict[str, Any]


def vary(policy: Policy, changes: Sequence[str]) -> Policy:
    """Return the policy with each `key=value` in it. Raises ConfigError, one line."""
    try:
        return _varied(policy, changes)
    except ConfigError as error:
        error.next_step = error.next_step or "type it again with another value"
        raise


def _varied(policy: Policy, changes: Sequence[str]) -> Policy:
    settings = _settings_of(policy)
    known = list(_keys(settings))
    given: list[str] = []
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"{change}: must be KEY=VALUE, such as max_replicas=8",
                next_step="type it again as KEY=VALUE, such as max_replicas=8",
            )
        path = _path(settings, key)
        if path not in known:
            raise _unknown(change, path, known)
        try:
            _put(settings, path.split("."), parse_yaml(text, change))
        except (LookupError, TypeError, ValueError):
            raise ConfigError(
                f"{change}: is no longer there after {given[-1]}=..., must be a key that is left",
                next_step=f"type it again without {change}",
            ) from None
        given.append(path.split(".")[0])
    try:
        varied = to_policy(TargetSettings.model_validate(settings))
    except ValidationError as error:
        raise ConfigError(f"{', '.join(changes)}: {tell(faults_of(error))}") from None
    # What nobody asked to change stays as it was recorded, whatever today's rules would make of it.
    return replace(policy, **{name: getattr(varied, name) for name in given})


def _unknown(change: str, path: str, known: Sequence[str]) -> ConfigError:
    """Name all that may follow the part of the path that is right."""
    place, _, leaf = path.rpartition(".")
    while place and not any(key.startswith(f"{place}.") for key in known):
        place, _, leaf = place.rpartition(".")
    begin = f"{place}." if place else ""
    inside = [key.removeprefix(begin) for key in known if key.startswith(begin)]
    names = list(dict.fromkeys(key.partition(".")[0] for key in inside))
    hint = nearest(leaf, names)
    rule = f"must be {begin} and one of" if begin else "must be one of"
    return ConfigError(
        f"{change}: unknown key, {rule} {', '.join(names)}{hint}",
        next_step=f"type it again with {begin}{hint.rpartition(' ')[2] or names[0]}=VALUE",
    )


def _settings_of(policy: Policy) -> Tree:
    """Return the section of the configuration that makes this policy."""
    tree = asdict(policy)
    tree["stuck_after"] = policy.stuck_after or timedelta(0)
    if not policy.idle_period:
        tree["idle_period"] = timedelta(seconds=1)  # the least that there may be; it is not taken
    tree["metrics"] = [{**metric, "query": "recorded"} for metric in tree["metrics"]]
    for key in ("scale_up", "scale_down"):
        tree[key]["policies"] = list(tree[key]["policies"])
    tree["schedules"] = list(tree["schedules"])
    return {"namespace": "recorded", "deployment": "recorded", **tree}


def _keys(tree: Any, place: str = "", form: str = "") -> Iterator[str]:
    """Yield every key that may be given, lists of named things by their names."""
    for part, value in _children(tree):
        key = f"{place}.{part}".lstrip(".")
        general = f"{form}.{'*' if isinstance(tree, list) else part}".lstrip(".")
        if general in (*_FIXED, *_NOT_DECIDED_BY, "namespace", "deployment"):
            continue
        if isinstance(value, dict | list):
            if isinstance(value, list) and key != "metrics":  # a record holds no query
                yield key
            yield from _keys(value, key, general)
        else:
            yield key


def _children(tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        yield from tree.items()
        return
    for index, value in enumerate(tree):
        yield value.get("name", str(index)), value


def _path(tree: Any, key: str) -> str:
    """Return a key as `_keys` has it, whichever way an entry of a list was given."""
    path = []
    for part in _INDEX.sub(r".\1", key.strip()).split("."):
        children = dict(_children(tree)) if isinstance(tree, dict | list) else {}
        names = list(children) if isinstance(tree, list) and part not in children else []
        known = names[int(part)] if part.isdecimal() and int(part) < len(names) else part
        path.append(known)
        tree = children.get(known)
    return ".".join(path)


def _put(tree: Any, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        tree = tree[_at(tree, part)]
    tree[_at(tree, path[-1])] = value


def _at(tree: Any, part: str) -> Any:
    """Return the key or index of a part of a path."""
    if isinstance(tree, dict):
        return part
    names = [value.get("name") if isinstance(value, dict) else None for value in tree]
    return names.index(part) if part in names else int(part)

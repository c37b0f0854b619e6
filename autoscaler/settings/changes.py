"""What is different between two configurations, by its keys."""

from collections.abc import Iterator

from pydantic import BaseModel

from autoscaler.settings.sections import Settings


def changed_keys(before: Settings, after: Settings) -> tuple[str, ...]:
    """Return the keys whose values differ, such as `http.port`; those of a target by its name.

    Values are not told: they may be secret.
    """
    return (*_fields("", before, after), *_targets(before, after))


def _fields(path: str, before: BaseModel, after: BaseModel) -> Iterator[str]:
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if name == "targets" or old == new:
            continue
        if isinstance(old, BaseModel) and type(old) is type(new):
            yield from _fields(f"{path}{name}.", old, new)
        else:
            yield f"{path}{name}"


def _targets(before: Settings, after: Settings) -> Iterator[str]:
    old, new = ({target.name: target for target in each.targets} for each in (before, after))
    yield from (f"{name} (removed)" for name in old if name not in new)
    for name, target in new.items():
        if name in old:
            yield from _fields(f"{name}.", old[name], target)
        else:
            yield f"{name} (added)"

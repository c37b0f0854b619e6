"""Reading what is right without looking for what is wrong: a plan for each class, made once.

A plan accepts no more than `record.py` does. Whatever it stumbles over is read again there, by the
code that can say where and why; so nothing here has a message.
"""

# JSON is Any, and so is what a plan makes of it.
# ruff: noqa: ANN401

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from math import isfinite
from types import MappingProxyType
from typing import Any, Union, get_args, get_origin, get_type_hints

Plan = Callable[[Any], Any]
_NO_SPAN = timedelta(0)


class StumbledError(Exception):
    """The data is not what a plan expects; it may still be right."""


@cache
def plan(kind: Any) -> Plan:
    """Return what reads the JSON of a kind of value, or raises."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return _tuple(plan(arguments[0]))
    if origin is Mapping:
        return _mapping(plan(arguments[1]))
    if is_dataclass(kind):
        return _dataclass(kind)
    return _plain(kind)


def _union(options: tuple[Any, ...]) -> Plan:
    may_be_none = type(None) in options
    classes = [option for option in options if option is not type(None)]
    if len(classes) == 1:
        read_one = plan(classes[0])
        return lambda data: None if data is None and may_be_none else read_one(data)
    by_key = [(fields(option)[0].name, plan(option)) for option in classes]

    def read(data: Any) -> Any:
        for key, read_it in by_key:
            if key in data:
                return read_it(data)
        raise StumbledError

    return read


def _tuple(item: Plan) -> Plan:
    def read(data: Any) -> Any:
        if type(data) is not list:
            raise StumbledError
        return tuple([item(each) for each in data])

    return read


def _mapping(item: Plan) -> Plan:
    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise StumbledError
        return MappingProxyType({key: item(each) for key, each in data.items()})

    return read


def _dataclass(kind: Any) -> Plan:
    hints = get_type_hints(kind)
    known = {
        field.name.removesuffix("_"): (field.name, plan(hints[field.name]))
        for field in fields(kind)
    }

    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise StumbledError
        values = {}
        for key, each in data.items():
            name, read_it = known[key]
            values[name] = read_it(each)
        return kind(**values)  # raises where one is missing

    return read


def _plain(kind: Any) -> Plan:
    if kind is datetime:
        return _time
    if kind is timedelta:
        return lambda data: timedelta(seconds=_number(data))
    if kind is float:
        return _number
    if issubclass(kind, Enum):
        return {member.value: member for member in kind}.__getitem__

    def read(data: Any) -> Any:
        if type(data) is not kind:
            raise StumbledError
        return data

    return read


def _number(data: Any) -> float:
    if type(data) not in (float, int) or not isfinite(data):
        raise StumbledError
    return float(data)


def _time(data: Any) -> datetime:
    at = datetime.fromisoformat(data)
    if at.tzinfo is UTC:
        return at
    return at.replace(tzinfo=UTC) if at.utcoffset() == _NO_SPAN else at

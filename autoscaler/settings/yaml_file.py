"""YAML read strictly: UTF-8, one document, no key twice, keys are text.

A refusal gives line, column and the kind of problem, and never quotes the document: what breaks a
line may well be part of a password.
"""

# What a file holds may be anything until it is checked.
# ruff: noqa: ANN401

import re
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from autoscaler.errors import ConfigError

_ANOTHER = "name another file with --config FILE"
_LARGEST = 1 << 20
"""Bytes; a configuration beyond this is some other file."""
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
_SYNTAX = re.compile(r"'([-,:?{}\[\]]|<[a-z ]+>)'")
"""What the parser quotes of YAML itself, not of the document."""


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, without its silent "the last of two equal keys wins"."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError, TypeError):  # as in `!!int "text"`
            raise yaml.constructor.ConstructorError(
                problem="a value must be what its tag says", problem_mark=node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be text", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem="a key must not stand twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1, which this parser speaks, takes `1e-1` for text; everybody else takes it for a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str, where: str) -> Any:
    """Read one document. Raises ConfigError with `where`, line, column and the kind of problem."""
    try:
        # A subclass of SafeLoader: it builds plain values only.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        told = ", ".join(part for part in (error.context, error.problem) if part)
        refusal = f"{where}{place}: must be YAML: {_unquoted(told)}"
    except yaml.reader.ReaderError as error:
        refusal = f"{where}: must be YAML: character {error.position + 1} is not allowed in it"
    except RecursionError:
        refusal = f"{where}: must be YAML: nested too deeply"
    raise ConfigError(refusal)  # here, without the parser's own error, which quotes


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file that holds one mapping. Raises ConfigError, one line, naming the file."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file, must be a configuration file", next_step=_ANOTHER
        ) from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a directory, must be a file", next_step=_ANOTHER) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{path}: cannot be read: {reason}, must be a file that you may read",
            next_step=f"ls -l {quote(str(path))}",
        ) from error
    if len(content) > _LARGEST:
        raise ConfigError(f"{path}: must not be larger than {_LARGEST} bytes", next_step=_ANOTHER)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8, must be text") from error
    data = parse_yaml(text, str(path))
    if data is None:
        raise ConfigError(f"{path}: is empty, must name at least one target")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping of keys, is a {type(data).__name__}")
    return data


def _unquoted(told: str) -> str:
    """Leave out what the parser's message quotes of the document."""
    return _QUOTED.sub(
        lambda quoted: quoted[0] if _SYNTAX.fullmatch(quoted[0]) else "(hidden)", told
    )

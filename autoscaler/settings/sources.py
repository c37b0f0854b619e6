"""Where settings come from: arguments, then the environment, then the file.

Environment names are the keys in capitals, `AUTOSCALER_` in front, `__` between levels. Lists and
mappings are given whole, as JSON or YAML.
"""

# What comes from outside may be anything until it is checked.
# ruff: noqa: ANN401

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from autoscaler.errors import ConfigError
from autoscaler.settings.refusal import Fault, is_secret, nearest, printable, show, tell
from autoscaler.settings.sections import ENVIRONMENT, NESTING, Settings
from autoscaler.settings.values import is_header_name
from autoscaler.settings.yaml_file import parse_yaml, read_yaml

DEFAULT_PATHS = (Path("config/autoscaler.yaml"), Path("/etc/autoscaler/autoscaler.yaml"))

# Kubernetes gives every pod such variables for each Service of its namespace, so a Service named
# `autoscaler` makes AUTOSCALER_PORT=tcp://10.96.0.7:8080 and more: not ours, and no mistake.
_SERVICE_LINK = re.compile(
    rf"{ENVIRONMENT}([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def find_file(given: Path | None = None) -> Path:
    """Return the file to load: the given one, else the first default that exists."""
    if given is not None:
        return given
    for path in DEFAULT_PATHS:
        if path.exists():
            return path
    tried = " and ".join(str(path) for path in DEFAULT_PATHS)
    raise ConfigError(
        f"no configuration file at {tried}, must be given with --config FILE",
        next_step="autoscaler check --offline --config FILE",
    )


def load(path: Path, environ: Mapping[str, str], **arguments: Any) -> Settings:
    """Read and check everything. Raises ConfigError: one line with key, rule and value."""
    try:
        return _load(path, environ, **arguments)
    except ConfigError as error:
        mended = f"mend it, then type: autoscaler check --offline --config {quote(str(path))}"
        error.next_step = error.next_step or mended
        raise


def _load(path: Path, environ: Mapping[str, str], **arguments: Any) -> Settings:
    from_file = read_yaml(path)
    from_environment = _Environment(Settings, environ)

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours names what it refuses
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            in_file = InitSettingsSource(settings_cls, init_kwargs=from_file)
            return init_settings, from_environment, in_file

    try:
        return Sourced(**arguments)
    except ValidationError as error:
        raise ConfigError(
            _with_sources(path, faults_of(error), from_environment.variables)
        ) from None


def faults_of(error: ValidationError) -> list[Fault]:
    """Return what a validator has refused, to be told by `refusal.tell`."""
    return [_fault(detail) for detail in error.errors(include_url=False)]


class _Environment(PydanticBaseSettingsSource):
    """The environment's variables as a nested mapping; refuses a name that means nothing."""

    def __init__(self, settings_cls: type[Settings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        known = {_variable(path): (path, field) for path, field in _leaves(Settings)}
        self.variables: dict[tuple[str, ...], str] = {}
        self._values: dict[str, Any] = {}
        for variable, text in sorted(environ.items()):
            if not variable.upper().startswith(ENVIRONMENT) or _is_service_link(variable, text):
                continue
            if variable not in known:
                raise ConfigError(_unknown(variable, text, known))
            path, field = known[variable]
            self.variables[path] = variable
            self._put(path, _value(variable, text, field))

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """Answer for one field (the base class asks for this method)."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return everything at once."""
        return self._values

    def _put(self, path: tuple[str, ...], value: Any) -> None:
        level = self._values
        for key in path[:-1]:
            level = level.setdefault(key, {})
        level[path[-1]] = value


def _leaves(
    section: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _leaves(field.annotation, (*path, name))
        else:
            yield (*path, name), field


def _variable(path: tuple[str, ...]) -> str:
    return ENVIRONMENT + NESTING.join(path).upper()


def _is_service_link(variable: str, text: str) -> bool:
    if _SERVICE_LINK.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(text) is not None


def _unknown(variable: str, text: str, known: Mapping[str, Any]) -> str:
    hint = nearest(variable.upper(), known)
    # A misspelt name may still hold a secret: look at what was probably meant, too.
    shown = "(hidden)" if is_secret(variable) or is_secret(hint) else show(text, variable)
    return f"environment: {printable(variable)} = {shown}, unknown variable{hint}"


def _value(variable: str, text: str, field: FieldInfo) -> Any:
    """Give text its type where the field is not text: files are typed, the environment is not."""
    is_plural = get_origin(field.annotation) in (tuple, dict)
    if not is_plural and field.annotation is not int:
        return text
    value = parse_yaml(text, f"environment: {variable}")
    return text if value is None else value


def _fault(detail: Any) -> Fault:
    path = _place(detail["loc"])
    context = detail.get("ctx", {})
    if detail["type"] == "across":
        # A rule over several keys names the wrong one itself: "key = value, rule".
        key, _, message = detail["msg"].partition(" = ")
        path = (*path, *key.split("."))
        return Fault(kind="across", path=path, value=None, context={}, message=message)
    return Fault(
        kind=detail["type"],
        path=path,
        value=detail["input"],
        context=context,
        message=str(context["error"]) if "error" in context else detail["msg"],
        siblings=tuple(_keys_at(path[:-1])),
    )


def _place(found: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return the place of a fault; a name that can be no header's may be anything, so it hides."""
    if found[:2] != ("prometheus", "headers") or len(found) < 3 or is_header_name(str(found[2])):
        return found
    return (*found[:2], "(hidden)")


def _keys_at(path: tuple[str | int, ...]) -> Iterator[str]:
    section: type[BaseModel] | None = Settings
    for part in path:
        if section is None:
            return
        if isinstance(part, str):
            field = section.model_fields.get(part)
            section = _section_of(field.annotation) if field else None
    if section is not None:
        yield from section.model_fields


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Find the section that a field holds, be it alone or in a list."""
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next(
        (kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)),
        None,
    )


def _with_sources(path: Path, faults: list[Fault], variables: Mapping[tuple[str, ...], str]) -> str:
    """Tell the faults, those of the environment under their variables' names."""
    in_file = []
    in_environment = []
    for fault in faults:
        owner = next((key for key in variables if fault.path[: len(key)] == key), None)
        if owner is None:
            in_file.append(fault)
        else:
            in_environment.append(fault.moved((variables[owner], *fault.path[len(owner) :])))
    told = [f"environment: {tell(in_environment)}"] if in_environment else []
    told += [f"{path}: {tell(in_file)}"] if in_file else []
    return " ".join("; ".join(told).split())

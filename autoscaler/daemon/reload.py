"""A changed configuration is taken over while the daemon runs; a bad one is refused."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoscaler.errors import AutoscalerError
from autoscaler.settings import Settings, changed_keys, load

_FIXED = ("http", "log", "kubernetes", "leadership", "records")
"""Sections that hold for as long as the process lives."""
_MOST_BYTES = 1 << 21


class ConfigFile:
    """The configuration's file, and whether it has changed."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        """Take what the file holds now for known."""
        self._path = path
        self._environ = dict(environ)
        self._known = self._last = self._digest()

    def load(self) -> Settings:
        """Read and check it. Raises ConfigError."""
        return load(self._path, self._environ)

    def changed(self) -> bool:
        """Tell once of each change, as soon as two looks have shown the same.

        A file that is written in place would else be read half written. What a ConfigMap mounts is
        swapped as a whole; the name stays, so the content is what is compared.
        """
        before, self._last = self._last, self._digest()
        if self._last != before or self._last == self._known:
            return False
        self._known = self._last
        return True

    def _digest(self) -> bytes | None:
        """Return what stands for the content; None where it cannot be read, or only once."""
        try:
            if not self._path.is_file():
                return None
            with self._path.open("rb") as file:
                return hashlib.sha256(file.read(_MOST_BYTES)).digest()
        except (OSError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadListeners:
    """Who is told of changes of the configuration."""

    on_reloaded: Callable[[tuple[str, ...]], None]
    """With the keys and targets that have changed."""
    on_refused: Callable[[str], None]
    """With the reason."""
    on_restart_needed: Callable[[tuple[str, ...]], None]
    """With the keys that hold as they were until the process is started again."""


class Reload:
    """The duty to look for a changed configuration."""

    def __init__(
        self,
        file: ConfigFile,
        settings: Settings,
        apply: Callable[[Settings], None],
        listeners: ReloadListeners,
    ) -> None:
        """Start from these settings, and have changed ones taken over by `apply`."""
        self._file = file
        self._settings = settings
        self._apply = apply
        self._listeners = listeners

    def start(self) -> None:
        """Do nothing: there is nothing to begin."""

    def stop(self) -> None:
        """Do nothing: there is nothing to end."""

    def glance(self) -> None:
        """Take over what has changed. Never raises."""
        if not self._file.changed():
            return
        try:
            self._take_over(self._file.load())
        except AutoscalerError as error:
            self._listeners.on_refused(str(error))
        except Exception as error:  # noqa: BLE001 - the old one goes on
            self._listeners.on_refused(f"unexpected {type(error).__name__}: {error}")

    def _take_over(self, found: Settings) -> None:
        fixed = {name: getattr(self._settings, name) for name in _FIXED}
        settings = found.model_copy(update=fixed)
        changes = changed_keys(self._settings, settings)
        self._apply(settings)
        self._settings = settings
        self._listeners.on_reloaded(changes)
        if waiting := changed_keys(settings, found):
            self._listeners.on_restart_needed(waiting)

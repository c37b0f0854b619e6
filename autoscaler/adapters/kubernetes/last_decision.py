"""The last decision worth telling, as an annotation of its Deployment, for `kubectl describe`.

It stands in the Deployment's own metadata, not in its pod template, so no rollout comes of it.
Nobody waits for it: a thread of its own writes, not too often, and of several decisions of a
Deployment only the newest. What the API does not take is told of once, and does no harm.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from threading import Condition, Thread

from kubernetes.client import ApiClient, AppsV1Api

from autoscaler.adapters.kubernetes.annotations import LAST_DECISION
from autoscaler.adapters.kubernetes.client import FIELD_MANAGER, Right
from autoscaler.adapters.kubernetes.events import Bucket, ObjectRef, one_line
from autoscaler.adapters.kubernetes.telling import tell
from autoscaler.ports import Clock

ANNOTATING = Right(verb="patch", resource="deployments", group="apps")
"""What it needs, for the Deployment."""

_TIMEOUT = timedelta(seconds=5)
_EVERY_SECONDS = 10.0
"""Least time between two writes to the same Deployment."""
_MOST_WAITING = 2000
_MERGE = "application/merge-patch+json"


class LastDecisions:
    """Writes what is decided to the Deployments that it is about."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        complain: Callable[[str], None],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """Write by a client that only writes while we lead, which `leads` tells."""
        self._api = AppsV1Api(client)
        self._clock = clock
        self._complain = complain
        self._leads = leads
        self._waiting: dict[tuple[str, str], str] = {}
        self._written: dict[tuple[str, str], float] = {}
        self._bucket = Bucket(clock.monotonic())
        self._changed = Condition()
        self._closing = False
        self._thread: Thread | None = None
        self._broken = False

    def tell(self, about: ObjectRef, sentence: str) -> None:
        """Have the Deployment's annotation say this, soon. Never waits, never raises."""
        key = about.namespace, about.name
        with self._changed:
            if key not in self._waiting and len(self._waiting) >= _MOST_WAITING:
                return
            self._waiting[key] = one_line(sentence)
            self._changed.notify()
            if self._thread is None:
                with suppress(RuntimeError):  # no thread to be had
                    thread = Thread(target=self._work, name="last decisions", daemon=True)
                    thread.start()
                    self._thread = thread

    def close(self, timeout: timedelta) -> None:
        """Write what is left, as far as we still lead, for as long as that may take."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout.total_seconds())

    def _work(self) -> None:
        while (due := self._next()) is not None:
            key, sentence = due
            try:
                self._write(*key, sentence)
            except Exception as error:  # noqa: BLE001 - the next one may succeed
                self._lose(error)
            else:
                self._broken = False

    def _next(self) -> tuple[tuple[str, str], str] | None:
        """Wait for something that may be written; None at the end."""
        with self._changed:
            while True:
                now = self._clock.monotonic()
                key = min(self._waiting, key=self._last_write, default=None)
                left = 0.0 if key is None else self._last_write(key) + _EVERY_SECONDS - now
                if key is not None and (left <= 0 or self._closing):
                    self._changed.wait_for(lambda: self._closing, self._bucket.take(now))
                    self._remember(key, now)
                    return key, self._waiting.pop(key)
                if self._closing:
                    return None
                self._changed.wait(left or None)

    def _last_write(self, key: tuple[str, str]) -> float:
        return self._written.get(key, float("-inf"))

    def _remember(self, key: tuple[str, str], now: float) -> None:
        recent = {each: at for each, at in self._written.items() if now - at < _EVERY_SECONDS}
        self._written = {**recent, key: now}

    def _write(self, namespace: str, name: str, sentence: str) -> None:
        if not self._leads():
            return
        self._api.patch_namespaced_deployment(
            name,
            namespace,
            {"metadata": {"annotations": {LAST_DECISION: sentence}}},
            field_manager=FIELD_MANAGER,
            _content_type=_MERGE,
            _request_timeout=_TIMEOUT.total_seconds(),
            _preload_content=False,
        )

    def _lose(self, error: Exception) -> None:
        if not self._broken and self._leads():
            with suppress(Exception):
                self._complain(f"annotations of Deployments are not written: {tell(error)}")
        self._broken = True

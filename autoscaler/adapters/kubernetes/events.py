"""Kubernetes events: what an operator reads in `kubectl describe` and `kubectl get events`.

Nobody waits for one: a thread of its own sends them, not too many in a time. One that repeats
itself is counted, and sent again later. What the API does not take is lost, which is told of once.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Full, Queue
from threading import Event, Lock, Thread

from kubernetes.client import (
    ApiClient,
    CoreV1Api,
    CoreV1Event,
    V1EventSource,
    V1ObjectMeta,
    V1ObjectReference,
)

from autoscaler.adapters.kubernetes.client import FIELD_MANAGER, Right
from autoscaler.adapters.kubernetes.telling import tell
from autoscaler.adapters.lines import printable
from autoscaler.ports import Clock

CREATE_EVENTS = Right(verb="create", resource="events")
"""What Events needs, in the namespace of each object."""

_TIMEOUT = timedelta(seconds=5)
_MOST_WAITING = 200
_BURST = 20.0
_PER_SECOND = 2.0
_QUIET_SECONDS = 600.0
_MOST_REMEMBERED = 1000
# What the API takes.
_LONGEST_NOTE = 1024
_LONGEST_REASON = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """What an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""
    """`kubectl describe` finds events by it; empty where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Happening:
    """What is the same as an earlier one where all of it is."""

    about: ObjectRef
    reason: str
    note: str
    warning: bool


@dataclass(slots=True, kw_only=True)
class _Sent:
    """When something was last sent, and how often it has happened since."""

    at: float
    first_since: datetime | None = None
    since: int = 0


class Events:
    """Tells of what happens to objects."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        complain: Callable[[str], None],
        timeout: timedelta = _TIMEOUT,
    ) -> None:
        """Send by a client of `load_client`; `complain` hears once of events that are lost."""
        self._api = CoreV1Api(client)
        self._clock = clock
        self._complain = complain
        self._timeout = timeout.total_seconds()
        self._waiting: Queue[_Happening | None] = Queue(_MOST_WAITING)
        self._sent: dict[_Happening, _Sent] = {}
        self._bucket = Bucket(clock.monotonic())
        self._closing = Event()
        self._starting = Lock()
        self._thread: Thread | None = None
        self._broken = False

    def tell(self, about: ObjectRef, reason: str, note: str, *, warning: bool = False) -> None:
        """Take an event, whose note becomes one line. Never waits, never raises."""
        happening = _Happening(
            about=about,
            reason=printable(reason[:_LONGEST_REASON]),
            note=one_line(note),
            warning=warning,
        )
        with suppress(Full, RuntimeError):  # a system that has no thread left has other worries
            self._waiting.put_nowait(happening)
            with self._starting:
                if self._thread is None:
                    self._thread = Thread(target=self._work, name="events", daemon=True)
                    self._thread.start()

    def close(self, timeout: timedelta) -> None:
        """Send what is left, without any pause, for as long as that may take."""
        self._closing.set()
        every = self._waiting.all_tasks_done
        with every:
            every.wait_for(lambda: not self._waiting.unfinished_tasks, timeout.total_seconds())
        with suppress(Full):
            if self._thread is not None:
                self._waiting.put_nowait(None)

    def _work(self) -> None:
        while (happening := self._waiting.get()) is not None:
            try:
                self._send(happening)
            except Exception as error:  # noqa: BLE001 - the next one may succeed
                self._sent.pop(happening, None)
                self._lose(error)
            else:
                self._broken = False
            self._waiting.task_done()
        self._waiting.task_done()

    def _send(self, happening: _Happening) -> None:
        now, at = self._clock.now(), self._clock.monotonic()
        before = self._sent.get(happening, _Sent(at=-_QUIET_SECONDS + at))
        if at - before.at < _QUIET_SECONDS:
            before.since += 1
            before.first_since = before.first_since or now
            return
        self._closing.wait(self._bucket.take(at))
        body = _event(happening, before.first_since or now, now, before.since + 1)
        self._api.create_namespaced_event(
            happening.about.namespace,
            body,
            field_manager=FIELD_MANAGER,
            _request_timeout=self._timeout,
            _preload_content=False,
        )
        self._sent.pop(happening, None)  # the order is that of the last time
        self._sent[happening] = _Sent(at=at)
        while len(self._sent) > _MOST_REMEMBERED:
            del self._sent[next(iter(self._sent))]

    def _lose(self, error: Exception) -> None:
        if not self._broken:
            with suppress(Exception):
                self._complain(f"events are lost: {tell(error)}")
        self._broken = True


class Bucket:
    """Lets a burst through, and then so many per second."""

    def __init__(self, at: float) -> None:
        self._at = at
        self._tokens = _BURST

    def take(self, at: float) -> float:
        """Take a token; return for how many seconds it must not be used yet."""
        self._tokens = min(_BURST, self._tokens + (at - self._at) * _PER_SECOND) - 1
        self._at = at
        return max(0.0, -self._tokens / _PER_SECOND)


def one_line(text: str) -> str:
    """Return one printable line of a length that the API takes, which it measures in bytes."""
    line = printable(" ".join(text.split())[:_LONGEST_NOTE])
    return line.encode()[:_LONGEST_NOTE].decode(errors="ignore")


def _event(happening: _Happening, first: datetime, last: datetime, count: int) -> CoreV1Event:
    about = happening.about
    return CoreV1Event(
        metadata=V1ObjectMeta(generate_name=f"{about.name}.", namespace=about.namespace),
        involved_object=V1ObjectReference(
            api_version=about.api_version,
            kind=about.kind,
            namespace=about.namespace,
            name=about.name,
            uid=about.uid or None,
        ),
        reason=happening.reason,
        message=happening.note,
        type="Warning" if happening.warning else "Normal",
        source=V1EventSource(component=FIELD_MANAGER),
        reporting_component=FIELD_MANAGER,
        reporting_instance=FIELD_MANAGER,
        first_timestamp=first,
        last_timestamp=last,
        count=count,
    )

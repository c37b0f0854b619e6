"""Connections to one server: so many at a time, kept alive, each bounded in time as a whole.

A connection is used by one call at a time and by the thread that makes the call; the watchdog cuts
it when the call's time is over. One that is kept may have been closed by the server in the very
moment in which it is used again. Where a call may be repeated, that is noticed and the call goes
over a fresh one; where it may not, it gets a fresh one from the start, so that its failure means
what it says.
"""

import ssl
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import RemoteDisconnected
from threading import Lock
from typing import Generic, Protocol, TypeVar
from weakref import finalize

from urllib3.util.wait import wait_for_read

from autoscaler.adapters.clock import SystemClock
from autoscaler.adapters.cutter import Cutter
from autoscaler.adapters.turns import MOST_AT_A_TIME, Turns
from autoscaler.adapters.watchdog import WATCHDOG
from autoscaler.errors import causes

_MOST_IDLE_SECONDS = 30.0
_NEARLY_SECONDS = 0.02
"""A library's own timeout may be a little faster than the watchdog."""

_CLOSED = (
    RemoteDisconnected,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    ssl.SSLEOFError,
    ssl.SSLZeroReturnError,
)


class _StaleError(Exception):
    """A kept connection was closed before anything was answered."""


class Client(Protocol):
    """What speaks over a connection and owns it."""

    def close(self) -> None:
        """Close the connection."""


C = TypeVar("C", bound=Client)
A = TypeVar("A")


class Channel(Generic[C]):
    """One connection, and who speaks over it."""

    def __init__(self, open_client: Callable[[Cutter], C]) -> None:
        self._cutter = Cutter()
        self.client = open_client(self._cutter)
        self.idle_since: float | None = None
        """None: never used before."""
        self.has_heard = False
        """Set by the user of the channel once there is a part of the answer."""

    @property
    def cutter(self) -> Cutter:
        """Return what ends it."""
        return self._cutter

    @property
    def is_cut(self) -> bool:
        """Tell whether the call's time was over, and nothing is sent any more."""
        return self._cutter.is_cut

    @property
    def has_connected(self) -> bool:
        """Tell whether a connection stood, so that something may have been sent."""
        return self._cutter.has_watched

    @property
    def is_usable(self) -> bool:
        """Tell whether the connection still stands, as far as that can be seen from here."""
        connection = self._cutter.connection
        if connection is None or self._cutter.is_cut or connection.fileno() < 0:
            return False
        return not wait_for_read(connection, 0)  # nothing but its end can be there to read

    def insist(self) -> None:
        """Raise TimeoutError where the connection was cut: an answer without length looks whole."""
        if self._cutter.is_cut:
            raise TimeoutError

    def close(self) -> None:
        """End the connection."""
        self._cutter.cut()
        self.client.close()


class Channels(Generic[C]):
    """A bounded pool of channels to one server."""

    def __init__(self, open_client: Callable[[Cutter], C], most: int = MOST_AT_A_TIME) -> None:
        """Open channels by this function as they are needed, `most` at a time."""
        self._open_client = open_client
        self._most = most
        self._clock = SystemClock()
        self._turns = Turns(most)
        self._lock = Lock()
        self._idle: deque[Channel[C]] = deque()
        finalize(self, _close, self._idle)

    def call(
        self,
        key: str,
        seconds: float,
        work: Callable[[Channel[C], float], A],
        *,
        repeatable: bool,
    ) -> A:
        """Do `work` with a channel of its own and the seconds that are left for it.

        Waiting for a turn counts; `key` tells what is asked, so that what hangs does not hold up
        the rest for ever. A call that hangs in a name lookup keeps its place for as long as the
        lookup does, so that no more than so many threads can hang. Raises NoTurnError, or what
        `work` raises.
        """
        until = self._clock.monotonic() + seconds
        give_back = self._turns.take(key, seconds)
        began = self._clock.monotonic()
        channel = None
        try:
            channel = self._take() if repeatable else None
            if channel is not None:
                with suppress(_StaleError):
                    return self._use(channel, until, work)
            channel = Channel(self._open_client)
            return self._use(channel, until, work)
        finally:
            if self._clock.monotonic() < until - _NEARLY_SECONDS:
                self._turns.clear(key)
            elif until - began > seconds / 4:  # else it was the wait that took the time
                self._turns.suspect(key)
            if channel is None:
                give_back()
            else:
                channel.cutter.when_quiet(give_back)

    def _use(self, channel: Channel[C], until: float, work: Callable[[Channel[C], float], A]) -> A:
        left = until - self._clock.monotonic()
        channel.has_heard = False
        try:
            with WATCHDOG.alarm(until, channel.cutter.cut):
                answer = work(channel, max(0.001, left))
        except Exception as error:
            is_stale = _is_stale(channel, error)
            channel.close()
            if is_stale:
                raise _StaleError from error
            self._forget_kept()  # they may lead to the same dead end
            raise
        self._keep(channel)
        return answer

    def _take(self) -> Channel[C] | None:
        """Return the channel that was used last, if it still can be."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                channel = self._idle.pop()
            if channel.is_usable and not self._is_old(channel):
                return channel
            channel.close()

    def _keep(self, channel: Channel[C]) -> None:
        channel.idle_since = self._clock.monotonic()
        superfluous = []
        with self._lock:
            if channel.is_usable and len(self._idle) < self._most:
                self._idle.append(channel)
            else:
                superfluous.append(channel)
            while self._idle and self._is_old(self._idle[0]):
                superfluous.append(self._idle.popleft())
        _close(superfluous)

    def _forget_kept(self) -> None:
        with self._lock:
            kept = list(self._idle)
            self._idle.clear()
        _close(kept)

    def _is_old(self, channel: Channel[C]) -> bool:
        since = channel.idle_since or 0.0
        return self._clock.monotonic() - since > _MOST_IDLE_SECONDS


def _close(channels: Iterable[Channel[C]]) -> None:
    for channel in channels:
        channel.close()


def _is_stale(channel: Channel[C], error: BaseException) -> bool:
    if channel.idle_since is None or channel.has_heard or channel.is_cut:
        return False
    return any(isinstance(each, _CLOSED) for each in causes(error))

"""Whose turn it is to ask a server: so many at a time, few of them such as hung the last time.

Without the latter, a few dozen queries that always hang would take all places for all of the time,
and each of the others would wait in vain.
"""

from collections.abc import Callable
from threading import BoundedSemaphore

MOST_AT_A_TIME = 16
_MOST_SUSPECTED = 4
_SUSPECTS_WAIT_SECONDS = 0.25
_MOST_REMEMBERED = 10_000


class NoTurnError(Exception):
    """All places were taken for as long as the call might have waited. Nothing was sent."""


class Turns:
    """The places, and who is suspected of hanging."""

    def __init__(self, most: int) -> None:
        """Let so many ask at a time."""
        self._most = most
        self._places = BoundedSemaphore(most)
        self._places_for_suspects = BoundedSemaphore(_MOST_SUSPECTED)
        self._suspects: set[str] = set()

    def take(self, key: str, seconds: float) -> Callable[[], None]:
        """Wait for a place, and return what gives it back. Raises NoTurnError.

        The key tells what is asked. One that is suspected does not wait for long.
        """
        is_suspected = key in self._suspects
        if is_suspected:
            seconds = min(seconds, _SUSPECTS_WAIT_SECONDS)
            if not self._places_for_suspects.acquire(timeout=max(0.0, seconds)):
                told = f"no turn among the {_MOST_SUSPECTED} requests at a time that hung before"
                raise NoTurnError(told)
        if not self._places.acquire(timeout=max(0.0, seconds)):
            if is_suspected:
                self._places_for_suspects.release()
            raise NoTurnError(f"no turn among the {self._most} requests at a time")

        def give_back() -> None:
            self._places.release()
            if is_suspected:
                self._places_for_suspects.release()

        return give_back

    def suspect(self, key: str) -> None:
        """Take note of one that hung."""
        if len(self._suspects) >= _MOST_REMEMBERED:
            self._suspects.clear()
        self._suspects.add(key)

    def clear(self, key: str) -> None:
        """Take note of one that did not."""
        self._suspects.discard(key)

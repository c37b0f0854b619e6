"""Asks HAProxy how many requests each replica is serving; whatever goes wrong, that is unknown.

The source is the CSV of the statistics page, `/stats;csv`, with `stats show-legends`: without it
the column `addr` is empty, and the names of slots say nothing of the pods behind them.

The host of the URL may stand for several gateway pods, as a headless Service does. Each is asked,
and what they say is added up; where one of them does not answer, nothing is known. (Behind a name
with addresses of both families each pod has one of either, so one family is enough: the first
whose every address answers.) Two limits: requests that a gateway pod still finishes after it has
left the name are not seen, nor are those in a slot whose replica has left DNS.
"""

import csv
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from http.client import HTTPConnection
from ipaddress import ip_address
from urllib.parse import urlsplit

from autoscaler.adapters.cutter import Cutter

MAX_ANSWER_BYTES = 4 * 2**20
_MAX_ADDRESSES = 32
_MAX_LEFT_BEHIND = 8
_FRESH = timedelta(milliseconds=250)
_DEFAULT_PORT = 80
_COLUMNS = {"pxname", "svname", "scur", "addr"}

Counts = Mapping[str, int]
"""IP address of a replica to the requests on it."""
Backends = Mapping[str, Counts]


class UnusableAnswerError(Exception):
    """The server answered something else than statistics."""


class HaproxyBackend:
    """A `BusySource`: the servers of one backend."""

    def __init__(self, statistics: "_Statistics", name: str) -> None:
        self._statistics = statistics
        self._name = name

    def in_flight(self) -> Counts | None:
        """Return IP address to requests; None where a gateway pod does not tell. Never raises."""
        backends = self._statistics.read()
        return None if backends is None else backends.get(self._name)


class HaproxyGateways:
    """All gateways; each is asked once for all targets that want to know at the same moment.

    An answer counts for a quarter of a second. So a thousand targets ask four times a second, not
    a thousand times per cycle, and a target's next cycle never meets the answer of its last.
    """

    def __init__(self, timeout: timedelta, monotonic: Callable[[], float]) -> None:
        """Bound each asking as a whole, name lookup included, by `timeout`."""
        self._timeout = timeout
        self._monotonic = monotonic
        self._statistics: dict[str, _Statistics] = {}

    def backend(self, url: str, name: str) -> HaproxyBackend:
        """Return the source for one backend behind the statistics page at `url`."""
        statistics = self._statistics.setdefault(
            url, _Statistics(url, self._timeout, self._monotonic)
        )
        return HaproxyBackend(statistics, name)


class _Statistics:
    """One statistics page, for several threads."""

    def __init__(self, url: str, timeout: timedelta, monotonic: Callable[[], float]) -> None:
        self._url = url
        self._timeout_s = timeout.total_seconds()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asking: _Asking | None = None
        self._left_behind: list[_Asking] = []

    def read(self) -> Backends | None:
        """Return every backend's counts, at most a quarter of a second old; None: unknown."""
        with self._lock:
            now = self._monotonic()
            asking = self._current(now)
        if asking is None:
            return None
        try:
            return asking.answer.result(max(0.0, asking.began + self._timeout_s - now))
        except TimeoutError:
            return None
        finally:
            asking.end()

    def _current(self, now: float) -> "_Asking | None":
        """Return what is being asked, or begin; None while too many earlier ones still hang.

        Those that hang are looking up the name, which nothing can cut short.
        """
        if self._asking is not None and now - self._asking.began < _FRESH.total_seconds():
            return self._asking
        self._left_behind = [each for each in self._left_behind if each.is_running]
        if len(self._left_behind) >= _MAX_LEFT_BEHIND:
            return None
        self._asking = _Asking(self._url, self._timeout_s, now)
        self._left_behind.append(self._asking)
        return self._asking


class _Asking:
    """One round of questions to all gateway pods, in threads of its own."""

    def __init__(self, url: str, timeout_s: float, began: float) -> None:
        """Begin at once."""
        self.began = began
        self.answer: Future[Backends | None] = Future()
        self._url = urlsplit(url)
        self._timeout_s = timeout_s
        self._cutter = Cutter()
        self._thread = self._start(self._ask_all)

    @property
    def is_running(self) -> bool:
        """Tell whether it has not come to its end yet."""
        return self._thread.is_alive()

    def end(self) -> None:
        """End every connection, those of an answer that came in time too; safe to repeat."""
        self._cutter.cut()

    def _ask_all(self) -> None:
        try:
            self.answer.set_result(self._first_whole(self._look_up()))
        except (OSError, UnusableAnswerError):
            self.answer.set_result(None)

    def _look_up(self) -> Sequence[Sequence[str]]:
        """Return the host's addresses, one list for each family, in the resolver's order."""
        found = socket.getaddrinfo(
            self._url.hostname, self._url.port or _DEFAULT_PORT, type=socket.SOCK_STREAM
        )
        families: dict[int, dict[str, None]] = {}
        for family, _, _, _, address in found:
            families.setdefault(family, {})[str(address[0])] = None
        if sum(map(len, families.values())) > _MAX_ADDRESSES:
            raise UnusableAnswerError("too many addresses")
        return [list(addresses) for addresses in families.values()]

    def _first_whole(self, families: Sequence[Sequence[str]]) -> Backends | None:
        asked = [[self._begin(address) for address in addresses] for addresses in families]
        for answers in asked:
            pods = [answer.result() for answer in answers]
            whole = [pod for pod in pods if pod is not None]
            if len(whole) == len(pods):
                return _add_up(whole)
        return None

    def _begin(self, address: str) -> Future[Backends | None]:
        answer: Future[Backends | None] = Future()

        def work() -> None:
            try:
                answer.set_result(read_backends(self._fetch(address)))
            except Exception:  # noqa: BLE001 - whatever it is, this pod does not tell
                answer.set_result(None)

        self._start(work)
        return answer

    def _fetch(self, address: str) -> str:
        url = self._url
        connection = HTTPConnection(address, url.port or _DEFAULT_PORT, timeout=self._timeout_s)
        try:
            connection.connect()
            self._cutter.watch(connection.sock)
            headers = {"Host": url.netloc, "Accept-Encoding": "identity", "Connection": "close"}
            connection.request("GET", url.path or "/", headers=headers)
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER_BYTES + 1)
        finally:
            connection.close()
        if answer.status != 200 or len(body) > MAX_ANSWER_BYTES:
            raise UnusableAnswerError(f"HTTP {answer.status}, {len(body)} bytes")
        return body.decode()

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name="haproxy", daemon=True)
        thread.start()
        return thread


def read_backends(text: str) -> Backends:
    """Read the CSV: every backend that is told to its end. Raises UnusableAnswerError, ValueError.

    A backend's own row comes after those of its servers. A slot without a replica has no address.
    """
    rows = csv.DictReader(text.removeprefix("# ").splitlines())
    if not set(rows.fieldnames or ()) >= _COLUMNS:
        raise UnusableAnswerError("not the statistics of HAProxy")
    told: dict[str, Counts] = {}
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        backend, server = row["pxname"], row["svname"]
        if server == "BACKEND":
            told[backend] = counts.pop(backend, Counter())
        elif server != "FRONTEND" and row["addr"]:
            host = row["addr"].rpartition(":")[0].strip("[]")
            if host:  # a socket that is none of the network has no port
                counts.setdefault(backend, Counter())[str(ip_address(host))] += int(row["scur"])
    return told


def _add_up(pods: Sequence[Backends]) -> Backends:
    """Add up, per replica, what several gateway pods send it; of the backends that all know."""
    names = set.intersection(*(set(pod) for pod in pods))
    return {name: _sum([pod[name] for pod in pods]) for name in names}


def _sum(several: Sequence[Counts]) -> Counts:
    total: Counter[str] = Counter()
    for counts in several:
        total.update(counts)
    return dict(total)

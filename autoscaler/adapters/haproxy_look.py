"""What `autoscaler check` wants to know of a gateway: its servers, and what its refusals mean."""

import csv
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from urllib.parse import urlsplit

from autoscaler.adapters.haproxy import MAX_ANSWER_BYTES
from autoscaler.duration import format_duration
from autoscaler.errors import ObserveError

_COLUMNS = {"pxname", "svname", "scur", "slim", "status", "addr", "bck"}
_DEFAULT_PORT = 80
_NO_SERVERS = {"FRONTEND", "BACKEND"}
_MOST_NAMED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One place that the gateway has for a replica."""

    address: str
    """IP address of the replica that has it; empty where none has, or it is not told."""
    up: bool
    """Requests may go there."""
    limit: int | None
    """Requests at a time; None: as many as come."""


Servers = Sequence[Server]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLook:
    """The servers of one backend, as each gateway pod has them."""

    url: str
    backend: str
    timeout: timedelta

    def servers(self) -> Sequence[Servers]:
        """Return those of each gateway pod, but for servers that are only a fall-back.

        Raises ObserveError with what to do.
        """
        return [self._of(address) for address in self._addresses()]

    def _addresses(self) -> Sequence[str]:
        url = urlsplit(self.url)
        try:
            found = socket.getaddrinfo(
                url.hostname, url.port or _DEFAULT_PORT, type=socket.SOCK_STREAM
            )
        except OSError:
            raise ObserveError(
                f"{url.hostname}: host name cannot be resolved",
                next_step="correct gateway.stats_url, or look whether that Service is there",
            ) from None
        first = found[0][0]
        return list(dict.fromkeys(str(each[4][0]) for each in found if each[0] == first))

    def _of(self, address: str) -> Servers:
        text = self._fetch(address)
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        if not set(rows.fieldnames or ()) >= _COLUMNS:
            raise ObserveError(
                f"{self.url} is not HAProxy's statistics as CSV",
                next_step="let gateway.stats_url end in /stats;csv",
            )
        held = list(rows)
        backends = list(dict.fromkeys(r["pxname"] for r in held if r["svname"] == "BACKEND"))
        if self.backend not in backends:
            named = ", ".join(backends[:_MOST_NAMED]) or "none"
            raise ObserveError(
                f"it has no backend {self.backend}, it has {named}",
                next_step="set gateway_backend to the one whose servers are the replicas",
            )
        return [
            _server(row)
            for row in held
            if row["pxname"] == self.backend and row["svname"] not in _NO_SERVERS
            # A backup serves while no other does: no replica's place.
            if row["bck"] != "1"
        ]

    def _fetch(self, address: str) -> str:
        url = urlsplit(self.url)
        port = url.port or _DEFAULT_PORT
        connection = HTTPConnection(address, port, timeout=self.timeout.total_seconds())
        try:
            headers = {"Host": url.netloc, "Accept-Encoding": "identity", "Connection": "close"}
            connection.request("GET", url.path or "/", headers=headers)
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER_BYTES)
        except TimeoutError:
            raise self._silent(f"no answer within {format_duration(self.timeout)}") from None
        except ConnectionRefusedError:
            raise self._silent("connection refused") from None
        except (OSError, HTTPException):
            raise self._silent("connection failed") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise self._silent(f"HTTP {answer.status}")
        return body.decode(errors="replace")

    def _silent(self, why: str) -> ObserveError:
        return ObserveError(
            f"{self.url}: {why}",
            next_step=f"correct gateway.stats_url until `curl '{self.url}'` lists servers",
        )


def _server(row: Mapping[str, str]) -> Server:
    host = row["addr"].rpartition(":")[0].strip("[]")
    try:
        address = str(ip_address(host))
    except ValueError:  # a slot that is free, or a gateway that does not tell
        address = ""
    limit = int(row["slim"]) if row["slim"].isascii() and row["slim"].isdigit() else 0
    return Server(
        address=address, up=row["status"].startswith(("UP", "no check")), limit=limit or None
    )

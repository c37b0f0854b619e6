"""The daemon's HTTP port, which reads and never acts: `/healthz`, `/readyz`, `/metrics`, ..."""

# The standard library's server hands over what it likes.
# ruff: noqa: ANN401

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore, Lock, Thread, Timer
from typing import Any
from urllib.parse import parse_qs

from autoscaler.adapters.cycle_view import CycleView, plain
from autoscaler.adapters.outlooks import Outlooks
from autoscaler.decision.record import to_json
from autoscaler.errors import AutoscalerError
from autoscaler.ports import Clock, CycleReport

_CONNECTIONS = 32
_SECONDS = 10.0
"""No client may keep a connection for longer."""


class Heart:
    """Notices when a target's cycles no longer end. A cycle that fails has ended, too."""

    def __init__(self, clock: Clock, targets: Iterable[str], limit: timedelta) -> None:
        self._clock = clock
        self._limit = limit.total_seconds()
        self._lock = Lock()
        self._beats: dict[str, float] = {}
        for target in targets:
            self.expect(target)

    def allow(self, limit: timedelta) -> None:
        """Wait for so long from now on."""
        self._limit = limit.total_seconds()

    def expect(self, target: str) -> None:
        """Begin to wait for a target's cycles."""
        with self._lock:
            self._beats[target] = self._clock.monotonic()

    def forget(self, target: str) -> None:
        """Wait for this target no longer."""
        with self._lock:
            self._beats.pop(target, None)

    def report(self, report: CycleReport) -> None:
        """Note that a cycle ended; the last one of a target that is forgotten is no news."""
        with self._lock:
            if report.target in self._beats:
                self._beats[report.target] = self._clock.monotonic()

    def page(self) -> "Page":
        """Answer `/healthz`."""
        with self._lock:
            beats = dict(self._beats)
        now = self._clock.monotonic()
        late = [
            f"{target}: no cycle ended for {now - beat:.0f}s (limit {self._limit:g}s)"
            for target, beat in beats.items()
            if now - beat > self._limit
        ]
        if late:
            return Page(status=HTTPStatus.SERVICE_UNAVAILABLE, body="\n".join(late).encode())
        return Page(body=b"ok")


class StatusBoard:
    """Keeps each target's last cycle for `/status`."""

    def __init__(self, version: str, clock: Clock) -> None:
        self._version = version
        self._clock = clock
        self._interval = timedelta(0)
        self._lock = Lock()
        self._views: dict[str, CycleView] = {}
        self._outlooks = Outlooks(clock)

    def expect_every(self, interval: timedelta) -> None:
        """Take this for the time from one cycle to the next."""
        self._interval = interval

    def show(self, view: CycleView) -> None:
        """Let this cycle take the place of the target's last."""
        with self._lock:
            self._views[view.target] = view

    def forget(self, target: str) -> None:
        """Tell of this target no longer."""
        with self._lock:
            self._views.pop(target, None)

    def page(self, query: str = "") -> "Page":
        """Answer `/status`, or `/status?target=NAMESPACE/NAME` of one target alone."""
        with self._lock:
            views = [self._views[target] for target in sorted(self._views)]
        leader = not any(view.standby for view in views) if views else None
        wanted = parse_qs(query).get("target")
        if wanted:
            views = [view for view in views if view.target in wanted]
        outlooks = self._outlooks.tell(views, self._interval) if self._interval else {}
        told = {
            "version": self._version,
            "now": to_json(self._clock.now()),
            "interval": to_json(self._interval),
            "leader": leader,
            "targets": [_told(view, outlooks.get(view.target)) for view in views],
        }
        body = json.dumps(told, indent=2, allow_nan=False).encode()
        return Page(content_type="application/json", body=body + b"\n")


def _told(view: CycleView, outlook: dict[str, Any] | None) -> dict[str, Any]:
    told = plain(view) | {"time": to_json(view.at)}
    if view.record and view.bounds:
        for metric in view.record.policy.metrics:
            held = {"type": str(metric.type), "target": metric.target}
            told["metrics"][metric.name] = held | told["metrics"][metric.name]
        told["steps"] = to_json(view.record.steps)
        told["bounds"] = {
            "min_replicas": view.bounds.min_replicas,
            "max_replicas": view.bounds.max_replicas,
        }
    known = {"in_flight": view.in_flight, "idle": to_json(view.idle), "outlook": outlook}
    return told | {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer."""

    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"
    body: bytes


class HealthServer:
    """Serves pages on one port, from threads of its own."""

    def __init__(
        self,
        host: str,
        port: int,
        pages: Mapping[str, Callable[[], Page]],
        asked: Mapping[str, Callable[[str], Page]] | None = None,
    ) -> None:
        """Serve `pages`, and those of `asked`, which are given what stands behind the `?`."""
        self._place = (host, port)
        held = {"pages": dict(pages), "asked": dict(asked or {})}
        self._handler = type("Handler", (_Handler,), held)
        self._server: _Server | None = None

    def start(self) -> str:
        """Bind the port, begin to answer, return host:port. Raises AutoscalerError if taken."""
        host, port = self._place
        try:
            self._server = _Server(self._place, self._handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise AutoscalerError(
                f"http.host = {host}, http.port = {port}: cannot listen there: {reason}",
                next_step="choose another http.port, or end what holds it: ss -ltnp",
            ) from error
        Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        bound = self._server.server_address[1]
        return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"

    def stop(self) -> None:
        """Close the port."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()


def why_not(host: str, port: int) -> str:
    """Tell why a daemon could not listen there, empty if it could or does so already."""
    try:
        _Server((host, port), _Handler).server_close()
    except (OSError, OverflowError) as error:
        return "" if _is_daemon(host, port) else getattr(error, "strerror", None) or str(error)
    return ""


def _is_daemon(host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return (
            connection.getresponse().headers.get("Server", "").startswith(_Handler.server_version)
        )
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, or turn the client away where too many are being served."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one client within the time that each has."""
        limit = Timer(_SECONDS, _hang_up, args=(request,))
        limit.daemon = True
        limit.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no news."""


def _hang_up(request: socket.socket) -> None:
    try:
        request.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class _Handler(BaseHTTPRequestHandler):
    pages: Mapping[str, Callable[[], Page]]
    asked: Mapping[str, Callable[[str], Page]]
    timeout = 5
    server_version = "autoscaler"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with a page."""
        path, _, query = self.path.partition("?")
        asked = self.asked.get(path)
        page = self.pages.get(path) if asked is None else partial(asked, query)
        if page is None:
            self._answer(_text(HTTPStatus.NOT_FOUND))
            return
        try:
            answer = page()
        except Exception:  # noqa: BLE001 - whatever is wrong, the client gets an answer
            answer = _text(HTTPStatus.INTERNAL_SERVER_ERROR)
        self._answer(answer)

    do_HEAD = do_GET  # noqa: N815

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse in one word; every method but GET and HEAD is one that we do not allow."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            code = HTTPStatus.METHOD_NOT_ALLOWED
        self.close_connection = True
        self._answer(_text(HTTPStatus(code)))

    def _answer(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        if page.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Write nothing: a probe every few seconds is no news."""


def _text(status: HTTPStatus) -> Page:
    return Page(status=status, body=f"{status.value} {status.phrase}\n".encode())

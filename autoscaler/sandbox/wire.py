"""As much of an HTTP/1.1 server as a replica needs, on nothing but asyncio.

A web framework takes half a second of processor time to import, and some fifteen replicas start on
a small machine; at ten times the speed that would be seconds of start-up that no model has.
A client that goes away, or only closes its side, cancels the handler, as Go's server does.
"""

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

HEADER_LIMIT_BYTES = 65_536
BODY_LIMIT_BYTES = 16_777_216
_END_OF_HEADERS = b"\r\n\r\n"


class BadRequestError(Exception):
    """The bytes are not a request that we can read; the connection is of no further use."""


@dataclass(slots=True)
class Exchange:
    """One request and the way to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    _write: Callable[[bytes], None]
    started: bool = field(default=False, init=False)
    """The status line is on its way."""

    @property
    def last(self) -> bool:
        """The connection closes after this one."""
        return self.headers.get("connection", "").lower() == "close"

    def reply(self, status: int, content: bytes, content_type: str = "application/json") -> None:
        """Answer as a whole."""
        length = f"Content-Length: {len(content)}\r\n"
        self._head(status, content_type, length, b"" if self.method == "HEAD" else content)

    def reply_json(self, status: int, value: object) -> None:
        """Answer with a JSON document."""
        self.reply(status, json.dumps(value, separators=(",", ":")).encode())

    def start(self, content_type: str, first: bytes) -> None:
        """Write the headers and the first piece of a stream together."""
        chunk = b"%x\r\n%b\r\n" % (len(first), first)
        self._head(200, content_type, "Transfer-Encoding: chunked\r\n", chunk)

    def send(self, piece: bytes) -> None:
        """Write a further piece of the stream."""
        self._write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def end(self) -> None:
        """Finish the stream."""
        self._write(b"0\r\n\r\n")

    def _head(self, status: int, content_type: str, length: str, rest: bytes) -> None:
        self.started = True
        lines = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
        ending = "Connection: close\r\n\r\n" if self.last else "\r\n"
        self._write((lines + length + ending).encode() + rest)


Handler = Callable[[Exchange], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client: its requests are answered one after the other."""

    def __init__(self, handler: Handler, connections: set["Connection"]) -> None:
        """Serve with `handler`; stay in `connections` for as long as the socket is open."""
        self._handler = handler
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the socket."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Collect, and answer once a whole request is there."""
        self._buffer += data
        self._next()

    def eof_received(self) -> None:
        """Take a half-closed connection for a client that left; the socket closes."""
        self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what was being done for this client."""
        del exc
        self._transport = None
        self._connections.discard(self)
        self._stop()

    def cut(self) -> None:
        """Drop the connection at once, whatever is under way."""
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _next(self) -> None:
        if self._task is not None or self._transport is None:
            return
        try:
            exchange = self._parse()
        except BadRequestError as error:
            refusal = Exchange("GET", "", {"connection": "close"}, b"", self._write)
            refusal.reply_json(400, {"error": str(error)})
            self._transport.close()
            return
        if exchange is not None:
            self._task = asyncio.get_running_loop().create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._handler(exchange)
        except Exception as error:  # noqa: BLE001  (a bug here must look like a broken server, not like a hang)
            traceback.print_exc()
            if exchange.started:
                self.cut()
            else:
                exchange.reply_json(500, {"error": repr(error)})
        finally:
            self._task = None
            if exchange.last and self._transport is not None:
                self._transport.close()
        self._next()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _parse(self) -> Exchange | None:
        end = self._buffer.find(_END_OF_HEADERS)
        if end < 0:
            _refuse(len(self._buffer) > HEADER_LIMIT_BYTES, "headers are too long")
            return None
        request, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        words = request.split(" ")
        _refuse(len(words) != 3 or not words[2].startswith("HTTP/1."), "no HTTP/1 request line")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            _refuse(not colon, "a header line has no colon")
            headers[name.strip().lower()] = value.strip()
        if words[2] == "HTTP/1.0":
            headers.setdefault("connection", "close")
        found = _body(self._buffer, end + len(_END_OF_HEADERS), headers)
        if found is None:
            return None
        body, used = found
        del self._buffer[:used]
        path = words[1].split("?", 1)[0]
        return Exchange(words[0], path, headers, body, self._write)


def _body(buffer: bytearray, start: int, headers: dict[str, str]) -> tuple[bytes, int] | None:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _chunked_body(buffer, start)
    given = headers.get("content-length", "0")
    _refuse(not given.isascii() or not given.isdigit(), "Content-Length is not a number")
    length = int(given)
    _refuse(length > BODY_LIMIT_BYTES, "body is too long")
    if len(buffer) < start + length:
        return None
    return bytes(buffer[start : start + length]), start + length


def _chunked_body(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    body = bytearray()
    while (end := buffer.find(b"\r\n", start)) >= 0:
        try:
            size = int(buffer[start:end].split(b";")[0], 16)
        except ValueError:
            raise BadRequestError("chunk size is not a number") from None
        _refuse(size < 0, "chunk size is not a number")
        _refuse(len(body) + size > BODY_LIMIT_BYTES, "body is too long")
        start = end + 2 + size + 2
        if len(buffer) < start:
            return None
        if size == 0:
            return bytes(body), start
        body += buffer[end + 2 : end + 2 + size]
    return None


def _refuse(wrong: object, message: str) -> None:
    if wrong:
        raise BadRequestError(message)


async def serve(handler: Handler, host: str, port: int) -> tuple[asyncio.Server, set[Connection]]:
    """Listen; the set holds the open connections. Raises OSError."""
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(handler, connections), host, port)
    return server, connections

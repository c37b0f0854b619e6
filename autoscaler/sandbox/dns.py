"""Stands in for the cluster's DNS: the ready pods' addresses behind the name of their Service."""

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from dnslib import QTYPE, RCODE, RR, A, DNSError, DNSRecord

from autoscaler.sandbox.processes import LOOPBACK

TTL_S = 1
"""CoreDNS at its quickest; what caches a longer one finds out later."""

Addresses = Callable[[], Sequence[str]]
"""Tells the addresses behind a name now."""


class DnsResponder:
    """Answers A queries over UDP on loopback: a name without addresses exists and is empty."""

    def __init__(self) -> None:
        """Know no name: each is NXDOMAIN until it is added."""
        self._zone: dict[str, Addresses] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def add(self, name: str, addresses: Addresses) -> None:
        """Answer for a name, written without a final dot."""
        self._zone[name.lower()] = addresses

    async def start(self) -> None:
        """Bind a free port."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Protocol(self._answer), local_addr=(LOOPBACK, 0)
        )

    @property
    def address(self) -> str:
        """Return `host:port`; only while it runs."""
        if self._transport is None:
            raise RuntimeError("the DNS responder is not running")
        host, port = self._transport.get_extra_info("sockname")
        return f"{host}:{port}"

    def stop(self) -> None:
        """Close the port; safe to call twice."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _answer(self, packet: bytes) -> bytes | None:
        try:
            query = DNSRecord.parse(packet)
        except DNSError:
            return None
        reply = query.reply()
        addresses = self._zone.get(str(query.q.qname).rstrip(".").lower())
        if addresses is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif query.q.qtype == QTYPE.A:
            for address in addresses():
                reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(address), ttl=TTL_S))
        return cast("bytes", reply.pack())


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        answer = self._answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

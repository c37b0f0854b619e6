"""Stands in for the CoreDNS beside the gateway: the ready pods behind a headless Service.

As CoreDNS 1.14 answers with `ttl 1` and without a cache: SRV records of the port `http`, each with
the address of its target in the same message; a Service without ready pods does not exist.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from dnslib import QTYPE, RCODE, RR, SRV, A, DNSError, DNSRecord

from autoscaler.sandbox.processes import LOOPBACK

TTL_S = 1
PORT_NAME = "_http._tcp"
"""The name of the Service's port, as a question carries it."""

Addresses = Callable[[], Sequence[str]]
"""Tells the addresses behind a name now."""


@dataclass(frozen=True, slots=True)
class _Service:
    port: int
    addresses: Addresses


class DnsResponder:
    """Answers A and SRV queries over UDP on loopback."""

    def __init__(self) -> None:
        """Know no name: each is NXDOMAIN until it is added."""
        self._zone: dict[str, _Service] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def add(self, name: str, port: int, addresses: Addresses) -> None:
        """Answer for a Service's name, written without a final dot."""
        self._zone[name.lower()] = _Service(port, addresses)

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
        asked = str(query.q.qname).rstrip(".").lower()
        name = asked.removeprefix(f"{PORT_NAME}.")
        service = self._zone.get(name)
        addresses = service.addresses() if service else ()
        if service is None or not addresses:
            reply.header.rcode = RCODE.NXDOMAIN
        elif query.q.qtype == QTYPE.A and asked == name:
            for address in addresses:
                reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(address), ttl=TTL_S))
        elif query.q.qtype == QTYPE.SRV and asked != name:
            for address in addresses:
                target = f"{address.replace('.', '-')}.{name}"
                record = SRV(0, 100 // len(addresses), service.port, target)
                reply.add_answer(RR(query.q.qname, QTYPE.SRV, rdata=record, ttl=TTL_S))
                reply.add_ar(RR(target, QTYPE.A, rdata=A(address), ttl=TTL_S))
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

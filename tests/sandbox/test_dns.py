"""The stand-in for the cluster's DNS, asked with real packets."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from dnslib import QTYPE, RCODE, DNSRecord

from autoscaler.sandbox.dns import TTL_S, DnsResponder

NAME = "ollama.llm.svc.cluster.local"


@pytest.fixture
async def responder() -> AsyncIterator[DnsResponder]:
    """Run a responder on a free port."""
    running = DnsResponder()
    await running.start()
    yield running
    running.stop()


async def _ask(responder: DnsResponder, name: str, kind: str = "A") -> DNSRecord:
    host, _, port = responder.address.rpartition(":")
    query = DNSRecord.question(name, kind)
    answer = await asyncio.to_thread(query.send, host, int(port), timeout=2)
    return DNSRecord.parse(answer)


async def test_answers_with_the_addresses_of_the_moment(responder):
    """Each answer is what the zone's function tells at that time, with a TTL of a second."""
    addresses = ["127.77.0.1", "127.77.0.2"]
    responder.add(NAME, 11434, lambda: addresses)
    first = await _ask(responder, NAME)
    addresses.pop()
    second = await _ask(responder, NAME)
    assert [str(record.rdata) for record in first.rr] == ["127.77.0.1", "127.77.0.2"]
    assert [str(record.rdata) for record in second.rr] == ["127.77.0.1"]
    assert {record.ttl for record in first.rr} == {TTL_S}


async def test_service_record_carries_port_and_address(responder):
    """A port's SRV records come with the addresses of their targets, so one question is enough."""
    responder.add(NAME, 11434, lambda: ["127.77.0.1", "127.77.0.2"])
    answer = await _ask(responder, f"_http._tcp.{NAME}", "SRV")
    targets = {str(record.rdata.target).rstrip("."): record.rdata.port for record in answer.rr}
    assert targets == {f"127-77-0-1.{NAME}": 11434, f"127-77-0-2.{NAME}": 11434}
    assert {str(record.rname).rstrip("."): str(record.rdata) for record in answer.ar} == {
        f"127-77-0-1.{NAME}": "127.77.0.1",
        f"127-77-0-2.{NAME}": "127.77.0.2",
    }


@pytest.mark.parametrize(("name", "kind"), [(NAME, "A"), (f"_http._tcp.{NAME}", "SRV")])
async def test_service_without_addresses_does_not_exist(responder, name, kind):
    """A Service without ready pods is NXDOMAIN, as CoreDNS has it for a headless one."""
    responder.add(NAME, 11434, list)
    answer = await _ask(responder, name, kind)
    assert (answer.header.rcode, answer.rr) == (RCODE.NXDOMAIN, [])


async def test_other_kinds_of_record_are_empty(responder):
    """An AAAA query for a known name is NOERROR without records: the pods have IPv4 only."""
    responder.add(NAME, 11434, lambda: ["127.77.0.1"])
    answer = await _ask(responder, NAME, "AAAA")
    assert (answer.header.rcode, answer.rr, answer.q.qtype) == (RCODE.NOERROR, [], QTYPE.AAAA)


async def test_unknown_name_does_not_exist(responder):
    """A name that is not in the zone is NXDOMAIN."""
    answer = await _ask(responder, "other.llm.svc.cluster.local")
    assert answer.header.rcode == RCODE.NXDOMAIN


@pytest.mark.parametrize(
    ("name", "kind"), [(NAME.upper(), "A"), (f"_HTTP._tcp.{NAME.title()}", "SRV")]
)
async def test_case_of_a_name_does_not_matter(responder, name, kind):
    """Resolvers that mix the case of a name get the same answer, in the case that they compare."""
    responder.add(NAME, 11434, lambda: ["127.77.0.1"])
    (record,) = (await _ask(responder, name, kind)).rr
    assert str(record.rname) == f"{name}."


async def test_as_many_replicas_as_the_gateway_has_slots_fit_into_one_answer(responder):
    """Their records come over UDP untruncated, in what the gateway says that it accepts."""
    responder.add(NAME, 11434, lambda: [f"127.177.100.{number}" for number in range(100, 132)])
    answer = await _ask(responder, f"_http._tcp.{NAME}", "SRV")
    assert (len(answer.rr), len(answer.ar), answer.header.tc) == (32, 32, 0)
    assert len(answer.pack()) < 8192


async def test_garbage_is_ignored(responder):
    """A packet that is no DNS message gets no answer, and the next query does."""
    host, _, port = responder.address.rpartition(":")
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=(host, int(port))
    )
    transport.sendto(b"\x00")
    transport.close()
    responder.add(NAME, 11434, lambda: ["127.77.0.1"])
    assert len((await _ask(responder, NAME)).rr) == 1

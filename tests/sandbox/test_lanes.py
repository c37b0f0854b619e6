"""Lanes side by side: each has its own replicas."""

import asyncio

import aiohttp
import pytest

from autoscaler.sandbox.dns import DnsResponder
from autoscaler.sandbox.kube.runtime import REPLICA_PORT
from autoscaler.sandbox.lanes import FixedLane, ScaledLane, StackSettings
from autoscaler.sandbox.service import PROFILES


@pytest.fixture
async def settings(tmp_path):
    """Return what lanes have in common, with a DNS responder that knows none of them yet."""
    dns = DnsResponder()
    await dns.start()
    yield (
        dns,
        StackSettings(
            directory=tmp_path,
            speed=50.0,
            profile=PROFILES["1b-sbc"],
            seed=1,
            dns=dns.address,
            namespace="llm",
            deployment="ollama",
        ),
    )
    dns.stop()


async def test_lanes_that_start_together_share_no_replica(settings):
    """Every replica of every lane is a process of its own, at an address of its own."""
    dns, common = settings
    scaled = ScaledLane(common)
    fixed = [FixedLane(settings=common, replicas=n, number=n) for n in (1, 3)]
    for lane in (scaled, *fixed):
        dns.add(lane.host, REPLICA_PORT, lane.addresses)
    try:
        await asyncio.gather(scaled.start(2), *(lane.start() for lane in fixed))
        await scaled.until_ready(2)
        addresses = [ip for lane in (scaled, *fixed) for ip in lane.addresses()]
        assert len(set(addresses)) == 2 + 1 + 3
        assert len({await _told(ip) for ip in addresses}) == 2 + 1 + 3
    finally:
        await asyncio.gather(*(lane.stop() for lane in (scaled, *fixed)))


async def test_crash_takes_a_preferred_replica(settings):
    """The replica at a preferred address is the one that is killed."""
    dns, common = settings
    lane = ScaledLane(common)
    dns.add(lane.host, REPLICA_PORT, lane.addresses)
    try:
        await lane.start(2)
        await lane.until_ready(2)
        last = lane.pods()[-1]
        assert lane.crash([last.ip]) == last.name
    finally:
        await lane.stop()


async def _told(ip):
    """Return the pod that the replica at an address was started for."""
    url = f"http://{ip}:{REPLICA_PORT}/sandbox/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return (await answer.json())["pod"]

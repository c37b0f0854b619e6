"""To zero replicas and back: the real gateway, Prometheus and daemon, an emulated Kubernetes."""

import asyncio

import pytest

from autoscaler.decision.words import Reason
from autoscaler.duration import parse_duration
from tests.sandbox.stacks import small_stack

SPEED = 20.0
IDLE = "40s"
POLICY = {
    "min_replicas": 0,
    "max_replicas": 3,
    "idle_period": IDLE,
    "scale_down": {"stabilization_window": "10s", "cooldown": "0s", "policies": []},
}
IDLE_S = parse_duration(IDLE).total_seconds() / SPEED
LONG = 1024
"""Tokens of an answer that takes more than two idle periods."""


@pytest.fixture
async def stack(tmp_path):
    """Run a stack of one replica that may go to zero."""
    async with small_stack(tmp_path, speed=SPEED, replicas=1, policy=POLICY) as stack:
        yield stack


async def test_the_last_replica_goes_when_nobody_asks_and_comes_with_the_first_who_does(stack):
    """Not while a request runs, nor before the idle period; who comes then waits and is served."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await stack.chat(LONG) == "whole"
    ended = loop.time()
    assert ended - began > 2 * IDLE_S
    assert 0 not in stack.wanted

    await stack.until(lambda: stack.lane.desired() == 0, "zero replicas")
    assert loop.time() - ended >= IDLE_S
    await stack.until(lambda: not stack.lane.pods(), "the last pod's end")

    came = loop.time()
    asked = [asyncio.create_task(stack.chat(1, words)) for words in (1, 1, 10_000)]
    await stack.until(lambda: stack.lane.desired() > 0, "a replica")
    woken = loop.time() - came
    assert await asyncio.gather(*asked) == ["whole"] * 3
    assert woken < 5

    stack.log.read()
    moves = {(c.from_ == 0, c.to == 0): c.record.decision.reason for c in stack.log.cycles}
    assert moves[False, True] == Reason.BELOW_TARGET
    assert moves[True, False] == Reason.ABOVE_TARGET
    assert any(Reason.NOT_IDLE in {s.reason for s in c.record.steps} for c in stack.log.cycles)


async def test_nobody_meets_an_error_at_the_moment_of_going(stack):
    """Requests that come while the last replica leaves are finished by it, or held for the next."""
    came = [asyncio.create_task(stack.chat(1))]
    for delay_s in (0.0, 0.2):
        await asyncio.gather(*came)
        await stack.until(lambda: stack.lane.desired() == 0, "zero replicas")
        await asyncio.sleep(delay_s)
        came += [asyncio.create_task(stack.chat(LONG // 8)) for _ in range(3)]
    assert {await one for one in came} == {"whole"}

"""One gateway with two replicas and one chat page for all tests, which take chats of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from autoscaler.sandbox.service import profile_named
from tests.sandbox.gateways import Rig, rig
from tests.webui.page import Page, Person, page

SPEED = 10.0
"""Replicas are slow enough here for an answer to be watched: 388 tokens a second."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make pictures` say where they go."""
    parser.addoption("--pictures", type=Path, help="a folder that gets pictures of the page")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """Run the gateway and two replicas of one slot."""
    folder = tmp_path_factory.mktemp("stack")
    # The page is as quick or slow as the machine, so what waits for it is not divided. Who finds no
    # replica is told so within a test's patience.
    patience = {"GATEWAY_TASKS_PATIENCE": "1s", "GATEWAY_QUEUE_TIMEOUT": "15s"}
    async with rig(folder, replica_speed=SPEED, **patience) as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def webui(stack: Rig, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """Run the chat page."""
    async with page(stack.gateway.url, tmp_path_factory.mktemp("page")) as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def account(webui: Page, stack: Rig) -> AsyncIterator[Person]:
    """Make the page's first account."""
    person = Person(webui.url, stack.session, profile_named("1b-sbc").model)
    await person.enter()
    yield person
    await person.leave()


@pytest_asyncio.fixture(loop_scope="session")
async def person(account: Person, stack: Rig) -> AsyncIterator[Person]:
    """Give the account to one test, and leave nothing of it at the gateway."""
    yield account
    await stack.slots(lambda slots: (slots.running, slots.queued) == (0, 0), within_s=60)

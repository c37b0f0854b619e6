"""Chats of the real Open WebUI through the real gateway to two replicas of one slot."""

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from autoscaler.sandbox.ollama import words
from tests.webui.page import shipped

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

ALL_TASKS = {
    "ENABLE_TITLE_GENERATION": "title_generation",
    "ENABLE_TAGS_GENERATION": "tags_generation",
    "ENABLE_FOLLOW_UP_GENERATION": "follow_up_generation",
}
"""Switches, and what the requests that they allow are called."""
LONG = 600
"""Tokens of an answer of one and a half seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it reached a replica."""

    replica: str
    task: str
    headers: dict[str, str]
    size: int
    at: float


async def asked(stack, chat):
    """Return the requests of a chat that have reached replicas, in their order."""
    found = []
    for ip in stack.addresses:
        async with stack.session.get(f"http://{ip}:{stack.port}/sandbox/requests") as answer:
            found += [(ip, each) for each in await answer.json()]
    return sorted(
        (
            Asked(
                replica=ip,
                task=each["headers"].get("x-openwebui-task", "(no header)"),
                headers=each["headers"],
                size=each["bytes"],
                at=each["at"],
            )
            for ip, each in found
            if each["headers"].get("x-openwebui-chat-id") == chat
        ),
        key=lambda each: each.at,
    )


async def until_asked(stack, turn, number):
    """Wait until that many requests of a turn's chat have reached replicas; returns them."""
    async with asyncio.timeout(30):
        while len(found := await asked(stack, turn.chat)) < number:  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.05)
    return found


async def sessions(stack):
    """Return the sessions of each backend: of `ollama` they are the demand that scales."""
    url = f"http://{stack.gateway.stats_address}/metrics?scope=backend"
    async with stack.session.get(url) as answer:
        text = await answer.text()
    metric = r'^haproxy_backend_current_sessions\{proxy="(\w+)"\} (\d+)$'
    return {proxy: int(value) for proxy, value in re.findall(metric, text, re.MULTILINE)}


@asynccontextmanager
async def switched_on(person, **settings):
    """Change the administrator's settings of tasks until the block ends."""
    before = await person.call("GET", "/api/v1/tasks/config")
    await person.call("POST", "/api/v1/tasks/config/update", before | settings)
    try:
        yield
    finally:
        await person.call("POST", "/api/v1/tasks/config/update", before)


async def test_page_runs_with_what_ships(webui):
    """Of the manifest's variables only an address and folders are others here."""
    running = webui.environment()
    changed = {name for name, value in shipped().items() if running.get(name) != value}
    assert changed == {"OLLAMA_BASE_URL", "DATA_DIR", "STATIC_DIR", "HOME"}


async def test_answer_arrives_piece_by_piece(person):
    """It can be read while it is made, from well before its end, and is kept as it was said."""
    turn = await person.chat("What does the sun do?", tokens=LONG)

    assert turn.answer == words(LONG)
    times = [at - turn.asked for at, _ in turn.pieces]
    assert len(times) > 10
    assert times[0] < times[-1] / 2
    saved = await person.call("GET", f"/api/v1/chats/{turn.chat}")
    assert saved["chat"]["history"]["messages"][turn.message]["content"] == words(LONG).strip()


async def test_tasks_are_told_from_people_by_their_header(person, stack):
    """As shipped: both carry the chat's id, only tasks a name; nothing says who the person is."""
    names = {name for switch, name in ALL_TASKS.items() if shipped()[switch] == "true"}
    turn = await person.chat("A first message", tasks=True)
    requests = await until_asked(stack, turn, 1 + len(names))

    assert sorted(each.task for each in requests) == sorted({"", *names})
    assert {frozenset(each.headers) for each in requests} == {
        frozenset({"x-openwebui-chat-id", "x-openwebui-task"})
    }


async def test_every_kind_of_task_has_its_name(person, stack):
    """Where somebody switches tags and follow-ups on, those are told from people as well."""
    async with switched_on(person, **dict.fromkeys(ALL_TASKS, True)):
        turn = await person.chat("A first message", tasks=True)
        requests = await until_asked(stack, turn, 4)
        again = await person.chat("A second one", tasks=True, after=turn)
        later = (await until_asked(stack, again, 6))[4:]

    assert {each.task for each in requests} == {"", *ALL_TASKS.values()}
    assert [each.task for each in later] == ["", "follow_up_generation"]


async def test_a_message_is_all_that_the_model_has_to_read(person, stack):
    """No descriptions of tools come with it, which would take a processor a minute to read."""
    turn = await person.chat("Good morning")
    (request,) = await asked(stack, turn.chat)
    assert request.size < 1000


async def test_tasks_wait_behind_people_and_count_as_one(person, stack):
    """Three at once add one to the demand, and run after people who came before and after them."""
    people, sent, seen = [], 0, []

    async def ask(text, **how):
        nonlocal sent
        sent += 1
        people.append(await person.ask(text, tokens=1000, **how))
        return people[-1]

    async def watch():
        while True:
            ended = sum(one.ended.is_set() for one in people)
            now = await sessions(stack)
            seen.append((now["tasks"], now["ollama"] - (sent - ended)))
            await asyncio.sleep(0.02)

    quick = {"max_tokens": 100}
    async with switched_on(person, ENABLE_TITLE_GENERATION=True, TASK_MODEL_PARAMS=quick):
        watching = asyncio.create_task(watch())
        for number in range(4):
            await ask(f"Early {number}")
        await stack.slots(lambda slots: slots.queued == 2)
        new = [await ask(f"New {number}", tasks=True) for number in range(3)]
        async with asyncio.timeout(5):
            while (await sessions(stack))["tasks"] < 3:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.02)
        for number in range(2):
            await ask(f"Late {number}")
        async with asyncio.timeout(60):
            await asyncio.gather(*(one.ended.wait() for one in people))
        for one in new:
            await until_asked(stack, one, 2)
        await stack.slots(lambda slots: slots.running == 0)
        watching.cancel()

    assert max(tasks for tasks, _ in seen) == 3
    assert max(more for _, more in seen) == 1
    requests = [each for one in people for each in await asked(stack, one.chat)]
    served = [each.task for each in sorted(requests, key=lambda each: each.at)]
    assert served == [""] * len(people) + ["title_generation"] * len(new)


async def test_title_of_a_new_chat_does_not_delay_its_answer(person, stack):
    """With one replica free it is the person's, though the page asks for the title first."""
    for number in range(3):
        busy = asyncio.create_task(stack.chat(1000))
        await stack.slots(lambda slots: slots.running == 1)
        turn = await person.chat(f"New {number}", tasks=True)
        assert turn.pieces[0][0] - turn.asked < 1.5
        busy.cancel()
        await until_asked(stack, turn, 2)
        await stack.slots(lambda slots: slots.running == 0)


async def test_chat_returns_to_its_replica(person, stack):
    """Its later turns meet the replica that remembers it, whatever others were asked meanwhile."""
    first = {name: await person.chat(f"I am {name}") for name in ("A", "B", "C")}
    last = dict(first)
    for name in ("C", "A", "B", "B", "A", "C"):
        last[name] = await person.chat("Go on", after=last[name])
    for turn in first.values():
        replicas = [each.replica for each in await asked(stack, turn.chat)]
        assert len(replicas) == 3
        assert len(set(replicas)) == 1


async def test_chat_goes_elsewhere_where_its_replica_is_busy(person, stack):
    """No replica stays idle for the sake of a chat: it is answered by the other one at once."""
    first = await person.chat("I am here")
    (home,) = await asked(stack, first.chat)
    busy = asyncio.create_task(stack.chat(1000, **{"X-OpenWebUI-Chat-Id": first.chat}))
    await stack.slots(lambda slots: slots.by_address.get(f"{home.replica}:{stack.port}") == 1)

    await person.chat("Go on", after=first)
    assert not busy.done()
    assert (await asked(stack, first.chat))[-1].replica != home.replica
    await busy


async def test_whoever_presses_stop_frees_the_place(person, stack):
    """Running or still waiting, the request is gone from its replica or the queue."""
    turns = [await person.ask(f"Never mind {n}", tokens=1000) for n in range(3)]
    await stack.slots(lambda slots: (slots.running, slots.queued) == (2, 1))
    await person.call("POST", f"/api/tasks/chat/{turns.pop().chat}/stop")
    await stack.slots(lambda slots: (slots.running, slots.queued) == (2, 0), within_s=1)
    for turn in turns:
        await person.call("POST", f"/api/tasks/chat/{turn.chat}/stop")
    await stack.slots(lambda slots: (slots.running, slots.queued) == (0, 0), within_s=1)


async def test_models_are_listed_at_once_while_every_replica_is_busy(person, stack):
    """Whoever opens the page sees its models, though others wait for a replica."""
    people = [await person.ask(f"Busy {n}", tokens=LONG) for n in range(4)]
    await stack.slots(lambda slots: slots.queued == 2)
    async with asyncio.timeout(1):
        listed = await person.call("GET", "/api/models?refresh=true")
    assert [each["id"] for each in listed["data"]] == [person.model]
    assert not any(one.ended.is_set() for one in people)


async def test_gateways_refusal_is_told_in_its_words(person):
    """An administrator who pulls a model on the page reads why that is not how it is done."""
    status, said = await person.refused("POST", "/ollama/api/pull/0", {"model": "llama3.2:3b"})
    assert status == 403
    assert said.startswith("models are administered elsewhere")


async def test_where_no_replica_is_left_the_gateways_words_stand_for_the_answer(person, stack):
    """The message gets the gateway's text, and the chat goes on once a replica is back."""
    first = await person.chat("I am here")
    gone = list(stack.addresses)
    stack.addresses.clear()
    try:
        await stack.slots(lambda slots: slots.up == 0)
        turn = await person.chat("Go on", after=first)
    finally:
        stack.addresses += gone
        await stack.slots(lambda slots: slots.up == len(gone))

    assert (turn.answer, turn.error) == ("", "no model server is free; please try again later")
    assert (await person.chat("And now?", after=turn)).answer

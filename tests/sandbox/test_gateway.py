"""The gateway's shipped configuration, in a real HAProxy in front of real replicas."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import product
from pathlib import Path

import aiohttp
import pytest

from autoscaler.sandbox.gateway import CONFIG, PROGRAM, defaults, most_replicas, read_slots
from autoscaler.sandbox.timescale import divide_gateway
from tests.sandbox.gateways import ANSWER, question, rig
from tests.sandbox.replicas import until


@pytest.mark.parametrize("speed", [1, 11.25, 36])
@pytest.mark.parametrize("dns", [{}, {"GATEWAY_DNS": "127.0.0.1:5353"}])
def test_haproxy_finds_nothing_to_complain_about(speed, dns):
    """The file is valid and free of warnings, with its defaults and with scaled timers."""
    environment = {**os.environ, **divide_gateway(defaults(), speed), **dns}
    checked = subprocess.run(
        [PROGRAM, "-c", "-f", CONFIG], env=environment, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


async def test_queue_is_held_and_every_request_is_served(tmp_path):
    """Five requests on two replicas of one slot: two run, three wait in the gateway."""
    async with rig(tmp_path) as stack:
        asked = [asyncio.create_task(stack.chat()) for _ in range(5)]
        slots = await stack.slots(lambda slots: slots.queued + slots.running == 5)
        assert (slots.queued, slots.running) == (3, 2)
        assert set(slots.by_address.values()) == {1}
        assert await asyncio.gather(*asked) == [200] * 5


async def test_metadata_does_not_wait_behind_generations(tmp_path):
    """Lists and versions are answered at once while every slot is taken and others wait."""
    async with rig(tmp_path) as stack:
        asked = [asyncio.create_task(stack.chat(3 * ANSWER)) for _ in range(4)]
        await stack.slots(lambda slots: slots.queued == 2)
        for path in ("/api/tags", "/api/ps", "/api/version", "/v1/models", "/"):
            async with asyncio.timeout(1), stack.session.get(stack.gateway.url + path) as answer:
                assert answer.status == 200
        slots = await stack.slots(lambda _: True)
        assert slots.queued == 2
        for one in asked:
            one.cancel()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", f"/api/{verb}") for verb in ("pull", "push", "create", "copy")),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:0"),
        ("HEAD", "/api/blobs/sha256:0"),
    ],
)
async def test_administration_of_models_is_denied(gateway, method, path):
    """Pull, push, create, copy, delete and blobs are refused, with Ollama's kind of error."""
    async with gateway.session.request(method, gateway.gateway.url + path, json={}) as answer:
        assert (answer.status, answer.content_type) == (403, "application/json")
        assert method == "HEAD" or "error" in await answer.json()


async def test_unknown_path_is_denied(gateway):
    """What the gateway does not know reaches no replica."""
    async with gateway.session.get(f"{gateway.gateway.url}/debug/pprof") as answer:
        assert answer.status == 404
        assert "error" in await answer.json()


async def test_errors_are_json(gateway):
    """Without a replica, metadata is 503 in JSON, as Ollama's clients expect."""
    for path in ("/api/ps", "/api/tags"):
        async with gateway.session.get(gateway.gateway.url + path) as answer:
            assert (answer.status, answer.content_type) == (503, "application/json")
            assert "error" in await answer.json()


@pytest.fixture
async def gateway(tmp_path):
    """Run a gateway without replicas."""
    async with rig(tmp_path, replicas=0) as stack:
        yield stack


async def test_change_in_dns_adds_and_removes_a_replica_within_two_seconds(tmp_path):
    """At speed 1, a new address counts and a lost one stops counting within two seconds."""
    async with rig(tmp_path, replicas=1, speed=1) as stack:
        added = await stack.replica()
        stack.addresses.append(added)
        await stack.slots(lambda slots: slots.up == 2, within_s=2 if PROGRAM == "haproxy" else 3)
        stack.addresses.remove(added)
        await stack.slots(lambda slots: slots.up == 1, within_s=2)


async def test_stream_on_a_replica_that_left_dns_is_finished(tmp_path):
    """A replica that drains gets no new request and keeps what it has."""
    async with rig(tmp_path, replicas=1) as stack:
        asked = asyncio.create_task(stack.chat())
        await stack.slots(lambda slots: slots.running == 1)
        stack.addresses.clear()
        await stack.slots(lambda slots: slots.up == 0)
        assert await asked == 200


async def test_waiting_client_that_leaves_frees_its_place(tmp_path):
    """Whoever leaves, waiting or being answered, is gone from queue and slot at once."""
    async with rig(tmp_path, replicas=1) as stack:
        asked = [asyncio.create_task(stack.chat(20 * ANSWER)) for _ in range(3)]
        await stack.slots(lambda slots: (slots.running, slots.queued) == (1, 2))
        for one in asked:
            one.cancel()
        await stack.slots(lambda slots: (slots.running, slots.queued) == (0, 0), within_s=1)
        assert await stack.chat(1) == 200


async def test_requests_are_held_until_a_replica_is_up(tmp_path):
    """With no replica at all they wait in the queue, of any size, and whoever leaves is gone."""
    async with rig(tmp_path, replicas=0) as stack:
        asked = [asyncio.create_task(stack.chat(ANSWER // 4)) for _ in range(3)]
        asked += [asyncio.create_task(stack.chat(1, words=40_000))]
        await until_demand(stack, 4)
        for number in (0, 1):  # the first of all, and one behind it
            asked.pop(number).cancel()
            await until_demand(stack, len(asked))
        stack.addresses.append(await stack.replica())
        assert await asyncio.wait_for(asyncio.gather(*asked), 10) == [200] * 2
        await until_demand(stack, 0)


async def test_a_held_request_counts_once(tmp_path):
    """While it is held, while it is answered, and beside those that came after it."""
    async with rig(tmp_path, replicas=0, replica_speed=10) as stack:
        asked = [asyncio.create_task(stack.chat(ANSWER // 4)) for _ in range(2)]
        await until_demand(stack, 2)
        assert (await stack.slots(lambda _: True)).queued == 2
        stack.addresses.append(await stack.replica())
        slots = await stack.slots(lambda slots: slots.running == 1)
        assert (await demand(stack), slots.queued) == (2, 1)
        asked += [asyncio.create_task(stack.chat(ANSWER // 4))]
        await until_demand(stack, 3)
        seen = set()
        while not all(one.done() for one in asked):
            seen.add((await demand(stack), 3 - sum(one.done() for one in asked)))
            await asyncio.sleep(0.01)
        assert {counted - real for counted, real in seen} <= {0, -1, 1}  # they end between the two
        assert await asyncio.gather(*asked) == [200] * 3


async def test_requests_that_wait_when_the_last_replica_leaves_stay(tmp_path):
    """The one that runs is finished, the others keep their places and are served by the next."""
    async with rig(tmp_path, replicas=1, replica_speed=10) as stack:
        asked = [asyncio.create_task(stack.chat(ANSWER // 2)) for _ in range(3)]
        await stack.slots(lambda slots: (slots.running, slots.queued) == (1, 2))
        stack.addresses.clear()
        await stack.slots(lambda slots: slots.up == 0)
        asked.append(asyncio.create_task(stack.chat(1)))
        await until_demand(stack, 4)
        await until_demand(stack, 3)
        assert sum(one.done() for one in asked) == 1
        stack.addresses.append(await stack.replica())
        assert await asyncio.wait_for(asyncio.gather(*asked), 20) == [200] * 4


async def test_background_tasks_are_held_one_at_a_time(tmp_path):
    """Tasks of new chats wake no more replicas than one would; the person is still first."""
    async with rig(tmp_path, replicas=0) as stack:
        asked = [asyncio.create_task(stack.chat(1, **TASK)) for _ in range(3)]
        await until_demand(stack, 1)
        person = asyncio.create_task(stack.chat(ANSWER, **PERSON))
        await until_demand(stack, 2)
        stack.addresses.append(await stack.replica())
        assert await person == 200
        assert await asyncio.gather(*asked) == [200] * 3


async def test_held_requests_come_to_an_end(tmp_path):
    """As long as in a queue that does not move, and no longer; all get an error in JSON."""
    async with rig(tmp_path, replicas=0, GATEWAY_QUEUE_TIMEOUT="500ms") as stack:
        began = time.monotonic()
        assert await asyncio.gather(*(stack.chat(1) for _ in range(3))) == [503] * 3
        assert 0.4 < time.monotonic() - began < 3
        await until_demand(stack, 0)


async def test_lists_are_remembered_while_no_replica_is_up(tmp_path):
    """A chat program still finds the models that it may ask for, as they last were."""
    async with rig(tmp_path, replicas=1) as stack:
        url = f"{stack.gateway.url}/api/tags"
        for _ in range(2):
            async with stack.session.get(url) as answer:
                known = (answer.status, await answer.json())
                assert {"Age", "Cache-Control"}.isdisjoint(answer.headers)
        stack.addresses.clear()
        await stack.slots(lambda slots: slots.up == 0)
        for headers in ({}, {"Cache-Control": "no-cache", "Pragma": "no-cache"}):
            async with stack.session.get(url, headers=headers) as answer:
                assert (answer.status, await answer.json()) == known
        assert await demand(stack) == 0


async def test_lists_are_remembered_anew_each_time(tmp_path):
    """What is told while no replica is up is what was true when the last one was."""
    async with rig(tmp_path, replicas=1, speed=1) as stack:
        url = f"{stack.gateway.url}/api/tags"
        await (await stack.session.get(url)).read()
        await asyncio.sleep(3.1)
        await (await stack.session.get(url)).read()
        stack.addresses.clear()
        await stack.slots(lambda slots: slots.up == 0, within_s=2)
        async with stack.session.get(url) as answer:
            assert int(answer.headers["Age"]) < 3


async def test_who_asks_for_an_unknown_list_may_start_a_replica(tmp_path):
    """Where it is so configured, the request is held like any other, and answered."""
    async with rig(tmp_path, replicas=0, GATEWAY_LISTS_WAKE="yes") as stack:
        asked = asyncio.ensure_future(stack.session.get(f"{stack.gateway.url}/api/tags"))
        await until_demand(stack, 1)
        stack.addresses.append(await stack.replica())
        async with await asyncio.wait_for(asked, 5) as answer:
            assert (await answer.json())["models"]
        async with stack.session.get(f"{stack.gateway.url}/api/ps") as answer:
            assert answer.status == 200


async def test_dead_replica_costs_no_further_request(tmp_path):
    """Requests that come after a crash are served by the others, though DNS still has it."""
    async with rig(tmp_path) as stack:
        dead = stack.addresses[0]
        stack.containers[dead].kill()
        await stack.containers[dead].exit_code()
        assert await asyncio.gather(*(stack.chat(1) for _ in range(6))) == [200] * 6


def timers(address):
    """Return the kernel's timers of the connections to an address, and seconds until they ring."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    there = "".join(f"{int(part):02X}" for part in reversed(address.split(".")))
    found = [row[5].split(":") for row in rows if row[2].startswith(f"{there}:") and row[3] == "01"]
    return [(int(kind), int(left, 16) / 100) for kind, left in found]


async def test_a_replica_whose_node_is_gone_is_found_out(tmp_path):
    """While a replica says nothing, its kernel is asked every ten seconds whether it is there."""
    async with rig(tmp_path, replicas=1) as stack:
        asked = asyncio.create_task(stack.chat(10 * ANSWER))
        await stack.slots(lambda slots: slots.running == 1)
        asking = 2  # the kernel's number for it

        def soonest():
            return [left for kind, left in timers(stack.addresses[0]) if kind == asking]

        await until(soonest)
        assert max(soonest()) <= 10
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked


TASK = {"X-OpenWebUI-Task": "title_generation"}
PERSON = {"X-OpenWebUI-Task": ""}


async def test_person_passes_a_background_task(tmp_path):
    """A request that names its task waits behind one that does not."""
    async with rig(tmp_path, replicas=1) as stack:
        order = []

        async def ask(name, headers):
            await stack.chat(ANSWER // 10, **headers)
            order.append(name)

        first = asyncio.create_task(stack.chat(ANSWER // 2))
        await stack.slots(lambda slots: slots.running == 1)
        task = asyncio.create_task(ask("task", TASK))
        await stack.slots(lambda slots: slots.queued == 1)
        person = asyncio.create_task(ask("person", PERSON))
        await asyncio.gather(first, task, person)
        assert order == ["person", "task"]


async def test_background_tasks_raise_the_demand_by_one_at_the_most(tmp_path):
    """Three tasks on two idle replicas take one of them, one after the other; all are served."""
    async with rig(tmp_path) as stack:
        asked = [asyncio.create_task(stack.chat(ANSWER // 3, **TASK)) for _ in range(3)]
        most = 0
        while not all(one.done() for one in asked):
            slots = await stack.slots(lambda _: True)
            most = max(most, slots.running + slots.queued)
            await asyncio.sleep(0.01)
        assert most == 1
        assert await asyncio.gather(*asked) == [200] * 3


async def test_background_tasks_do_not_delay_a_person_on_an_idle_replica(tmp_path):
    """While tasks hold one place, a person is answered by the other replica at once."""
    async with rig(tmp_path) as stack:
        asked = [asyncio.create_task(stack.chat(4 * ANSWER, **TASK)) for _ in range(3)]
        await stack.slots(lambda slots: slots.running == 1)
        assert await asyncio.wait_for(stack.chat(ANSWER // 10, **PERSON), 1) == 200
        for one in asked:
            one.cancel()
        await stack.slots(lambda slots: (slots.running, slots.queued) == (0, 0), within_s=1)
        assert await stack.chat(1, **TASK) == 200


async def test_chat_returns_to_its_replica(tmp_path):
    """Turns of one chat meet the same replica, whichever was used since by others."""
    async with rig(tmp_path) as stack:
        for _ in range(2):
            homes = {chat: [await served_by(stack, chat)] for chat in ("a", "b", "c")}
            for chat in ("c", "a", "b", "b", "c", "a"):
                homes[chat].append(await served_by(stack, chat))
            assert {chat: len(set(homes[chat])) for chat in homes} == dict.fromkeys("abc", 1)


async def test_chat_goes_elsewhere_when_its_replica_is_busy(tmp_path):
    """Affinity leaves no replica idle: one whose own is busy is answered by the other."""
    async with rig(tmp_path) as stack:
        home = await served_by(stack, "a")
        busy = asyncio.create_task(stack.chat(4 * ANSWER, **{"X-OpenWebUI-Chat-Id": "a"}))
        await stack.slots(lambda slots: slots.by_address.get(f"{home}:{stack.port}") == 1)
        other = await asyncio.wait_for(served_by(stack, "a"), 1)
        assert other != home
        busy.cancel()


async def test_many_turns_of_one_chat_use_every_replica(tmp_path):
    """Four requests of one chat at once on two replicas: two run and two wait for any of them."""
    async with rig(tmp_path) as stack:
        chat = {"X-OpenWebUI-Chat-Id": "a"}
        asked = [asyncio.create_task(stack.chat(**chat)) for _ in range(4)]
        slots = await stack.slots(lambda slots: slots.queued + slots.running == 4)
        assert (slots.queued, slots.running) == (2, 2)
        assert await asyncio.gather(*asked) == [200] * 4


async def test_background_task_moves_no_chat(tmp_path):
    """A task carries its chat's id, but where it ran is not where the chat returns to."""
    async with rig(tmp_path) as stack:
        home = await served_by(stack, "a")
        person = asyncio.create_task(stack.chat(ANSWER, **{"X-OpenWebUI-Chat-Id": "a"}))
        await stack.slots(lambda slots: slots.running == 1)
        await stack.chat(1, **TASK, **{"X-OpenWebUI-Chat-Id": "a"})
        await person
        assert await served_by(stack, "a") == home


def test_every_slot_can_have_a_chat_return_to_it():
    """There is one rule for each slot that the template makes."""
    rules = [line.split() for line in CONFIG.read_text().splitlines() if " use-server " in line]
    slots = range(1, most_replicas() + 1)
    assert [(rule[1], rule[7]) for rule in rules] == [(f"ollama{n}", str(n)) for n in slots]


async def test_new_replica_gets_no_slot_with_an_old_stream(tmp_path):
    """While a replica that left DNS finishes a stream, another that comes is idle, not full."""
    async with rig(tmp_path, replicas=1) as stack:
        new = await stack.replica()
        old = asyncio.create_task(stack.chat(4 * ANSWER))
        await stack.slots(lambda slots: slots.running == 1)
        stack.addresses.clear()
        await stack.slots(lambda slots: slots.up == 0)
        stack.addresses.append(new)
        slots = await stack.slots(lambda slots: slots.up == 1)
        assert not old.done()
        assert slots.by_address == {f"{new}:{stack.port}": 0}
        assert await old == 200


KEYS = {
    "none": ({}, 401),
    "part": ({"Authorization": "Bearer open"}, 401),
    "other case": ({"Authorization": "bearer open sesame "}, 401),
    "right": ({"Authorization": "Bearer open sesame"}, 200),
}


async def test_outside_door_wants_the_key(tmp_path):
    """From outside nothing is answered without the key; with it, what the inside door answers.

    The chat page in the cluster, at the inside door, needs no key.
    """
    async with rig(tmp_path, replicas=1, GATEWAY_API_KEY="open sesame") as stack:
        for (case, (headers, status)), path in product(
            KEYS.items(), ("/api/tags", "/api/pull", "/v1/models")
        ):
            expected = 403 if (status, path) == (200, "/api/pull") else status
            url = stack.gateway.outside_url + path
            async with stack.session.get(url, headers=headers) as answer:
                told = (answer.status, answer.content_type)
            assert told == (expected, "application/json"), (case, path)
        async with stack.session.get(f"{stack.gateway.url}/api/tags") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("key", [{}, {"GATEWAY_API_KEY": ""}], ids=["unset", "empty"])
async def test_outside_door_is_shut_without_a_key(tmp_path, key):
    """Where no key is set, or an empty one, there is no door."""
    async with rig(tmp_path, replicas=0, **key) as stack:
        with pytest.raises(aiohttp.ClientConnectorError):
            await stack.session.get(stack.gateway.outside_url)


async def test_first_token_is_not_held_back(tmp_path):
    """The gateway adds next to nothing to the time to the first token (not the kernel's 200 ms)."""
    async with rig(tmp_path, replicas=1) as stack:
        url = f"{stack.gateway.url}/api/chat"
        began = time.monotonic()
        async with stack.session.post(url, json=question(ANSWER)) as answer:
            await answer.content.readany()
            first = time.monotonic() - began
            last = json.loads((await answer.read()).splitlines()[-1])
        assert first - last["prompt_eval_duration"] / 1e9 < 0.15


async def test_restart_finishes_streams_and_takes_new_requests(tmp_path):
    """During a restart a running stream goes on, and new requests find the new process."""
    async with rig(tmp_path) as stack:
        asked = asyncio.create_task(stack.chat(2 * ANSWER))
        await stack.slots(lambda slots: slots.running == 1)
        await stack.gateway.restart()
        await asyncio.sleep(0.2)
        assert await stack.chat(1) == 200
        assert await asked == 200


async def test_exporter_shows_what_the_queries_need(tmp_path):
    """Waiting and running together are the backend's sessions, and unused slots are left out."""
    async with rig(tmp_path) as stack:
        asked = [asyncio.create_task(stack.chat()) for _ in range(3)]
        await stack.slots(lambda slots: slots.queued == 1)
        lines = await exported(stack)
        await asyncio.gather(*asked)
        assert 'haproxy_backend_current_sessions{proxy="ollama"} 3' in lines
        assert 'haproxy_backend_current_queue{proxy="ollama"} 1' in lines
        assert 'haproxy_server_current_sessions{proxy="ollama",server="full"} 0' in lines
        servers = [line for line in lines if line.startswith("haproxy_server_current_sessions")]
        assert len([line for line in servers if 'proxy="ollama",server="ollama' in line]) == 2


async def test_gateway_dies_with_the_process_that_started_it(tmp_path):
    """Nothing is left behind by a sandbox that was killed."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from autoscaler.sandbox.gateway import Gateway, GatewaySettings\n"
        "async def main():\n"
        "    gateway = Gateway(GatewaySettings(name='t', directory=Path(sys.argv[1]),"
        " environment={'GATEWAY_DNS': '127.0.0.1:9'}))\n"
        "    await gateway.start(); print(gateway._child.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, str(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    child = int(await parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    await parent.communicate()
    await until(lambda: not _runs(child))


def test_csv_of_the_statistics_is_read():
    """Queue, slots and addresses come from HAProxy's own columns; unused slots do not count."""
    text = (
        "# pxname,svname,qcur,scur,status,addr,\n"
        "llm,FRONTEND,,7,OPEN,,\n"
        "ollama,ollama1,0,1,UP,127.77.0.1:11434,\n"
        "ollama,ollama2,0,1,UP 1/3,127.77.0.2:11434,\n"
        "ollama,ollama3,0,1,MAINT (resolution),,\n"
        "ollama,BACKEND,4,7,UP,,\n"
        "metadata,ollama1,0,1,UP,127.77.0.1:11434,\n"
    )
    slots = read_slots(text)
    assert (slots.queued, slots.running, slots.up) == (4, 3, 2)
    assert slots.by_address == {"127.77.0.1:11434": 1, "127.77.0.2:11434": 1}


async def exported(stack):
    """Return the lines of the metrics page, as Prometheus asks for it."""
    url = f"http://{stack.gateway.stats_address}/metrics"
    async with stack.session.get(f"{url}?scope=backend&scope=server&no-maint") as answer:
        return (await answer.text()).splitlines()


async def demand(stack):
    """Return the requests in the system, as the shipped query counts them."""
    values = dict(line.rsplit(" ", 1) for line in await exported(stack) if line[0] != "#")
    sessions = values['haproxy_backend_current_sessions{proxy="ollama"}']
    return int(sessions) - int(
        values['haproxy_server_current_sessions{proxy="ollama",server="full"}']
    )


async def until_demand(stack, wanted):
    """Wait until there are so many requests in the system."""
    async with asyncio.timeout(5):
        while await demand(stack) != wanted:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.01)


async def served_by(stack, chat):
    """Ask in a chat; answers the address of the replica that served it."""
    before = await requests_by_replica(stack)
    assert await stack.chat(1, **{"X-OpenWebUI-Chat-Id": chat}) == 200
    after = await requests_by_replica(stack)
    (ip,) = [ip for ip in after if after[ip] != before[ip]]
    return ip


async def requests_by_replica(stack):
    """Return how many requests each replica has finished."""
    counted = {}
    for ip in stack.addresses:
        async with stack.session.get(f"http://{ip}:{stack.port}/sandbox/stats") as answer:
            counted[ip] = (await answer.json())["served"]
    return counted


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""One replica over real sockets on loopback, at 200 times real time."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from autoscaler.sandbox import replica as replica_module
from tests.sandbox.replicas import PROFILE, SETTINGS, replica, replica_process, until

MODEL = PROFILE.model
SPEED = SETTINGS.speed


def chat(output=40, prompt=720, **extra):
    """A native question of `prompt` tokens: 10 simulated seconds for 720 of them."""
    options = {"num_predict": output, "sandbox_input_tokens": prompt}
    messages = [{"role": "user", "content": "hello"}]
    return {"model": MODEL, "messages": messages, "options": options} | extra


@pytest.fixture
async def http():
    """A client for HTTP."""
    async with aiohttp.ClientSession() as session:
        yield session


async def get_json(http, url):
    """Fetch one document."""
    async with http.get(url) as response:
        return await response.json()


async def wait_for(http, base, **wanted):
    """Poll stats until they show these values."""
    async with asyncio.timeout(5):
        while True:
            stats = await get_json(http, f"{base}/sandbox/stats")
            if wanted.items() <= stats.items():
                return stats
            await asyncio.sleep(0.005)


async def raw(base, data):
    """Send bytes, return everything that comes until the server closes."""
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


# --- what it says about itself ----------------------------------------------------------------


async def test_it_is_alive_at_once_and_lists_its_model_when_that_is_in_memory(http):
    """`/` answers during the start-up; `/api/ps` is empty until the model is there."""
    slow = replace(SETTINGS, profile=replace(PROFILE, start_up_s=20.0))
    async with replica(slow) as base:
        async with http.get(base) as response:
            assert (response.status, await response.text()) == (200, "Ollama is running")
        async with http.head(base) as response:
            assert (response.status, await response.read()) == (200, b"")
        assert await get_json(http, f"{base}/api/ps") == {"models": []}
        assert (await get_json(http, f"{base}/api/tags"))["models"][0]["name"] == MODEL
        assert (await get_json(http, f"{base}/v1/models"))["data"][0]["id"] == MODEL
        assert "version" in await get_json(http, f"{base}/api/version")

        async with http.post(f"{base}/api/generate", json={"model": MODEL}) as response:
            assert (await response.json())["done_reason"] == "load"
        assert [each["name"] for each in (await get_json(http, f"{base}/api/ps"))["models"]] == [
            MODEL
        ]


async def test_the_start_up_delay_is_the_pods_own_and_repeats_with_the_seed():
    """Pods differ from each other, and the same pod with the same seed does not."""
    delays = {}
    for pod, seed in (("a", 1), ("a", 1), ("b", 1), ("a", 2)):
        profile = replace(PROFILE, start_up_s=35.0)
        one = replica_module.Replica(replace(SETTINGS, pod=pod, seed=seed, profile=profile))
        delays.setdefault((pod, seed), set()).add(one.start_up_s)

    assert all(len(each) == 1 for each in delays.values())
    assert len(set.union(*delays.values())) == 3


# --- answers ----------------------------------------------------------------------------------


async def test_a_stream_begins_with_the_first_token_and_ends_with_counts(http):
    """Headers take the prompt's time; the last line has durations of wall time, and counts."""
    loop = asyncio.get_running_loop()
    async with replica() as base:
        asked = loop.time()
        async with http.post(f"{base}/api/chat", json=chat()) as response:
            headers_after = loop.time() - asked
            lines = [json.loads(line) async for line in response.content]

    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert headers_after >= PROFILE.prompt_s(720) / SPEED * 0.95
    assert all(line["done"] is False for line in lines[:-1])
    text = "".join(line["message"]["content"] for line in lines)
    end = lines[-1]
    assert (end["done"], end["prompt_eval_count"], end["eval_count"]) == (True, 720, 40)
    assert len(text) == 40 * 4
    assert end["prompt_eval_duration"] == pytest.approx(PROFILE.prompt_s(720) / SPEED * 1e9)
    assert end["eval_duration"] == pytest.approx(PROFILE.output_s(40) / SPEED * 1e9)


async def test_tokens_come_in_batches():
    """Between two pieces of a stream lie at least 40 ms of wall time, so streams are cheap."""
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session, replica() as base:
        body = chat(output=1000, prompt=1)
        async with session.post(f"{base}/api/chat", json=body) as response:
            times = [loop.time() async for _ in response.content]

    assert len(times) <= PROFILE.output_s(1000) / SPEED / replica_module.CHUNK_S + 3


async def test_an_answer_that_is_not_streamed_comes_as_a_whole(http):
    """Nothing, not even headers, is sent before the last token."""
    loop = asyncio.get_running_loop()
    body = {"model": MODEL, "prompt": "x" * 40, "stream": False, "options": {"num_predict": 238}}
    async with replica() as base:
        asked = loop.time()
        async with http.post(f"{base}/api/generate", json=body) as response:
            headers_after = loop.time() - asked
            answer = await response.json()

    assert headers_after >= 10 / SPEED * 0.95
    assert (answer["done"], answer["prompt_eval_count"], answer["eval_count"]) == (True, 10, 238)
    assert len(answer["response"]) == 238 * 4


@pytest.mark.parametrize(
    ("path", "question", "field"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "abcd"}]}, "delta"),
        ("/v1/completions", {"prompt": "abcd"}, "text"),
    ],
)
async def test_openai_streams_are_events_that_end_with_done(http, path, question, field):
    """Pieces, the reason of the end, the usage where asked for, and the terminator."""
    options = {"stream": True, "max_tokens": 9, "stream_options": {"include_usage": True}}
    async with replica() as base:
        body = {"model": MODEL} | question | options
        async with http.post(base + path, json=body) as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            events = (await response.text()).strip().split("\n\n")

    assert events.pop() == "data: [DONE]"
    *pieces, end, usage = (json.loads(event.removeprefix("data: ")) for event in events)
    assert all(field in piece["choices"][0] for piece in pieces)
    assert end["choices"][0]["finish_reason"] == "length"
    assert usage["usage"] == {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10}


async def test_openai_answers_come_as_a_whole_unless_a_stream_is_asked_for(http):
    """The default of that interface is the opposite of the native one's."""
    parts = [{"type": "text", "text": "abcdefgh"}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": parts}]}
    async with replica() as base, http.post(f"{base}/v1/chat/completions", json=body) as response:
        answer = await response.json()

    assert answer["object"] == "chat.completion"
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/api/chat", b'{"model": "other"}', 404, b"model 'other' not found"),
        ("POST", "/v1/completions", b'{"model": "other"}', 404, b"not_found_error"),
        ("POST", "/api/chat", b"{", 400, b"error"),
        ("POST", "/v1/chat/completions", b"[]", 400, b"invalid_request_error"),
        ("POST", "/api/generate", b"", 400, b"missing request body"),
        ("POST", "/api/generate", b"{}", 400, b"model is required"),
        ("GET", "/api/generate", b"", 405, b"405"),
        ("GET", "/api/nothing", b"", 404, b"404 page not found"),
    ],
)
async def test_wrong_questions_are_refused_as_ollama_does(method, path, body, status, words):
    """Errors before the first token keep their status; each interface has its own form."""
    async with (
        replica() as base,
        aiohttp.request(method, base + path, data=body) as response,
    ):
        assert response.status == status
        assert words in await response.read()


# --- slots ------------------------------------------------------------------------------------


async def test_requests_beyond_the_slots_wait_inside_without_limit(http):
    """They are neither refused nor told anything; stats, which Ollama lacks, show them."""
    async with replica(replace(SETTINGS, speed=20)) as base:
        posts = [
            asyncio.create_task(http.post(f"{base}/api/chat", json=chat(output=200)))
            for _ in range(4)
        ]
        stats = await wait_for(http, base, in_flight=4)
        assert stats["waiting"] == 3
        for post in posts:
            post.cancel()
        await asyncio.gather(*posts, return_exceptions=True)
        await wait_for(http, base, in_flight=0)


@pytest.mark.parametrize("leaver", ["running", "waiting"])
async def test_a_client_that_leaves_frees_its_place(http, leaver):
    """Its generation is cancelled and the next in line gets the slot."""
    async with replica(replace(SETTINGS, speed=60)) as base:
        endless, short = chat(output=1024, prompt=4096), chat(output=1, prompt=1)
        first = asyncio.create_task(http.post(f"{base}/api/chat", json=endless))
        await wait_for(http, base, in_flight=1)
        second = asyncio.create_task(http.post(f"{base}/api/chat", json=endless))
        await wait_for(http, base, in_flight=2, waiting=1)
        left, stayed = (first, second) if leaver == "running" else (second, first)
        left.cancel()
        await wait_for(http, base, in_flight=1, waiting=0, served=0)
        stayed.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await wait_for(http, base, in_flight=0)
        async with http.post(f"{base}/api/chat", json=short) as response:
            assert response.status == 200


async def test_before_the_model_is_there_the_queue_has_a_limit(http, monkeypatch):
    """Only then do requests beyond it get 503, as with OLLAMA_MAX_QUEUE."""
    monkeypatch.setattr(replica_module, "MAX_QUEUE", 1)
    loading = replace(SETTINGS, profile=replace(PROFILE, start_up_s=10_000.0))
    async with replica(loading) as base:
        post = asyncio.create_task(http.post(f"{base}/api/chat", json=chat()))
        await wait_for(http, base, waiting=1)
        async with http.post(f"{base}/api/chat", json=chat()) as response:
            assert response.status == 503
            assert (await response.json())["error"].startswith("server busy")
        post.cancel()
        await asyncio.gather(post, return_exceptions=True)


async def test_drain_answers_when_nothing_is_in_flight(http):
    """At once on an idle replica, else with the end of the last stream."""
    async with replica(replace(SETTINGS, speed=60)) as base:
        assert await get_json(http, f"{base}/sandbox/drain") == {"drained": True}
        async with http.post(f"{base}/api/chat", json=chat(output=1024)) as response:
            drain = asyncio.create_task(get_json(http, f"{base}/sandbox/drain"))
            await asyncio.sleep(0.02)
            assert not drain.done()
            await response.read()
        assert await asyncio.wait_for(drain, 5) == {"drained": True}


async def test_processor_seconds_grow_by_the_limit_while_busy_and_hardly_while_idle(http):
    """Over wall time their rate is cores, whatever the speed."""
    loop = asyncio.get_running_loop()
    async with replica(replace(SETTINGS, cpu_limit=3.0)) as base:
        begun, before = loop.time(), await get_json(http, f"{base}/sandbox/stats")
        await asyncio.sleep(0.1)
        idle = await get_json(http, f"{base}/sandbox/stats")
        assert idle["cpu_seconds_total"] - before["cpu_seconds_total"] < 0.02
        async with http.post(f"{base}/api/chat", json=chat(output=238)) as response:
            end = json.loads((await response.read()).splitlines()[-1])
        after = await get_json(http, f"{base}/sandbox/stats")

    busy = (end["prompt_eval_duration"] + end["eval_duration"]) / 1e9
    used = after["cpu_seconds_total"] - idle["cpu_seconds_total"]
    assert used == pytest.approx(3.0 * busy, abs=0.02)
    assert used < 3.0 * (loop.time() - begun)
    assert after["served"] == 1


async def test_it_tells_who_asked_and_when(http):
    """Requests for the model are remembered in their order, with the headers that mark them."""
    marks = {"X-OpenWebUI-Task": "title_generation", "X-Openwebui-Chat-Id": "c1"}
    async with replica() as base:
        async with http.post(f"{base}/api/chat", json=chat(output=1), headers=marks) as answer:
            await answer.read()
        async with http.post(f"{base}/v1/chat/completions", json={"model": "other"}) as answer:
            await answer.read()
        first, second = await get_json(http, f"{base}/sandbox/requests")

    seen = {"x-openwebui-task": "title_generation", "x-openwebui-chat-id": "c1"}
    assert (first["path"], first["headers"]) == ("/api/chat", seen)
    assert (second["path"], second["headers"]) == ("/v1/chat/completions", {})
    assert second["bytes"] == len('{"model": "other"}')
    assert 0 < first["at"] < second["at"]


# --- the wire ---------------------------------------------------------------------------------


async def test_requests_on_one_connection_are_answered_in_turn():
    """Keep-alive, pipelining and a chunked body, as proxies and clients send them."""
    body = json.dumps(chat(output=1, prompt=1, stream=False)).encode()
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:20], body[20:], b""))
    async with replica() as base:
        answer = await raw(
            base,
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST /api/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked +
            b"GET /api/version?x=1 HTTP/1.1\r\nConnection: close\r\n\r\n",
        )  # fmt: skip

    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.index(b"is running") < answer.index(b'"done":true') < answer.index(b"version")


async def test_http_1_0_closes_after_the_answer():
    """A health check of that version waits for the end of the connection."""
    async with replica() as base:
        assert (await raw(base, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"Ollama is running")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/chat HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000,
    ],
    ids=["line", "header", "negative", "too-long", "chunk", "negative-chunk", "headers-too-long"],
)
async def test_bytes_that_are_no_request_are_answered_with_400_and_a_closed_connection(data):
    """The server survives them and goes on serving others."""
    async with replica() as base:
        answer = await raw(base, data)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert (await raw(base, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


# --- the process ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_cuts_every_stream_at_once_and_exits_0(http, number):
    """As Ollama does: no drain, connections closed in the middle of an answer."""
    async with replica_process("--speed", "100", "--profile", "8b-laptop") as (process, base):
        body = chat(output=1024, prompt=1) | {"model": "llama3.1:8b"}
        async with http.post(f"{base}/api/chat", json=body) as response:
            await response.content.readany()
            process.send_signal(number)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_it_goes_when_its_parent_is_gone():
    """A sandbox that was killed leaves no replica behind."""
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'autoscaler.sandbox.replica',\n"
        "    '--host', '127.3.9.3', '--port', '0', '--pod', 'x'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert alive(child)
    parent.kill()
    await parent.communicate()
    try:
        await until(lambda: not alive(child))
    finally:
        if alive(child):
            os.kill(child, signal.SIGKILL)


def alive(pid):
    """A zombie that nobody has waited for yet is not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--profile", "7b"], 2, b"--profile = 7b, must be one of"),
        (["--slots", "0"], 2, b"--slots must be at least 1"),
        (["--speed", "0"], 2, b"above 0"),
        (["--host", "192.0.2.1"], 1, b"replica x: "),
    ],
)
async def test_arguments_that_cannot_work_are_refused_in_words(args, code, words):
    """2 for bad arguments, 1 for an address that cannot be had; no traceback."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "autoscaler.sandbox.replica", "--port", "0", "--pod", "x", *args),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
    )
    _, stderr = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == code
    assert words in stderr
    assert b"Traceback" not in stderr

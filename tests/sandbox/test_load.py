"""The load client against real servers on loopback."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from autoscaler.sandbox.load import Lane, Load, LoadSettings, Result
from autoscaler.sandbox.traffic import Request
from tests.sandbox.replicas import PROFILE, SETTINGS, replica, until

SPEED = SETTINGS.speed
USERS = LoadSettings(speed=SPEED, model=PROFILE.model)
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"


def question(arrival_s=0.0, **extra):
    """One of 10 s of prompt and 10 s of output."""
    return Request(arrival_s=arrival_s, input_tokens=720, output_tokens=238, **extra)


@asynccontextmanager
async def server(answer):
    """Serve these bytes to each request and hang up; None: say nothing until the client leaves.

    Yields the base URL and the requests seen.
    """
    seen = []

    async def handle(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            while await reader.read(65_536):
                pass
        else:
            await reader.read(65_536)
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(handle, "127.3.9.4", 0)
    host, port = listening.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}", seen
    finally:
        listening.close()


async def outcomes_of(answer, settings=USERS, **extra):
    """Ask one question of a server that answers so; returns the outcomes and the requests."""
    async with server(answer) as (base_url, seen):
        load = Load([question(**extra)], [Lane(name="a", base_url=base_url)], settings)
        await asyncio.wait_for(load.run(), 10)
        return load.outcomes("a"), seen


async def test_a_served_question_tells_first_byte_and_wait_in_simulated_seconds():
    """On an idle replica nobody waits: all of the time to the first byte is its own prompt."""
    calm = replace(SETTINGS, speed=20)
    async with replica(calm) as base_url:
        lane = Lane(name="a", base_url=base_url)
        load = Load([question(2.0)], [lane], replace(USERS, speed=20))
        await load.run()

    (outcome,) = load.outcomes("a")
    assert (outcome.result, outcome.status, outcome.detail) == (Result.SERVED, 200, "")
    assert outcome.first_s == pytest.approx(PROFILE.prompt_s(720), abs=6)
    assert outcome.wait_s == pytest.approx(0, abs=6)
    assert outcome.finished_s == pytest.approx(2 + PROFILE.service_s(720, 238), abs=6)
    assert outcome.bytes > 238


async def test_waiting_in_line_counts_as_wait():
    """Of two questions at once on one slot, the second waits for as long as the first takes."""
    async with replica(replace(SETTINGS, speed=25)) as base_url:
        lane = Lane(name="a", base_url=base_url)
        load = Load([question(), question()], [lane], replace(USERS, speed=25))
        await load.run()

    waits = sorted(outcome.wait_s for outcome in load.outcomes("a"))
    assert waits[0] == pytest.approx(0, abs=6)
    assert waits[1] == pytest.approx(PROFILE.service_s(720, 238), abs=6)


async def test_all_lanes_get_the_same_questions_at_the_same_times():
    """One lane's slowness delays neither the other nor later questions (open loop)."""
    requests = [question(float(at)) for at in range(5)]
    async with server(None) as (stuck, _), replica(replace(SETTINGS, slots=5)) as base_url:
        lanes = [Lane(name="stuck", base_url=stuck), Lane(name="fine", base_url=base_url)]
        load = Load(requests, lanes, USERS)
        await load.run()

    fine, slow = load.outcomes("fine"), load.outcomes("stuck")
    assert sorted(outcome.arrival_s for outcome in fine) == [0, 1, 2, 3, 4]
    assert {outcome.result for outcome in fine} == {Result.SERVED}
    assert {outcome.result for outcome in slow} == {Result.GAVE_UP}


async def test_a_user_gives_up_when_patience_ends_before_the_first_byte():
    """The connection is closed, so that the gateway may drop the question."""
    (outcome,), _ = await outcomes_of(None)

    assert (outcome.result, outcome.first_s, outcome.wait_s) == (Result.GAVE_UP, None, None)
    assert outcome.finished_s == pytest.approx(150, abs=30)


async def test_patience_does_not_end_a_stream_that_has_begun():
    """It counts up to the first byte only."""
    async with replica() as base_url:
        lane = Lane(name="a", base_url=base_url)
        request = Request(arrival_s=0.0, input_tokens=1, output_tokens=1024)
        load = Load([request], [lane], replace(USERS, patience_s=20.0))
        await load.run()

    (outcome,) = load.outcomes("a")
    assert outcome.result is Result.SERVED
    assert outcome.finished_s > 40


@pytest.mark.parametrize(
    "body",
    [b'{"done":false}\n', b'{"done":false}\n{"do', b'{"error":"runner died"}\n', b"[1]\n"],
    ids=["hung-up", "half-line", "error-line", "no-object"],
)
async def test_a_stream_without_its_last_line_is_cut(body):
    """It began with 200 and did not end with `done`: the user sees half an answer."""
    (outcome,), _ = await outcomes_of(HEADERS + body)

    assert (outcome.result, outcome.status, outcome.bytes) == (Result.CUT, 200, len(body))


async def test_a_stream_that_breaks_in_a_chunk_is_cut():
    """The transport's own complaint is kept as the detail."""
    headers = HEADERS.replace(b"Connection: close", b"Transfer-Encoding: chunked")
    (outcome,), _ = await outcomes_of(headers + b'f\r\n{"done":false}\n\r\n')

    assert outcome.result is Result.CUT
    assert "ClientPayloadError" in outcome.detail


async def test_an_error_status_is_a_refusal_with_its_words():
    """503 from the gateway, for example."""
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\nno server"
    (outcome,), _ = await outcomes_of(answer)

    assert (outcome.result, outcome.status) == (Result.REFUSED, 503)
    assert outcome.detail == "no server"


@pytest.mark.parametrize("answer", [b"", HEADERS], ids=["no-answer", "no-body"])
async def test_an_end_before_the_first_byte_is_a_refusal(answer):
    """The connection closed and nothing was said."""
    (outcome,), _ = await outcomes_of(answer)

    assert outcome.result is Result.REFUSED


async def test_nobody_listening_is_a_refusal():
    """A gateway that restarts refuses connections."""
    async with server(b"") as (base_url, _):
        pass
    load = Load([question()], [Lane(name="a", base_url=base_url)], USERS)
    await load.run()

    (outcome,) = load.outcomes("a")
    assert (outcome.result, outcome.status) == (Result.REFUSED, None)


async def test_the_chat_goes_along_as_open_webui_sends_it():
    """For a gateway that keeps a chat with its replica."""
    _, (head,) = await outcomes_of(HEADERS, chat_id="c-1")

    assert b"X-OpenWebUI-Chat-Id: c-1" in head
    assert head.startswith(b"POST /api/chat ")


async def test_progress_counts_every_question_once():
    """Sent = waiting + running + ended, at any time."""
    requests = [question(0.0), question(0.1), question(0.2), question(10_000.0)]
    async with replica(replace(SETTINGS, speed=20)) as base_url:
        load = Load(requests, [Lane(name="a", base_url=base_url)], replace(USERS, speed=20))
        (before,) = load.progress()
        assert (before.total, before.sent, before.waiting, load.elapsed_s) == (4, 0, 0, 0.0)
        run = asyncio.create_task(load.run())
        await until(lambda: load.progress()[0].running == 1)
        (now,) = load.progress()
        assert (now.sent, now.waiting, now.running, now.served) == (3, 2, 1, 0)
        await until(lambda: load.progress()[0].served == 1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    assert load.outcomes("a")[0].result is Result.SERVED
    assert load.elapsed_s > 0

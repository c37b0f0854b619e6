"""The load command that newcomers try, through a real gateway to real replicas."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.sandbox.gateways import rig

SCRIPT = Path(__file__).parents[1] / "scripts" / "load.py"


async def _run(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def _server(answer: bytes) -> AsyncIterator[str]:
    """Answer every request with these bytes and hang up; gives the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await reader.readuntil(b"}}")  # what is left unread would reset the connection
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def test_people_chat_and_each_answer_is_whole(tmp_path):
    """Three people on two replicas chat with the listed model; none is refused or cut."""
    async with rig(tmp_path) as stack:
        few = ("--people", "3", "--minutes", "0.1", "--think", "0.2", "--words", "20")
        code, out, err = await _run(stack.gateway.url, *few)
    assert (code, err) == (0, "")
    assert "3 people chat with tinyllama:1.1b" in out
    total = out.splitlines()[-1]
    assert total.startswith("in all: ")
    assert int(total.partition("answered ")[2].partition(";")[0]) > 3
    assert "cut" not in total


async def test_refusals_are_counted_and_end_in_an_error(tmp_path):
    """A model that is not there is told by its status, and the exit code is 1."""
    async with rig(tmp_path, replicas=1) as stack:
        few = ("--people", "1", "--minutes", "0.05", "--think", "0.1", "--model", "none")
        code, out, _ = await _run(stack.gateway.url, *few)
    assert code == 1
    assert "HTTP 404" in out.splitlines()[-1]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_an_answer_that_is_cut_in_its_middle_is_counted():
    """The person goes on chatting, and in the end the exit code is 1."""
    async with _server(CHUNKED + b'32\r\n{"done":false}\n') as url:
        few = ("--people", "1", "--minutes", "0.05", "--think", "0.1", "--model", "any")
        code, out, err = await _run(url, *few)
    assert (code, err) == (1, "")
    assert int(out.splitlines()[-1].partition(", cut ")[2].partition(";")[0]) > 1


@pytest.mark.parametrize(
    "told", [b'{"error":"no such path"}', b'{"models":null}', b"[]", b"<html>"]
)
async def test_what_is_not_ollama_is_told(told):
    """An address at which something else answers ends with 2 and a next step."""
    async with _server(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + told) as url:
        code, _, err = await _run(url)
    assert code == 2
    assert f"load: {url} does not list its models" in err
    assert "port-forward svc/gateway" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("http://127.0.0.1:9",), "kubectl -n llm port-forward svc/gateway 8080"),
        (("localhost:8080",), "must begin with http://"),
        (("http://127.0.0.1:9", "--people", "0"), "must be above 0"),
    ],
)
async def test_what_cannot_work_says_what_to_do(arguments, message):
    """A gateway that does not answer and impossible options end with 2 and a next step."""
    code, _, err = await _run(*arguments)
    assert code == 2
    assert message in err

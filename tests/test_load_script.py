"""The load command that newcomers try, through a real gateway to real replicas."""

import asyncio
import sys
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

"""The users: questions sent at their times whatever the answers do (open loop), with patience.

All lanes get the same questions at the same times. Times in outcomes are simulated seconds; the
wall clock runs `speed` times slower.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from autoscaler.sandbox.ollama import words
from autoscaler.sandbox.traffic import Request

CHAT_ID_HEADER = "X-OpenWebUI-Chat-Id"
"""What Open WebUI sends with a saved chat."""
_TAIL_BYTES = 4096
"""Of a stream, only its end is kept: the last line tells whether it was whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One stack that gets the load."""

    name: str
    base_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """How the users behave."""

    speed: float
    model: str
    patience_s: float = 120.0
    """A user who has seen nothing by then leaves; simulated seconds."""


class Result(StrEnum):
    """How a question ended."""

    SERVED = "served"
    CUT = "cut"
    """The answer began and broke off."""
    REFUSED = "refused"
    """An error came instead of an answer."""
    GAVE_UP = "gave_up"
    """The user's patience ended before the first byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One question's fate, in simulated seconds."""

    arrival_s: float
    first_s: float | None
    """From the arrival to the first byte of an answer."""
    wait_s: float | None
    """Of that, what was spent waiting for a slot; known of whole answers."""
    finished_s: float
    """When it ended, from the start of the run."""
    status: int | None
    result: Result
    bytes: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one lane is."""

    lane: str
    total: int
    sent: int
    waiting: int
    """Sent, and no first byte yet."""
    running: int
    """Being answered."""
    served: int
    cut: int
    refused: int
    gave_up: int


@dataclass(slots=True)
class _Tally:
    """What happened in one lane so far."""

    sent: int = 0
    running: int = 0
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(slots=True)
class _Answer:
    """What came back for one question so far; wall-clock seconds of the event loop."""

    status: int | None = None
    first_at: float | None = None
    size: int = 0
    tail: bytes = b""


class Load:
    """One run of the load against all lanes."""

    def __init__(
        self, requests: Sequence[Request], lanes: Sequence[Lane], settings: LoadSettings
    ) -> None:
        """Prepare; nothing is sent before `run`."""
        self._requests = requests
        self._lanes = lanes
        self._settings = settings
        self._tallies = {lane.name: _Tally() for lane in lanes}
        self._began: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since `run` began."""
        if self._began is None:
            return 0.0
        return self._simulated(asyncio.get_running_loop().time() - self._began)

    async def run(self) -> None:
        """Send everything and wait for the last answer. Cancelled, it stops; outcomes stay."""
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        # A connection for each question, as from a browser: none is reused that a restart closed.
        connector = TCPConnector(limit=0, force_close=True)
        no_limit = ClientTimeout(total=None)
        async with (
            ClientSession(connector=connector, timeout=no_limit) as session,
            asyncio.TaskGroup() as users,
        ):
            for request in self._requests:
                due = self._began + request.arrival_s / self._settings.speed
                await asyncio.sleep(due - loop.time())
                for lane in self._lanes:
                    users.create_task(self._user(session, lane, request))

    def progress(self) -> tuple[Progress, ...]:
        """Return how far each lane is."""
        return tuple(self._progress(lane.name) for lane in self._lanes)

    def outcomes(self, lane: str) -> tuple[Outcome, ...]:
        """Return what has ended in that lane so far."""
        return tuple(self._tallies[lane].outcomes)

    def _progress(self, lane: str) -> Progress:
        tally = self._tallies[lane]
        ended = Counter(outcome.result for outcome in tally.outcomes)
        return Progress(
            lane=lane,
            total=len(self._requests),
            sent=tally.sent,
            waiting=tally.sent - tally.running - len(tally.outcomes),
            running=tally.running,
            served=ended[Result.SERVED],
            cut=ended[Result.CUT],
            refused=ended[Result.REFUSED],
            gave_up=ended[Result.GAVE_UP],
        )

    def _simulated(self, wall_s: float) -> float:
        return wall_s * self._settings.speed

    async def _user(self, session: ClientSession, lane: Lane, request: Request) -> None:
        """Ask one question and note how it ended."""
        tally, answer = self._tallies[lane.name], _Answer()
        asked = asyncio.get_running_loop().time()
        error: Exception | None = None
        tally.sent += 1
        try:
            await self._converse(session, lane, request, answer)
        except (ClientError, OSError) as failure:  # OSError: TimeoutError is one
            error = failure
        finally:
            tally.running -= answer.first_at is not None
        tally.outcomes.append(self._outcome(request, answer, asked, error))

    async def _converse(
        self, session: ClientSession, lane: Lane, request: Request, answer: _Answer
    ) -> None:
        """Post, and read to the end. Raises TimeoutError when patience ends before a byte came."""
        url = f"{lane.base_url}/api/chat"
        headers = {CHAT_ID_HEADER: request.chat_id} if request.chat_id else {}
        async with asyncio.timeout(self._settings.patience_s / self._settings.speed) as patience:
            async with session.post(url, json=self._question(request), headers=headers) as response:
                answer.status = response.status
                if response.status != HTTPStatus.OK:
                    answer.tail = await response.content.read(_TAIL_BYTES)
                    return
                async for piece in response.content.iter_any():
                    if answer.first_at is None:
                        answer.first_at = asyncio.get_running_loop().time()
                        self._tallies[lane.name].running += 1
                        patience.reschedule(None)
                    answer.size += len(piece)
                    answer.tail = (answer.tail + piece)[-_TAIL_BYTES:]

    def _question(self, request: Request) -> Mapping[str, object]:
        return {
            "model": self._settings.model,
            "messages": [{"role": "user", "content": words(request.input_tokens)}],
            "options": {"num_predict": request.output_tokens},
        }

    def _outcome(
        self, request: Request, answer: _Answer, asked: float, error: Exception | None
    ) -> Outcome:
        end = _last_line(answer.tail)
        result = _result(answer, end, error)
        first = None
        if answer.first_at is not None:
            first = self._simulated(answer.first_at - asked)
        wait = None
        if result is Result.SERVED and first is not None:
            wait = max(0.0, first - self._simulated(_own_first_token(end)))
        return Outcome(
            arrival_s=request.arrival_s,
            first_s=first,
            wait_s=wait,
            finished_s=self.elapsed_s,
            status=answer.status,
            result=result,
            bytes=answer.size,
            detail="" if result is Result.SERVED else _detail(answer, error),
        )


def _result(answer: _Answer, end: Mapping[str, object], error: Exception | None) -> Result:
    if answer.first_at is not None:
        return Result.SERVED if end.get("done") is True else Result.CUT
    return Result.GAVE_UP if isinstance(error, TimeoutError) else Result.REFUSED


def _detail(answer: _Answer, error: Exception | None) -> str:
    if error is not None:
        return f"{type(error).__name__}: {error}".rstrip(": ")
    return answer.tail.decode(errors="replace")[:200].strip()


def _last_line(tail: bytes) -> Mapping[str, object]:
    """Return the last line of a stream, nothing where it is no JSON object."""
    try:
        value = json.loads(tail.rstrip().rpartition(b"\n")[2])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _own_first_token(end: Mapping[str, object]) -> float:
    """Return the wall time that the replica itself took to the first token, from the last line."""
    prompt, output, count = (
        float(value) if isinstance(value := end.get(key), (int, float)) else 0.0
        for key in ("prompt_eval_duration", "eval_duration", "eval_count")
    )
    return (prompt + output / max(count, 1.0)) / 1e9

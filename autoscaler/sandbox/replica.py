"""One replica: a process with Ollama's HTTP behaviour and the service model of a CPU.

    python -m autoscaler.sandbox.replica --host 127.3.0.5 --port 11434 --pod NAME --speed 10

As in Ollama: headers go out with the first token; requests beyond the slots wait inside, without
limit and without a metric; a client that leaves frees its slot; SIGTERM cuts every stream at once.
The model stays in memory once it is there (OLLAMA_KEEP_ALIVE=-1). Every duration is divided by
`--speed`. Only the standard library, since many of these start at once.

`/sandbox/...` is not Ollama's: `stats` stands in for cAdvisor and the eyes of a reader, `requests`
tells who asked and when, `drain` stands in for the preStop script, which asks the gateway instead.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from autoscaler.errors import InputError
from autoscaler.sandbox import ollama
from autoscaler.sandbox.service import Job, Profile, Slots, profile_named
from autoscaler.sandbox.wire import Connection, Exchange, serve

START_UP_SIGMA = 0.3
MAX_QUEUE = 512
"""OLLAMA_MAX_QUEUE: counts only while the model is not in memory."""
CHUNK_S = 0.04
"""Least wall time between two pieces of one stream: tokens are sent in batches."""
IDLE_CORES = 0.005
REMEMBERED = 200
"""Requests for the model that `/sandbox/requests` tells of."""
PARENT_CHECK_S = 1.0
_DIALECTS: dict[str, ollama.Dialect] = {
    "/api/generate": "generate",
    "/api/chat": "chat",
    "/v1/chat/completions": "v1/chat",
    "/v1/completions": "v1/completions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """What a replica is told on its command line."""

    pod: str
    profile: Profile
    slots: int = 1
    speed: float = 1.0
    seed: int = 0
    cpu_limit: float = 2.0
    """Cores that a busy replica takes."""
    model: str = ""
    """Empty: the profile's."""


class Replica:
    """The requests of one replica, from the moment at which its process starts."""

    def __init__(self, settings: ReplicaSettings) -> None:
        """Start the model's way into memory. Needs a running event loop."""
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._slots = Slots(profile=settings.profile, count=settings.slots)
        self._streams: dict[Job, asyncio.Event] = {}
        self._asked: deque[dict[str, object]] = deque(maxlen=REMEMBERED)
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_memory = asyncio.Event()
        self._loaded_at = 0.0
        draw = random.Random(f"{settings.seed}:{settings.pod}")
        self.start_up_s = settings.profile.start_up_s * draw.lognormvariate(0, START_UP_SIGMA)
        """Time until the model is in memory, as drawn for this pod."""
        self._loop.call_later(self.start_up_s / settings.speed, self._load)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        dialect = _DIALECTS.get(exchange.path)
        if dialect is None:
            await self._look(exchange)
        elif exchange.method != "POST":
            exchange.reply(405, b"405 method not allowed", "text/plain")
        else:
            self._asked.append(
                {
                    "path": exchange.path,
                    "headers": {k: v for k, v in exchange.headers.items() if k.startswith("x-")},
                    "bytes": len(exchange.body),
                    # This clock is the machine's: the same in every replica's process.
                    "at": self._loop.time(),
                }
            )
            try:
                await self._ask(exchange, dialect)
            except ollama.AskError as error:
                openai = dialect.startswith("v1")
                body = ollama.error_body(str(error), openai=openai, status=error.status)
                exchange.reply_json(error.status, body)

    def stats(self) -> dict[str, object]:
        """Return the figures that stand in for cAdvisor's; processor time is wall time."""
        now = self._now()
        self._slots.advance(now)
        settings, busy = self._settings, self._slots.busy_s
        cores = busy * settings.cpu_limit + (now - busy) * IDLE_CORES
        return {
            "pod": settings.pod,
            "in_flight": len(self._streams),
            "waiting": len(self._slots.waiting),
            "cpu_seconds_total": round(cores / settings.speed, 6),
            "served": self._slots.served,
        }

    def _now(self) -> float:
        return (self._loop.time() - self._began) * self._settings.speed

    def _load(self) -> None:
        self._loaded_at = self._now()
        self._slots.admit_from(self._loaded_at)
        self._in_memory.set()
        self._turn()

    async def _look(self, exchange: Exchange) -> None:
        path = exchange.path
        model = self._settings.model or self._settings.profile.model
        described = {"name": model, "model": model, "size": 0, "digest": "", "details": {}}
        answers: dict[str, Callable[[], object]] = {
            "/api/version": lambda: {"version": ollama.VERSION},
            "/api/tags": lambda: {"models": [described]},
            "/api/ps": lambda: {"models": [described] if self._in_memory.is_set() else []},
            "/api/show": lambda: {"modelfile": "", "details": {}, "model_info": {}},
            "/v1/models": lambda: {"object": "list", "data": [{"id": model, "object": "model"}]},
            "/sandbox/stats": self.stats,
            "/sandbox/requests": lambda: list(self._asked),
        }
        if path == "/":
            exchange.reply(200, b"Ollama is running", "text/plain; charset=utf-8")
        elif path == "/sandbox/drain":
            await self._idle.wait()
            exchange.reply_json(200, {"drained": True})
        elif path in answers:
            exchange.reply_json(200, answers[path]())
        else:
            exchange.reply(404, b"404 page not found", "text/plain")

    async def _ask(self, exchange: Exchange, dialect: ollama.Dialect) -> None:
        model = self._settings.model or self._settings.profile.model
        ask = ollama.parse_ask(dialect, exchange.body, frozenset({model}))
        if not self._in_memory.is_set() and len(self._slots.waiting) >= MAX_QUEUE:
            raise ollama.AskError(503, ollama.BUSY)
        if ask.loads_only:
            await self._in_memory.wait()
            exchange.reply_json(200, ollama.loaded(ask))
            return
        job = Job(input_tokens=ask.input_tokens, output_tokens=ask.output_tokens)
        if not ask.stream:
            await self._run(job, lambda _first, _count: None)
            text = ollama.words(ask.output_tokens)
            exchange.reply_json(200, ollama.whole(ask, text, self._usage(job)))
            return

        def stream(first: int, count: int) -> None:
            piece = ollama.piece(ask, ollama.words(count, first), first=first == 0)
            if first == 0:
                exchange.start(ask.content_type, piece)
            else:
                exchange.send(piece)

        await self._run(job, stream)
        exchange.send(ollama.last_piece(ask, self._usage(job)))
        exchange.end()

    async def _run(self, job: Job, tokens: Callable[[int, int], None]) -> None:
        """Bring the job through its slot; cancelled, it is forgotten.

        `tokens` is called with the index of the first new token and how many there are.
        """
        self._streams[job] = progress = asyncio.Event()
        self._idle.clear()
        self._slots.submit(job, self._now())
        self._turn()
        sent = 0
        try:
            while sent < job.output_tokens:
                await progress.wait()
                progress.clear()
                if job.emitted > sent:
                    tokens(sent, job.emitted - sent)
                    sent = job.emitted
        finally:
            del self._streams[job]
            if job.finished is None:
                self._slots.cancel(job, self._now())
                self._turn()
            if not self._streams:
                self._idle.set()

    def _turn(self) -> None:
        """Bring the model up to now, wake the streams that have tokens, set the next turn."""
        now = self._now()
        self._slots.advance(now)
        for job, progress in self._streams.items():
            if job.emitted:
                progress.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._slots.next_change()
        if due is None:
            return
        wait = max(0.0, due - now) / self._settings.speed
        if any(job.emitted for job in self._slots.running):
            wait = min(wait, CHUNK_S)
        self._timer = self._loop.call_later(wait, self._turn)

    def _usage(self, job: Job) -> ollama.Usage:
        def wall_ns(begin: float | None, end: float | None) -> int:
            span = 0.0 if begin is None or end is None else max(0.0, end - begin)
            return int(span / self._settings.speed * 1e9)

        return ollama.Usage(
            total=wall_ns(job.arrived, job.finished),
            load=wall_ns(job.arrived, self._loaded_at),
            prompt=wall_ns(job.started, job.prompt_done),
            output=wall_ns(job.prompt_done, job.finished),
        )


async def run(settings: ReplicaSettings, host: str, port: int) -> None:
    """Serve until SIGTERM, SIGINT or the parent's end; then cut everything. Raises OSError."""
    parent = os.getppid()  # before anybody hears of us: a parent that goes then is noticed
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server, connections = await serve(Replica(settings).handle, host, port)
    address = server.sockets[0].getsockname()
    ready = {"pod": settings.pod, "host": address[0], "port": address[1]}
    print(json.dumps(ready), flush=True)  # noqa: T201  (whoever asked for port 0 reads it here)
    await _stopped_or_orphaned(stop, parent)
    server.close()
    _cut(connections)


async def _stopped_or_orphaned(stop: asyncio.Event, parent: int) -> None:
    while not stop.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_S)
        except TimeoutError:
            continue


def _cut(connections: set[Connection]) -> None:
    for connection in tuple(connections):
        connection.cut()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="replica", description="An Ollama-shaped server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=11434, help="0: any free one")
    parser.add_argument("--pod", required=True, help="its name in stats")
    parser.add_argument("--slots", type=int, default=1, help="OLLAMA_NUM_PARALLEL")
    parser.add_argument("--profile", default="3b-laptop", help="a parameter set")
    parser.add_argument("--speed", type=float, default=1.0, help="divides every duration")
    parser.add_argument("--seed", type=int, default=0, help="for the start-up delay")
    parser.add_argument("--cpu-limit", type=float, default=2.0, help="cores")
    parser.add_argument("--model", default="", help="default: the profile's")
    return parser


def main() -> int:
    """Run one replica; 0 after a signal, 1 where the address cannot be had, 2 bad arguments."""
    parser = _arguments()
    given = parser.parse_args()
    if given.slots < 1 or given.speed <= 0 or given.cpu_limit <= 0:
        parser.error("--slots must be at least 1, --speed and --cpu-limit above 0")
    try:
        settings = ReplicaSettings(
            pod=given.pod,
            profile=profile_named(given.profile),
            slots=given.slots,
            speed=given.speed,
            seed=given.seed,
            cpu_limit=given.cpu_limit,
            model=given.model,
        )
    except InputError as error:
        parser.error(str(error))
    try:
        asyncio.run(run(settings, given.host, given.port))
    except OSError as error:
        print(f"replica {given.pod}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

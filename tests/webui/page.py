"""The real Open WebUI, run with the environment that its manifest ships, and people who use it."""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import socketio
import yaml

from autoscaler.sandbox.processes import LOOPBACK, Child, Command, free_port, until_answers

MANIFEST = Path(__file__).parents[2] / "deploy" / "open-webui" / "deployment.yaml"
_START_SECONDS = 90.0
"""The first start makes the database; on a busy machine that takes a while."""


def shipped() -> dict[str, str]:
    """Read the variables of the manifest's only container."""
    pod = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def elsewhere(gateway: str, folder: Path) -> dict[str, str]:
    """Return what has to differ on one machine; all else is as shipped."""
    return {
        "OLLAMA_BASE_URL": gateway,  # the Service's name in the cluster
        "DATA_DIR": str(folder / "data"),  # the volume
        "STATIC_DIR": str(folder / "static"),  # a folder that may be written
        "HOME": str(folder),
        "WEBUI_SECRET_KEY": uuid.uuid4().hex,  # made by the image's start script
        "USE_SLIM_DOCKER": "true",  # set inside the slim image
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One Open WebUI."""

    url: str
    child: Child

    def environment(self) -> dict[str, str]:
        """Return the variables that it really runs with."""
        given = Path(f"/proc/{self.child.pid}/environ").read_text().rstrip("\0").split("\0")
        return dict(line.split("=", 1) for line in given)


@asynccontextmanager
async def page(gateway: str, folder: Path) -> AsyncIterator[Page]:
    """Run one on an empty database until the block ends."""
    for name in ("data", "static"):
        (folder / name).mkdir(parents=True)
    port = free_port()
    program = Path(sys.executable).with_name("open-webui")
    command = Command(
        name="Open WebUI",
        argv=(str(program), "serve", "--host", LOOPBACK, "--port", str(port)),
        environment=shipped() | elsewhere(gateway, folder),
        log=folder / "open-webui.log",
    )
    child = await Child.start(command)
    try:
        url = f"http://{LOOPBACK}:{port}"
        await until_answers(f"{url}/ready", child, _START_SECONDS)
        yield Page(url=url, child=child)
    finally:
        await child.stop()


@dataclass(slots=True, kw_only=True)
class Turn:
    """A message and its answer, as the page's web socket tells them."""

    text: str
    message: str
    """The answer's id."""
    chat: str = ""
    asked: float
    pieces: list[tuple[float, str]] = field(default_factory=list)
    """When each piece of the answer came, and what it says."""
    error: str = ""
    """The text that is shown instead of an answer."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def answer(self) -> str:
        """What has been said so far."""
        return "".join(piece for _, piece in self.pieces)

    def hear(self, event: dict, at: float) -> None:
        """Take one event."""
        data = event["data"]
        match event["type"]:
            case "response:completion" if data.get("type") == "response.output_text.delta":
                self.pieces.append((at, data["delta"]))
            case "chat:message:error":
                self.error = data["error"]["content"]
                self.ended.set()
            case "chat:completion" if data.get("done"):
                self.ended.set()


class Person:
    """Somebody who has the page open: asks over HTTP as the page does, hears over its socket."""

    def __init__(self, base: str, session: aiohttp.ClientSession, model: str) -> None:
        """Stay outside until `enter`."""
        self.base = base
        self.model = model
        self._session = session
        self._socket = socketio.AsyncClient(reconnection=False)
        self._token = ""
        self._turns: dict[str, Turn] = {}

    async def enter(self) -> None:
        """Make the first account, which administers the page, and open the socket."""
        account = {"name": "Ada Example", "email": "ada@example.org", "password": "a good password"}
        made = await self.call("POST", "/api/v1/auths/signup", account)
        self._token = made["token"]
        self._socket.on("events", self._hear)
        await self._socket.connect(
            self.base,
            socketio_path="/ws/socket.io",
            auth={"token": self._token},
            transports=["websocket"],
        )

    async def leave(self) -> None:
        """Close the page."""
        await self._socket.disconnect()

    async def call(self, method: str, path: str, body: object = None) -> dict:
        """Ask the page's server; answers its JSON. Raises ClientResponseError."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        async with self._session.request(
            method, self.base + path, json=body, headers=headers
        ) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def refused(self, method: str, path: str, body: object) -> tuple[int, str]:
        """Ask for something that is not given; answers the status and what is said."""
        headers = {"Authorization": f"Bearer {self._token}"}
        async with self._session.request(
            method, self.base + path, json=body, headers=headers
        ) as answer:
            return answer.status, (await answer.json())["detail"]

    async def ask(
        self, text: str, *, tokens: int = 40, after: Turn | None = None, tasks: bool = False
    ) -> Turn:
        """Send a message, in a new chat or after another turn; answers as soon as it is on its way.

        `tasks`: with what the page asks for in the background, as far as the switches allow it.
        """
        question, answer = str(uuid.uuid4()), str(uuid.uuid4())
        parent = after.message if after else None
        turn = Turn(text=text, message=answer, asked=asyncio.get_running_loop().time())
        self._turns[answer] = turn
        new = {"title_generation": True, "tags_generation": True} if after is None else {}
        body = {
            "stream": True,
            "model": self.model,
            "params": {"max_tokens": tokens},
            "features": {"memory": True, "web_search": False},
            "session_id": self._socket.sid,
            "id": answer,
            "message_ids": [{"model_id": self.model, "message_id": answer, "modelIdx": 0}],
            "parent_id": parent,
            "user_message": {
                "id": question,
                "parentId": parent,
                "childrenIds": [answer],
                "role": "user",
                "content": text,
                "timestamp": int(time.time()),
                "models": [self.model],
            },
            **({"chat_id": after.chat} if after else {}),
            **({"background_tasks": new | {"follow_up_generation": True}} if tasks else {}),
        }
        turn.chat = (await self.call("POST", "/api/chat/completions", body))["chat_id"]
        return turn

    async def chat(self, text: str, **how: object) -> Turn:
        """Send a message and wait for the end of its answer."""
        turn = await self.ask(text, **how)
        async with asyncio.timeout(30):
            await turn.ended.wait()
        return turn

    def _hear(self, event: dict) -> None:
        turn = self._turns.get(event.get("message_id") or "")
        if turn is not None:
            turn.hear(event["data"], asyncio.get_running_loop().time())

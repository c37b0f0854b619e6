#!/usr/bin/env python3
"""People who chat, for trying how the stack scales. Needs Python alone.

python3 scripts/load.py http://localhost:8080 --people 6 --minutes 10

Each person asks, reads the answer to its end, thinks, and asks again. A line every few seconds
tells who waits; Ctrl-C ends it at once.
"""

import argparse
import http.client
import json
import random
import statistics
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator

QUESTIONS = (
    "Why is the sky blue? Two sentences.",
    "Name five birds and what they eat.",
    "Tell me a story about a lighthouse in ten sentences.",
    "Explain to a child how a bicycle stays upright.",
    "What should I cook tonight with potatoes and leek?",
)
ANSWER_TIMEOUT_S = 900
LINE_S = 5.0


class Crowd:
    """What everybody together has seen so far."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.lock = threading.Lock()
        self.waiting = self.reading = self.answered = self.cut = 0
        self.errors: dict[str, int] = {}
        self.first_words_s: list[float] = []

    def told(self) -> str:
        """Say how things are, in one line."""
        with self.lock:
            line = f"waiting {self.waiting}, reading {self.reading}, answered {self.answered}"
            if self.cut:
                line += f", cut {self.cut}"
            for error, times in sorted(self.errors.items()):
                line += f", {error}: {times}"
            if waits := self.first_words_s[-20:]:
                line += f"; first word after {statistics.median(waits):.1f} s (of the last answers)"
            return line

    def fail(self, error: str) -> None:
        """Count a refusal."""
        with self.lock:
            self.errors[error] = self.errors.get(error, 0) + 1


def ask(base: str, model: str, chat: str, question: str, words: int) -> Iterator[bytes]:
    """Ask in a chat, and yield the lines of the answer as they come."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "options": {"num_predict": words},
    }
    request = urllib.request.Request(  # noqa: S310 - the user's own address
        f"{base}/api/chat",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-OpenWebUI-Chat-Id": chat},
    )
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310
        yield from answer


def person(crowd: Crowd, given: argparse.Namespace, model: str, ending: threading.Event) -> None:
    """Chat until the end."""
    choose = random.Random()  # noqa: S311 - no secret depends on it
    chat = str(uuid.uuid4())
    while not ending.wait(choose.expovariate(1 / given.think)):
        asked, began, whole = time.monotonic(), False, False
        with crowd.lock:
            crowd.waiting += 1
        try:
            for line in ask(given.url, model, chat, choose.choice(QUESTIONS), given.words):
                if not began:
                    began = True
                    with crowd.lock:
                        crowd.waiting, crowd.reading = crowd.waiting - 1, crowd.reading + 1
                        crowd.first_words_s.append(time.monotonic() - asked)
                whole = whole or json.loads(line).get("done") is True
        except urllib.error.HTTPError as error:
            crowd.fail(f"HTTP {error.code}")
        except (OSError, ValueError, http.client.HTTPException) as error:
            if not began:
                crowd.fail(type(error).__name__)
        with crowd.lock:
            crowd.waiting -= not began
            crowd.reading -= began
            crowd.answered += whole
            crowd.cut += began and not whole


def first_model(base: str) -> str:
    """Return the first model of the list; IndexError where it is empty.

    Raises OSError, HTTPException or ValueError where nobody answers as Ollama does.
    """
    with urllib.request.urlopen(f"{base}/api/tags", timeout=10) as answer:  # noqa: S310
        told = json.load(answer)
    try:
        return str(told["models"][0]["name"])
    except (KeyError, TypeError) as error:
        raise ValueError("the answer to /api/tags is not Ollama's") from error


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="People who chat, for trying how it scales.")
    parser.add_argument("url", help="the gateway, such as http://localhost:8080")
    parser.add_argument("--people", type=int, default=6, help="how many (6)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--think", type=float, default=10.0, help="mean seconds between turns (10)")
    parser.add_argument("--words", type=int, default=200, help="most tokens of an answer (200)")
    parser.add_argument("--model", help="default: the first that the gateway lists")
    given = parser.parse_args()
    given.url = given.url.rstrip("/")
    if not given.url.startswith(("http://", "https://")):
        parser.error(f"url = {given.url}, must begin with http:// or https://")
    if min(given.people, given.minutes, given.think, given.words) <= 0:
        parser.error("--people, --minutes, --think and --words must be above 0")
    return given


def main() -> int:
    """Run everybody; 0 where all answers were whole, 1 where not, 2 where nobody can chat."""
    given = arguments()
    try:
        model = given.model or first_model(given.url)
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"load: {given.url} does not list its models: {error}", file=sys.stderr)
        print(
            "is the port forwarded? kubectl -n llm port-forward svc/gateway 8080", file=sys.stderr
        )
        return 2
    except IndexError:
        print(f"load: {given.url} has no model yet; give it time, or --model", file=sys.stderr)
        return 2
    print(f"{given.people} people chat with {model} for {given.minutes:g} minutes")
    crowd, ending = Crowd(), threading.Event()
    for _ in range(given.people):
        threading.Thread(target=person, args=(crowd, given, model, ending), daemon=True).start()
    began = time.monotonic()
    try:
        while (now := time.monotonic() - began) < 60 * given.minutes:
            time.sleep(min(LINE_S, 60 * given.minutes - now))
            spent = round(time.monotonic() - began)
            print(f"{spent // 60:3d}:{spent % 60:02d}  {crowd.told()}", flush=True)
    except KeyboardInterrupt:
        print()
    ending.set()
    print(f"in all: {crowd.told()}")
    return 1 if crowd.cut or crowd.errors else 0


if __name__ == "__main__":
    sys.exit(main())

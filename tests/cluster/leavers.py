"""Somebody who leaves at the first word, again and again: runs in a pod, and prints lines of JSON.

    python leavers.py URL MODEL SECONDS

Answers are one word long. Who leaves as that word comes may be gone when Ollama wants to say that
it is done; then it waits for ever to say so, and keeps the slot. Sooner or later somebody asks and
gets nothing, who stays, and tells how it ended. After SECONDS without such a one, all give up.

Lines: {"hangs": asked at, "left": how many have left before}, with `hangs` null where all gave up;
then {"end": when, "status": 0 for no answer}.
"""

import json
import socket
import struct
import sys
import time
import urllib.parse

HANGS_S, PATIENCE_S = 8, 600


def say(**line) -> None:
    """Print a line."""
    print(json.dumps(line), flush=True)


def ask(url: str, model: str) -> socket.socket:
    """Ask for one word."""
    place = urllib.parse.urlsplit(url)
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": "tell me of the river"}],
            "options": {"num_predict": 1},
        }
    )
    head = ("POST /api/chat HTTP/1.1", f"Host: {place.hostname}", "Content-Type: application/json")
    text = "\r\n".join([*head, f"Content-Length: {len(body)}", "", body])
    connection = socket.create_connection((place.hostname, place.port), timeout=HANGS_S)
    connection.sendall(text.encode())
    return connection


def leave(connection: socket.socket) -> None:
    """Close it as a program that is ended does: at once, whatever is on its way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def main() -> None:
    """Ask and leave, until somebody hangs."""
    url, model, seconds = sys.argv[1:]
    end, left = time.time() + float(seconds), 0
    while time.time() < end:
        asked = time.time()
        connection = ask(url, model)
        try:
            connection.recv(100)
        except TimeoutError:
            say(hangs=asked, left=left)
            connection.settimeout(PATIENCE_S)
            answer = connection.recv(100).decode(errors="replace")
            say(end=time.time(), status=int([*answer.split(" "), "0", "0"][1]))
            return
        left += 1
        leave(connection)
    say(hangs=None, left=left)


if __name__ == "__main__":
    main()

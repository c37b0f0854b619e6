"""Somebody who leaves at the first word, again and again: runs in a pod, and prints lines of JSON.

    python leavers.py URL MODEL SECONDS

Answers are one word long. Who leaves as that word comes may be gone when Ollama wants to say that
it is done; then it waits for ever to say so, and keeps the slot. Sooner or later somebody asks and
gets nothing, who stays, and so does another where a second slot was lost as well. After SECONDS
without that, all give up.

Lines: {"hangs": when the first did who hangs, or null, "left": how many have left before, "slots":
how many are lost}; then for each who hangs {"end": when, "status": 0 for no answer}.
"""

import json
import select
import socket
import struct
import sys
import time
import urllib.parse

HANGS_S = 8


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
    rest = (f"Content-Length: {len(body)}", "Connection: close", "", body)
    text = "\r\n".join([*head, *rest])
    connection = socket.create_connection((place.hostname, place.port), timeout=HANGS_S)
    connection.sendall(text.encode())
    return connection


def leave(connection: socket.socket) -> None:
    """Close it as a program that is ended does: at once, whatever is on its way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hangs(connection: socket.socket) -> bool:
    """Wait for the first word."""
    try:
        connection.recv(100)
    except TimeoutError:
        return True
    return False


def other_that_hangs(url: str, model: str) -> list[socket.socket]:
    """Ask another replica, since the first is taken, and read its answer to the end."""
    connection = ask(url, model)
    if hangs(connection):
        return [connection]
    while connection.recv(4096):
        pass
    connection.close()
    return []


def stay(hung: list[socket.socket]) -> None:
    """Wait for the end of each who hangs."""
    while hung:
        for connection in select.select(hung, [], [])[0]:
            hung.remove(connection)
            answer = connection.recv(100).decode(errors="replace").split(" ")
            say(end=time.time(), status=int(answer[1]) if len(answer) > 1 else 0)


def main() -> None:
    """Ask and leave, until somebody hangs."""
    url, model, seconds = sys.argv[1:]
    end, left = time.time() + float(seconds), 0
    while time.time() < end:
        asked = time.time()
        connection = ask(url, model)
        if hangs(connection):
            hung = [connection, *other_that_hangs(url, model)]
            say(hangs=asked, left=left, slots=len(hung))
            stay(hung)
            return
        left += 1
        leave(connection)
    say(hangs=None, left=left, slots=0)


if __name__ == "__main__":
    main()

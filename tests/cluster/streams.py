"""Somebody who chats without a pause: runs in a pod, and prints a line of JSON for each answer.

    python streams.py URL MODEL CLIENTS TOKENS [REQUESTS]

Each of CLIENTS asks, reads the answer to its end, and asks again; REQUESTS each, or for ever.
TOKENS is how long an answer is to be. A line: when it was asked, when the first word came, when it
ended (seconds since 1970), the status (0: no answer), the number of words, and whether the answer
was whole.
"""

import http.client
import json
import sys
import threading
import time
import urllib.parse

TIMEOUT_S = 300


def ask(url: str, model: str, tokens: int) -> dict:
    """Ask once."""
    place = urllib.parse.urlsplit(url)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "tell me of the river"}],
        "options": {"num_predict": tokens},
    }
    seen = {"at": time.time(), "first": None, "status": 0, "words": 0, "whole": False, "error": ""}
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/api/chat", json.dumps(body))
        answer = connection.getresponse()
        seen["status"] = answer.status
        for line in answer:
            if answer.status != 200:
                seen["error"] = line.decode(errors="replace").strip()[:200]
                break
            seen["first"] = seen["first"] or time.time()
            part = json.loads(line)
            seen["words"] += 1
            seen["whole"] = bool(part.get("done"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        seen["error"] = f"{type(error).__name__}: {error}"[:200]
    finally:
        connection.close()
    seen["end"] = time.time()
    return seen


def main() -> None:
    """Let everybody ask."""
    url, model, clients, tokens, *rest = sys.argv[1:]
    requests = int(rest[0]) if rest else None
    printing = threading.Lock()

    def chat() -> None:
        done = 0
        while requests is None or done < requests:
            seen = ask(url, model, int(tokens))
            done += 1
            with printing:
                print(json.dumps(seen), flush=True)
            if seen["status"] != 200:
                time.sleep(0.5)

    people = [threading.Thread(target=chat) for _ in range(int(clients))]
    for person in people:
        person.start()
    for person in people:
        person.join()


if __name__ == "__main__":
    main()

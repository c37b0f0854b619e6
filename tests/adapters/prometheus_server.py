"""A real Prometheus on a free loopback port, and exporters whose text a test sets."""

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

_READY_SECONDS = 30.0


class Exporter:
    """Serves `text` as its metrics on a free loopback port until it is stopped."""

    def __init__(self, text: str = "") -> None:
        """Listen at once; `address` is host:port."""
        self.text = text
        self.scrapes = 0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter.text.encode()
                with suppress(ConnectionError):  # the scraper was stopped meanwhile
                    self.send_response(200)
                    self.send_header("Content-Type", "text/plain; version=0.0.4")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                exporter.scrapes += 1

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Die: the next scrape is refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return itself, already listening."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """One running server."""

    url: str
    process: subprocess.Popen[bytes]

    def query(self, query: str) -> list[dict[str, Any]]:
        """Return the plain answer to an instant query; raises on anything but success."""
        body = urllib.parse.urlencode({"query": query}).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/query", body, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def wait_for(self, query: str, seconds: float = 15.0) -> None:
        """Wait until the query has an answer."""
        wait_until(lambda: bool(self.query(query)), seconds, f"an answer to {query}")

    def wait_until_gone(self, query: str, seconds: float = 15.0) -> None:
        """Wait until the query has no answer any more."""
        wait_until(lambda: not self.query(query), seconds, f"no answer to {query}")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until the condition holds; AssertionError names what was waited for."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds:g}s in vain for {what}")


def binary(name: str) -> str:
    """Return the path of a program; AssertionError where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/bin:/usr/local/bin")
    assert path, f"{name} is not installed; Debian's package prometheus has it"
    return path


def backfill(folder: Path, openmetrics: str) -> None:
    """Put history into a data folder that no server uses yet (OpenMetrics text, with times)."""
    source = folder.parent / f"{folder.name}.om"
    source.write_text(openmetrics.rstrip("\n") + "\n# EOF\n")
    subprocess.run(
        [binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", source, folder],
        check=True,
        capture_output=True,
        timeout=60,
    )


@contextmanager
def prometheus(
    folder: Path, scrape: Mapping[str, Sequence[str]], interval: str = "250ms"
) -> Iterator[Prometheus]:
    """Run a server that scrapes `scrape` (job to host:port); its data is in `folder`/data."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_config(scrape, interval)))  # JSON is YAML
    port = _free_port()
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                binary("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--storage.tsdb.retention.time=30d",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Prometheus(url=f"http://127.0.0.1:{port}", process=process)
    try:
        _wait_until_ready(server, log)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _config(scrape: Mapping[str, Sequence[str]], interval: str) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(targets)}]}
            for job, targets in scrape.items()
        ],
    }


def _wait_until_ready(server: Prometheus, log: Path) -> None:
    def ready() -> bool:
        if server.process.poll() is not None:
            raise AssertionError(f"prometheus ended: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{server.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_until(ready, _READY_SECONDS, "prometheus to be ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

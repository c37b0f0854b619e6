"""A registry of models on loopback, for the real `ollama pull`."""

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIECE = 64 * 1024


class Registry(ThreadingHTTPServer):
    """Offers one model of a local store under any name but `absent`, at a limited speed."""

    daemon_threads = True

    def __init__(self, store: Path, directory: Path):
        manifests = [path for path in store.glob("manifests/*/*/*/*") if path.is_file()]
        self.manifest = min(manifests, key=lambda path: _size(path.read_bytes()))
        self.blobs = store / "blobs"
        self.bytes_per_second = 1e9
        self.asked = 0
        """Requests."""
        self.sent = 0
        """Bytes of blobs, as far as they were asked for and went out."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.certificate = directory / "certificate.pem"
        """What a client must trust: in SSL_CERT_FILE."""
        _make_certificate(self.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def size(self) -> int:
        """Bytes of the model's largest blob, which is the model's weights."""
        return max(layer["size"] for layer in json.loads(self.manifest.read_bytes())["layers"])

    @property
    def model(self) -> str:
        """Tell the model's name in the store."""
        return "/".join(self.manifest.parts[-4:-1]) + ":" + self.manifest.name

    def name(self, model: str) -> str:
        """Give the name under which `ollama pull` finds a model here."""
        return f"127.0.0.1:{self.server_port}/library/{model}"

    def handle_error(self, request, client_address):
        """Say nothing: a client that leaves in the middle is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        self.server.asked += 1
        kind, name = self.path.split("/")[-2:]
        if kind == "manifests":
            found = None if "/absent/" in self.path else self.server.manifest.read_bytes()
        else:
            blob = self.server.blobs / name.replace(":", "-")
            found = blob.read_bytes() if blob.is_file() else None
        if found is None:
            self.send(404, b"{}")
        elif kind == "blobs" and with_body and not self.headers["Host"].startswith("localhost"):
            # As the public registry does: the bytes lie on another host.
            port = self.server.server_port
            self.send(307, b"", Location=f"https://localhost:{port}{self.path}")
        elif with_body and (part := self.headers.get("Range")):
            first, last = (int(end) for end in part.removeprefix("bytes=").split("-"))
            self.send(206, found[first : last + 1])
        else:
            self.send(200, found, with_body=with_body)

    def send(self, status, body, *, with_body=True, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        for start in range(0, len(body), _PIECE):
            piece = body[start : start + _PIECE]
            self.wfile.write(piece)
            if "/blobs/" in self.path:
                self.server.sent += len(piece)
                time.sleep(len(piece) / self.server.bytes_per_second)

    def log_message(self, *args):
        pass


def _size(manifest: bytes) -> int:
    return sum(layer["size"] for layer in json.loads(manifest)["layers"])


def _make_certificate(path: Path) -> None:
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=registry"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    made = subprocess.run(
        ["openssl", *words.split(), "-addext", names, "-keyout", path],
        check=True,
        capture_output=True,
    )
    with path.open("ab") as file:
        file.write(made.stdout)


@contextmanager
def running_registry(store: Path, directory: Path) -> Iterator[Registry]:
    """Serve, and end."""
    with Registry(store, directory) as registry:
        serving = threading.Thread(target=registry.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            serving.join()

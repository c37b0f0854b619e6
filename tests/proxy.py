"""A way to the API that can be closed, and slow; each daemon of a test has its own."""

import time
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

from tests.stubs import AFTER, BEFORE, Gate


class Proxy:
    """Forwards requests, also those whose sender waits no more."""

    def __init__(self, url):
        self.gate = Gate()
        self.delay = lambda: 0.0
        """Gives the seconds that the next request takes on its way there."""
        self._to = urlsplit(url).netloc
        self._server = self._serve()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self):
        """Close it."""
        self.gate.open()
        self._server.shutdown()
        self._server.server_close()

    def _forward(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = f"{handler.command} {handler.path}"
        time.sleep(self.delay())
        if not self.gate.passes(request, BEFORE):
            handler.close_connection = True
            return
        connection = HTTPConnection(self._to, timeout=30)
        connection.request(handler.command, handler.path, body, dict(handler.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if not self.gate.passes(request, AFTER):
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.headers["Content-Type"])
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _serve(self):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self):
                try:
                    proxy._forward(self)
                except (OSError, HTTPException):  # the daemon or the cluster went away
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request, client_address):
                pass

        server = Server(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

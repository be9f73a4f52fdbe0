# SPDX-License-Identifier: MIT
"""A local TLS server that asks for a client certificate and says on its page whose it was."""

from __future__ import annotations

import contextlib
import html
import http.server
import os
import socket
import ssl
import threading
from collections.abc import Callable
from time import sleep
from types import TracebackType
from typing import Any, Self

from ...card.issuing.ca import TestCA
from ...reader.pcsc import tcp_peer

HOST = "localhost"
Watcher = Callable[[str, bool], None]


class TlsServer:
    """Serves on a free port of the loopback interface; a context manager.

    The page's title is `client: NAME`, with the common name of the client's certificate, or `client: nobody`.
    `version` fixes the TLS version; without `required` a client may come without a certificate. `keep_alive` leaves
    connections open between requests. `watcher` is called before a page is sent, with its title and whether the session
    was taken up again, without a signature of the client; it may take its time.
    """

    def __init__(
        self,
        ca: TestCA,
        version: ssl.TLSVersion | None = None,
        required: bool = True,
        keep_alive: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=ca.certificate_pem().decode())
        with open(os.memfd_create("server.pem"), "wb") as both:  # OpenSSL wants a file, which no disk need have
            both.write(b"".join(ca.issue_server(HOST)))
            both.flush()
            context.load_cert_chain(f"/proc/self/fd/{both.fileno()}")
        self._server = _Server(("127.0.0.1", 0), _KeepAliveHandler if keep_alive else _Handler)
        self._server.context = context
        self._server.watcher = watcher
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Return the address of the page."""
        return f"https://{HOST}:{self._server.server_address[1]}/"

    @property
    def requests(self) -> int:
        """Return how many requests have been answered."""
        return self._server.answered

    def hang_up(self) -> None:
        """End every connection, as a server does that has waited long enough."""
        for connection in list(self._server.connections):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # not unwrapped: its own thread is using it


class _Server(http.server.ThreadingHTTPServer):
    """Handshakes in the connection's own thread, so that one that waits for a PIN keeps nobody else waiting."""

    context: ssl.SSLContext
    watcher: Watcher | None
    answered = 0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections: set[ssl.SSLSocket] = set()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Serve this user and root only: a loopback port is open to everybody on the machine."""
        try:
            tcp_peer.admit(request, lambda seconds, *_: sleep(seconds))
        except (tcp_peer.Stranger, OSError):
            return False
        return True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: browsers open connections and drop them, and a failed handshake is the client's."""


class _Handler(http.server.BaseHTTPRequestHandler):
    """One page."""

    server: _Server
    connection: ssl.SSLSocket

    def setup(self) -> None:
        self.request = self.server.context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
        self.server.connections.add(self.request)
        try:
            self.request.do_handshake()
        except BaseException:
            self._hang_up()
            raise
        super().setup()

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        self.server.connections.discard(self.request)
        self.request.close()

    def do_GET(self) -> None:
        subject: Any = (self.connection.getpeercert() or {}).get("subject", ())
        names = [value for row in subject for kind, value in row if kind == "commonName"]
        title = html.escape(f"client: {names[0] if names else 'nobody'}")
        no_icon = '<link rel="icon" href="data:,">'  # else browsers ask for one, at some time after the page
        page = f"<!doctype html>{no_icon}<title>{title}</title><h1>{title}</h1>".encode()
        if self.server.watcher is not None:
            self.server.watcher(title, bool(self.connection.session_reused))
        self.server.answered += 1
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class _KeepAliveHandler(_Handler):
    protocol_version = "HTTP/1.1"

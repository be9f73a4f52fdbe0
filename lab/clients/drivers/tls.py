# SPDX-License-Identifier: MIT
"""A TLS server that asks for a client's certificate, asked line by line: `python -m cardtear.lab.clients.drivers.tls`.

port       where it is
request    waits for the next one: `client: Alice, new session` or `client: Alice, resumed`
answer     the page is sent
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from ...processes import paths
from ..tls_server import TlsServer
from .lines import serve

_PATIENCE = 20.0


class Server:
    """What can be asked."""

    def __init__(self) -> None:
        self._requests: queue.Queue[str] = queue.Queue()
        self._answers = threading.Semaphore(0)
        self.server = TlsServer(paths.test_ca(), watcher=self._watch)

    def commands(self) -> dict[str, Callable[..., str]]:
        """Return the commands by their words."""
        return {"port": self._port, "request": self._request, "answer": self._answer}

    def _watch(self, title: str, is_resumed: bool) -> None:
        self._requests.put(f"{title}, {'resumed' if is_resumed else 'new session'}")
        self._answers.acquire(timeout=_PATIENCE)

    def _port(self) -> str:
        return self.server.url.rpartition(":")[2].strip("/")

    def _request(self) -> str:
        return self._requests.get(timeout=_PATIENCE)

    def _answer(self) -> str:
        self._answers.release()
        return "answered"


def main() -> None:
    """Carry out commands until the input ends."""
    server = Server()
    with server.server:
        serve(server.commands())


if __name__ == "__main__":
    main()

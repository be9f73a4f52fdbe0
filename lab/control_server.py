# SPDX-License-Identifier: MIT
"""The control channel, the simulator's end: JSON lines on a Unix socket (docs/control.md)."""

from __future__ import annotations

import json
import logging
import queue
import select
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..card.profiles import CardRequest, ProfileError, request
from ..card.store import ImageError
from ..reader.errors import BenchError
from ..reader.private_socket import listen, peer_is_ours
from ..reader.trace import Entry, EventEntry
from .timeline import as_record
from .trigger import Trigger

if TYPE_CHECKING:
    from .simulator import CardSource, Simulator

LOG = logging.getLogger(__name__)

LINE_LIMIT = 64 * 1024
"""Bytes of one request; a longer one ends the connection."""

STREAMS = ("trace", "events")
_BACKLOG = 10_000


class ControlError(ValueError):
    """A request that cannot be understood. `code` is for programs."""

    code = "bad-request"


class ControlServer:
    """Serves the verbs of one simulator, each connection in a thread of its own."""

    def __init__(self, simulator: Simulator, path: Path) -> None:
        self.path = path
        self.stopped = threading.Event()
        self._simulator = simulator
        self._verbs: dict[str, Callable[..., Any]] = {
            "ping": self._ping,
            "status": simulator.status,
            "plug": self._plug,
            "unplug": simulator.unplug,
            "insert": self._insert,
            "remove": self._remove,
            "swap": self._swap,
            "reset": simulator.reset,
            "arm": self._arm,
            "shutdown": self.stopped.set,
        }
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = listen(path)
        self._acceptor = threading.Thread(target=self._accept, name="control-accept", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self.path.unlink(missing_ok=True)
        with self._lock:
            for connection in self._connections:
                connection.shutdown(socket.SHUT_RDWR)

    def do(self, verb: str, arguments: Mapping[str, Any]) -> Any:
        """Carry out a verb. Raises ControlError, BenchError, ImageError, ProfileError, with nothing changed."""
        action = self._verbs.get(verb)
        if action is None:
            raise ControlError(f"there is no verb {verb!r}; there are: {', '.join((*self._verbs, *STREAMS))}")
        try:
            return action(**arguments)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                raise ControlError(f"wrong arguments for {verb!r}: {error}") from None
            raise

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if peer_is_ours(connection):
                threading.Thread(target=self._serve, args=(connection,), name="control", daemon=True).start()
            else:
                LOG.warning("refused a connection of another user on %s", self.path)
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            with connection, connection.makefile("rb") as lines:
                while line := lines.readline(LINE_LIMIT + 1):
                    if len(line) > LINE_LIMIT:
                        connection.sendall(_failure(None, ControlError(f"a line is at most {LINE_LIMIT} bytes")))
                        return
                    self._answer(connection, line)
        except OSError:
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _answer(self, connection: socket.socket, line: bytes) -> None:
        number: object = None
        try:
            asked = parse(line)
            number = asked.pop("id", None)
            verb = asked.pop("do")
            if verb in STREAMS:
                self._stream(connection, number, verb, **asked)
                return
            result = self.do(verb, asked)
        except (ControlError, BenchError, ImageError, ProfileError, ValueError) as error:
            connection.sendall(_failure(number, error))
        except Exception as error:
            LOG.exception("a control request failed")
            connection.sendall(_failure(number, error))
        else:
            connection.sendall(_line({"id": number, "ok": True, "result": result}))

    def _stream(
        self, connection: socket.socket, number: object, verb: str, after: int | None = None, follow: bool = True
    ) -> None:
        """Entries of the trace, one a line, until the other end closes; `after` is the last one known there."""
        trace = self._simulator.bench.trace
        pending: queue.Queue[Entry] = queue.Queue(_BACKLOG)
        waker, woken = socket.socketpair()

        def add(entry: Entry) -> None:
            if verb == "events" and not isinstance(entry, EventEntry):
                return
            try:
                pending.put_nowait(entry)
                waker.send(b"\0", socket.MSG_DONTWAIT)
            except (queue.Full, OSError):
                return  # a reader that does not keep up loses entries, the simulator loses no time

        unsubscribe = trace.subscribe(add) if follow else lambda: None
        try:
            connection.sendall(_line({"id": number, "ok": True, "result": None}))
            last = after or 0
            kept = trace.entries(last) if after is not None else []
            for entry in kept:
                if verb == "trace" or isinstance(entry, EventEntry):
                    connection.sendall(_line({"entry": as_record(entry)}))
                last = entry.number
            if not follow:
                connection.sendall(_line({"end": True}))
                return
            while True:
                readable, _, _ = select.select([connection, woken], [], [])
                if connection in readable:
                    return
                woken.recv(4096)
                while not pending.empty():
                    entry = pending.get_nowait()
                    if entry.number > last:
                        connection.sendall(_line({"entry": as_record(entry)}))
        finally:
            unsubscribe()
            waker.close()
            woken.close()

    def _ping(self) -> str:
        return "pong"

    def _plug(self, reader: str) -> None:
        self._simulator.plug(reader)

    def _insert(self, reader: str, card: object = None) -> dict[str, str]:
        return {"card": self._simulator.insert(reader, _source(card)).name}

    def _remove(self, reader: str) -> dict[str, str]:
        return {"card": self._simulator.remove(reader).name}

    def _swap(self, reader: str, card: object) -> dict[str, str]:
        return {"card": self._simulator.swap(reader, _source(card)).name}

    def _arm(self, on: object, then: object) -> None:
        if not isinstance(on, dict) or not isinstance(then, dict) or not isinstance(then.get("do"), str):
            raise ControlError("'arm' takes 'on' (call or ins, nth, when, reader) and 'then' (a request)")
        arguments = {name: value for name, value in then.items() if name != "do"}
        options = dict(on)
        if isinstance(options.get("ins"), str):
            options["ins"] = int(options["ins"], 16)
        try:
            trigger = Trigger(then["do"], arguments, **options)
        except TypeError as error:
            raise ControlError(f"wrong arguments for a trigger: {error}") from None
        self._simulator.arm(trigger)


def parse(line: bytes) -> dict[str, Any]:
    """One request. Raises ControlError for anything but a JSON object with a verb."""
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"not a line of JSON: {error}") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("do"), str):
        raise ControlError("a request is an object with the verb in 'do'")
    return asked


def _source(card: object) -> CardSource:
    """A path, a mapping of a card's parameters, or nothing for the standard card."""
    if card is None:
        return CardRequest()
    if isinstance(card, str):
        return Path(card)
    if isinstance(card, dict):
        return request(card)
    raise ControlError("'card' is the path of an image, or an object with the parameters of a ready-made card")


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _failure(number: object, error: Exception) -> bytes:
    code = getattr(error, "code", "bad-request" if isinstance(error, ValueError) else "internal-error")
    return _line({"id": number, "ok": False, "error": {"code": code, "message": str(error)}})

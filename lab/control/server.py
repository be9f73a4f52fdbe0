# SPDX-License-Identifier: MIT
"""The control channel, the simulator's end: JSON lines on a Unix socket (docs/control.md)."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from ...card.image.store import ImageError
from ...card.issuing.profiles import ProfileError
from ...card.wording import reason
from ...reader.errors import CardMute, CardRemoved, TestbedError
from ...reader.private_socket import listen, serve_each
from ...reader.trace import Entry, EventEntry
from ..processes.lines import LINE_SECONDS, Lines, UnfinishedLine
from ..simulator import possible_trigger
from ..simulator.armed_triggers import Heard
from ..simulator.requests import RequestError, decode, parse, trigger
from ..simulator.simulator import SimulatorCore
from ..simulator.verbs import TABLE, Request, Result
from ..trace.records import as_record
from .trace_stream import TraceStream

LOG = logging.getLogger(__name__)

_PATIENCE = 0.5
"""Seconds for which connections may end by themselves; one that carries out a verb, or is not read, is dropped then."""

LINE_LIMIT = 64 * 1024
"""Bytes of one request; a longer one ends the connection."""


class ControlServer:
    """Server of one simulator's verbs, each connection in a thread of its own."""

    def __init__(self, simulator: SimulatorCore, path: Path) -> None:
        self.path = path
        self.stopped = threading.Event()
        self._simulator = simulator
        self._own: dict[str, Callable[..., Any]] = {
            "ping": lambda: "pong",
            "arm": self._arm,
            "shutdown": lambda: None,
        }
        """The verbs that are carried out here."""
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._gone = threading.Event()
        self._listener = listen(path)
        self._acceptor = threading.Thread(
            target=serve_each,
            args=(self._listener, path, lambda connection: partial(self._serve, connection), "control", _line(_BUSY)),
            name="control-accept",
            daemon=True,
        )
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self.path.unlink(missing_ok=True)
        self._shut(socket.SHUT_RD)  # who follows the trace is told that this is the end
        end = monotonic() + _PATIENCE
        while self._connections and monotonic() < end:
            self._gone.wait(end - monotonic())
            self._gone.clear()
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how: int) -> None:
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # the other end is gone
                    connection.shutdown(how)

    def _serve(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            lines = Lines(connection, LINE_LIMIT)
            while line := lines.read():
                for answer in self._answer(line, connection):
                    connection.sendall(_line(answer))
                if len(line) > LINE_LIMIT:
                    return
        except UnfinishedLine:
            with contextlib.suppress(OSError):
                connection.send(_line(_UNFINISHED), socket.MSG_DONTWAIT)
        except OSError:
            return  # the other end is gone
        finally:
            with self._lock:
                self._connections.discard(connection)
                connection.close()
                self._gone.set()

    def _answer(self, line: bytes, connection: socket.socket) -> Iterator[dict[str, Any]]:
        """Yield what is sent for one line: one reply, and for a stream its entries."""
        number: object = None
        try:
            if len(line) > LINE_LIMIT:
                raise RequestError(f"a line is at most {LINE_LIMIT} bytes; the connection is closed")
            asked = parse(line)
            number = asked.pop("id", None)
            request = decode(asked)
            if request.verb in _STREAMS:
                yield from self._stream(number, connection, _STREAMS[request.verb], **request.arguments)
                return
            try:
                yield _success(number, self._do(request))
            finally:
                if request.verb == "shutdown":  # answered, for connections are dropped then; or nobody wants to hear it
                    self.stopped.set()
        except (TestbedError, CardMute, CardRemoved, ImageError, ProfileError, RequestError) as error:
            yield _failure(number, error.code, error)
        except ValueError as error:
            yield _failure(number, RequestError.code, error)
        except OSError as error:
            yield _failure(number, "os-error", reason(error))
        except Exception as error:
            LOG.exception("a control request failed")
            yield _failure(number, "internal-error", error)

    def _do(self, request: Request) -> Any:
        """Carry out a verb, and return its result as JSON has it."""
        row = TABLE[request.verb]
        if row.is_fault:
            raise RequestError(f"{request.verb!r} is a fault: say with 'arm' at which call or APDU")
        action = self._own.get(request.verb) or getattr(self._simulator, row.method)
        result = action(**request.arguments)
        if "remove" in row.changes:
            self._simulator.put_away()
        return _RESULTS[row.result](result)

    def _stream(
        self,
        number: object,
        connection: socket.socket,
        is_wanted: Callable[[Entry], bool],
        after: int | None = None,
        follow: bool = True,
    ) -> Iterator[dict[str, Any]]:
        """Yield kept entries with a number above `after`, then new ones until either end closes.

        Nothing is missed from the answer on. Without `after` and without `follow` all that is kept is sent.
        """
        if after is None and not follow:
            after = 0
        trace = self._simulator.testbed.trace
        with TraceStream(trace, is_wanted) as feed:
            yield _success(number, None)
            kept = [] if after is None else list(filter(is_wanted, trace.entries(after)))
            known = {entry.number for entry in kept}
            yield from ({"entry": as_record(entry)} for entry in kept)
            if not follow:
                yield {"end": True}
                return
            for entries in feed.until_closed(connection):
                yield from ({"entry": as_record(entry)} for entry in entries if entry.number not in known)
                if feed.lost:
                    yield {"entry": {"kind": "lost", "count": feed.lost}}
                    feed.lost = 0
            if self.stopped.is_set():
                yield {"end": True}

    def _arm(self, on: dict[str, Any], then: Request) -> dict[str, Any]:
        armed = trigger(on, then)
        note = possible_trigger.doubt(armed)
        return {"trigger": self._simulator.arm(armed), **({} if note is None else {"note": note})}


def _heard(heard: Heard) -> dict[str, Any]:
    failed = [each._asdict() for each in heard.failures]
    return {"heard": heard.waiting, **({"failed": failed} if failed else {})}


_RESULTS: dict[Result, Callable[[Any], Any]] = {
    Result.NOTHING: lambda _: None,
    Result.READER: lambda _: None,
    Result.CARD: lambda card: {"card": card.name},
    Result.CARD_NAME: lambda name: {"card": name},
    Result.CHANGED: lambda is_so: {"changed": is_so},
    Result.ARMED: lambda is_so: {"armed": is_so},
    Result.RELEASED: lambda count: {"released": count},
    Result.HEARD: _heard,
    Result.RESPONSE: lambda response: {"response": response.hex().upper()},
    Result.OBJECT: lambda result: result,
}
"""What the channel makes of each kind of result."""


_STREAMS: dict[str, Callable[[Entry], bool]] = {
    "trace": lambda _: True,
    "events": lambda entry: isinstance(entry, EventEntry),
}
"""The verbs that are answered by many lines, and the entries each shows."""


_BUSY = {
    "id": None,
    "ok": False,
    "error": {"code": "busy", "message": "the simulator has too many connections open; close some, and ask again"},
}


_UNFINISHED = {
    "id": None,
    "ok": False,
    "error": {
        "code": RequestError.code,
        "message": f"a line has to be whole within {LINE_SECONDS:.0f} s of its beginning; the connection is closed",
    },
}


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _success(number: object, result: Any) -> dict[str, Any]:
    return {"id": number, "ok": True, "result": result}


def _failure(number: object, code: str, error: Exception | str) -> dict[str, Any]:
    return {"id": number, "ok": False, "error": {"code": code, "message": str(error)}}

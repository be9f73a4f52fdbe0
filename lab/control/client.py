# SPDX-License-Identifier: MIT
"""The control channel, the script's end: verbs of a running simulator (docs/control.md)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...reader.private_socket import OWN_FOLDER, closed_to_us, peer_is_ours
from ..processes import paths
from ..processes.closable import Closable
from ..processes.lines import Lines, UnfinishedLine

PATIENCE = 10.0
"""Seconds without an answer until a simulator is asked whether it lives, and until it has to say so."""

_TIMEVAL = struct.Struct("@ll")

ANSWER_LIMIT = 16 << 20
"""Bytes of one line that a simulator says; the longest are what a call in the trace took and gave."""


class ControlFailure(Exception):
    """The simulator refused a request, or there is none; nothing has changed. `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Control(Closable):
    """A connection to a simulator: at `path`, else $CARDTEAR_CONTROL, else the user's own. A context manager.

    Every method returns when the verb has taken effect, and raises ControlFailure.
    """

    def __init__(self, path: Path | None = None) -> None:
        given = path or os.environ.get("CARDTEAR_CONTROL") or paths.runtime_folder() / paths.CONTROL_SOCKET
        self.path = Path(given)
        self.has_ended = False
        """Whether a stream is over because there is no more to come; else the simulator has died."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._connect(self._socket)
        except PermissionError:
            self._socket.close()
            advice = OWN_FOLDER if path is None and "CARDTEAR_CONTROL" not in os.environ else "use another folder"
            raise ControlFailure("not-yours", f"{self.path} {closed_to_us(self.path)}; {advice}") from None
        except BlockingIOError:
            self._socket.close()
            raise self._no_answer() from None
        except OSError:
            self._socket.close()
            message = f"no simulator listens on {self.path}; start one with: cardtear serve"
            raise ControlFailure("no-simulator", message) from None
        if not peer_is_ours(self._socket):
            self._socket.close()
            raise ControlFailure(
                "not-yours", f"the simulator on {self.path} belongs to somebody else; use another folder"
            )
        self._lines = Lines(self._socket, ANSWER_LIMIT)

    def close(self) -> None:
        """Close the connection; the simulator goes on."""
        self._socket.close()

    def do(self, verb: str, **arguments: Any) -> Any:
        """Send any verb with its arguments; return the result as JSON has it."""
        try:
            with contextlib.suppress(BrokenPipeError):  # it may have said why before it closed the connection
                self._socket.sendall(json.dumps({"do": verb, **arguments}).encode() + b"\n")
            self._await_answer()
            line = self._line()
        except OSError as error:
            raise ControlFailure("no-simulator", f"the simulator on {self.path} went away: {error}") from None
        if not line.endswith(b"\n"):
            raise ControlFailure("no-simulator", f"the simulator on {self.path} went away")
        answer = self._decode(line)
        try:
            if answer["ok"]:
                return answer["result"]
            code, message = str(answer["error"]["code"]), str(answer["error"]["message"])
        except (KeyError, TypeError):
            raise self._misunderstood() from None
        raise ControlFailure(code, message)

    def limit(self, timeout: float) -> None:
        """Set the seconds that a stream may be silent from now on; then it raises TimeoutError."""
        self._socket.settimeout(timeout)

    def stream(self, verb: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries of `trace` or `events` until the simulator ends, or, without `follow`, all there are.

        What happens after this has returned is in it.
        """
        self.do(verb, **arguments)
        return self._entries()

    def _connect(self, connection: socket.socket) -> None:
        """Wait in the queue of a busy simulator. Raises BlockingIOError where it does not move, OSError."""
        seconds, rest = divmod(PATIENCE, 1)
        # With Python's own time-out connect(2) would not wait for a Unix socket at all.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(int(seconds), int(rest * 1e6)))
        connection.connect(str(self.path))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(0, 0))

    def _await_answer(self) -> None:
        """Wait for the reply: making a card takes long, but a simulator that answers no ping is stopped or hangs."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not poll.poll(PATIENCE * 1000):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                try:
                    self._connect(other)
                    other.settimeout(PATIENCE)
                    other.sendall(b'{"do": "ping"}\n')
                    lives = bool(other.recv(1))
                except OSError:
                    lives = False
            if not lives:
                raise self._no_answer()

    def _no_answer(self) -> ControlFailure:
        message = f"the simulator on {self.path} does not answer: it is stopped, or hangs; end it and start another"
        return ControlFailure("no-answer", message)

    def _line(self) -> bytes:
        """Return the next line, without its end if the simulator ended in the middle of it. Raises OSError."""
        try:
            line = self._lines.read()
        except UnfinishedLine:
            raise self._no_answer() from None
        if len(line) > ANSWER_LIMIT:
            raise self._misunderstood()
        return line

    def _entries(self) -> Iterator[dict[str, Any]]:
        while line := self._line():
            if not line.endswith(b"\n"):  # it went away in the middle
                return
            message = self._decode(line)
            if "entry" not in message:
                self.has_ended = True
                return
            yield message["entry"]

    def _decode(self, line: bytes) -> dict[str, Any]:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise self._misunderstood()
        return message

    def _misunderstood(self) -> ControlFailure:
        return ControlFailure("bad-answer", f"what listens on {self.path} does not answer as a simulator does")

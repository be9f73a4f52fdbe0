# SPDX-License-Identifier: MIT
"""The socket on which modules reach the simulator: one thread for each connection, one read and write for each call."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from time import monotonic

from ..reader.private_socket import listen, serve_each
from ..reader.reader import Reader
from ..reader.testbed import Testbed
from .application import Application
from .caller import Caller, CallerGone
from .dispatch import Dispatcher, Handler
from .greeting import Hello, HelloFlag, WelcomeFlag, decode_hello, encode_welcome
from .token import Tokens
from .wire import FRAME_LIMIT, WireError

LOG = logging.getLogger(__name__)

GREETING_SECONDS = 10.0
"""Seconds within which a connection has to send its hello; a module does so at once."""

FRAME_SECONDS = 10.0
"""Seconds within which a frame that has begun has to be whole; there is no limit between two frames."""

GREETING_LIMIT = 4 << 20
"""Bytes in a hello: it lists the slots that the application knows, 76 bytes each."""

_HEADER = struct.Struct("=I")
_CHUNK = 1 << 12
_MOST_AT_ONCE = 1 << 20


class ModuleServer:
    """Serves the applications of one testbed on a Unix socket, from construction to `close`.

    `new_application` makes an Application from its parameters; with `leaves_calls` the module's C_Finalize does not end
    the calls under way. Raises SocketInUse if a simulator listens there already, UnsafeFolder if the folder is not the
    user's own.
    """

    def __init__(
        self,
        testbed: Testbed,
        path: Path,
        handlers: Mapping[str, Handler],
        new_application: Callable[..., Application] = Application,
        leaves_calls: bool = False,
    ) -> None:
        self.path = path
        self._new_application = new_application
        self._welcome = encode_welcome(WelcomeFlag.LEAVES_CALLS if leaves_calls else 0)
        self._testbed = testbed
        self._tokens = Tokens(testbed)
        self._dispatch = Dispatcher(testbed, handlers)
        self._lock = threading.Lock()
        self._applications: dict[bytes, tuple[Application, set[socket.socket]]] = {}
        self._closing = False
        self._listener = listen(path)
        self._acceptor = threading.Thread(
            target=serve_each,
            args=(self._listener, path, self._prepare, "p11-call", encode_welcome(WelcomeFlag.IS_BUSY)),
            name="p11-accept",
            daemon=True,
        )
        self._acceptor.start()

    @property
    def applications(self) -> list[Application]:
        """Return the applications that have the module initialised now."""
        with self._lock:
            return [application for application, _ in self._applications.values()]

    def close_sessions(self, reader: Reader) -> None:
        """Close all applications' sessions on the card in a reader, which stays there (as C_CloseAllSessions, 5.6.3).

        With the last session the login ends, and the card's PIN verification. Raises ReaderEmpty.
        """
        with self._testbed.lock:
            insertion = reader.insertion
            token = self._tokens.of(insertion) if insertion is not None else None
            had_users = token is not None and bool(token.logins.rights)
            reader.close_sessions()
        if token is not None and had_users:
            token.give_up()

    def close(self) -> None:
        """Stop listening and drop every connection; applications see their cards removed. May be called twice."""
        if self._closing:
            return
        self._closing = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        self.path.unlink(missing_ok=True)
        with self._lock:
            applications = list(self._applications.values())
            self._applications.clear()
        for _, connections in applications:
            for connection in connections:
                _shut(connection)
        for application, _ in applications:
            for token in application.end():  # later changes are not written to its record
                # A card may be busy for any time; the end of the simulator does not wait for it.
                threading.Thread(target=token.give_up, name="p11-give-up", daemon=True).start()
        self._tokens.close()

    def _prepare(self, connection: socket.socket) -> Callable[[], None]:
        """Allocate what serving a connection needs; return the function that serves it. Raises OSError."""
        waker = os.fdopen(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), "r+b", buffering=0)
        return lambda: self._serve(connection, waker)

    def _serve(self, connection: socket.socket, waker: FileIO) -> None:
        with connection, waker:
            try:
                try:
                    caller = self._greet(connection, waker.fileno())
                except MemoryError:
                    connection.send(encode_welcome(WelcomeFlag.IS_BUSY), socket.MSG_DONTWAIT)
                    return
                if caller is None:
                    return
                try:
                    self._serve_calls(connection, caller)
                finally:
                    caller.close()
            except WireError as error:
                LOG.warning("dropped a connection on %s: %s", self.path, error)
            except (CallerGone, OSError):
                pass
            finally:
                self._leave(connection)

    def _greet(self, connection: socket.socket, waker: int) -> Caller | None:
        frame = read_frame(connection, limit=GREETING_LIMIT, end=monotonic() + GREETING_SECONDS)
        if frame is None:
            return None
        connection.settimeout(None)
        hello = decode_hello(frame)
        with self._lock:
            if self._closing:
                return None
            known = self._applications.get(hello.application)
            if known is None and HelloFlag.CONTINUES in hello.flags:
                connection.sendall(encode_welcome(WelcomeFlag.IS_UNKNOWN))
                return None
            if known is None:
                try:
                    known = self._begin(hello)
                except OSError as error:
                    LOG.warning("refused an application on %s: %s", self.path, error.strerror)
                    connection.sendall(encode_welcome(WelcomeFlag.IS_BUSY))
                    return None
            application, connections = known
            if application.finalized:
                return None
            connections.add(connection)
            socket.send_fds(connection, [self._welcome], [application.record.fileno()])
        return Caller(application, connection, waker)

    def _begin(self, hello: Hello) -> tuple[Application, set[socket.socket]]:
        comes_later = HelloFlag.COMES_LATER in hello.flags
        application = self._new_application(
            self._testbed, self._tokens, hello.name, hello.pid, hello.slots, comes_later
        )
        known = self._applications[hello.application] = (application, set())
        return known

    def _serve_calls(self, connection: socket.socket, caller: Caller) -> None:
        dispatch, receive, send = self._dispatch, connection.recv, connection.sendall
        settle_events = caller.application.settle_events
        while data := receive(_CHUNK):
            if len(data) < 4 or len(data) != 4 + _HEADER.unpack_from(data)[0]:
                frame = read_frame(connection, data, end=monotonic() + FRAME_SECONDS)
                if frame is None:
                    return
                connection.settimeout(None)
                data = frame
            if len(data) < 12:
                raise WireError(f"a frame of {len(data)} bytes")
            send(dispatch(caller, data))
            settle_events()

    def _leave(self, connection: socket.socket) -> None:
        """Remove a connection; end the application with its last one."""
        with self._lock:
            for identity, (_, connections) in list(self._applications.items()):
                if connection not in connections:
                    continue
                connections.discard(connection)
                if not connections:
                    application, _ = self._applications.pop(identity)
                    break
                return
            else:
                return
        application.close()


def read_frame(connection: socket.socket, begun: bytes = b"", limit: int = FRAME_LIMIT, *, end: float) -> bytes | None:
    """Read the rest of a frame that begins with `begun`; return None when the connection ends before it.

    Memory grows with the bytes received, whatever length they announce. A connection carries one frame at a time, and
    has a timeout afterwards. Raises WireError for one of more than `limit` bytes, for bytes behind it, and for one that
    is not whole when monotonic() reaches `end`; OSError.
    """
    frame = bytearray(begun)
    while len(frame) < _HEADER.size or len(frame) < _HEADER.size + _announced(frame, limit):
        missing = _HEADER.size if len(frame) < _HEADER.size else _HEADER.size + _announced(frame, limit) - len(frame)
        part = _receive(connection, min(max(missing, _CHUNK), _MOST_AT_ONCE), end)
        if not part:
            return None
        frame += part
    if len(frame) != _HEADER.size + _announced(frame, limit):
        raise WireError(f"{len(frame) - _HEADER.size - _announced(frame, limit)} bytes behind a frame")
    return bytes(frame)


def _receive(connection: socket.socket, size: int, end: float) -> bytes:
    try:
        connection.settimeout(max(end - monotonic(), 0.001))
        return connection.recv(size)
    except TimeoutError:
        raise WireError("a frame that was not whole in time") from None


def _announced(frame: bytearray, limit: int) -> int:
    length: int = _HEADER.unpack_from(frame)[0]
    if length > limit:
        raise WireError(f"a frame of {length} bytes; the limit is {limit}")
    return length


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return

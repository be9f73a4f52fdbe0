# SPDX-License-Identifier: MIT
"""A simulator that only answers what a test tells it to, and the module in this process, connected to it."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.csrc import module_path, module_sources
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKR
from cardtear.p11.greeting import decode_hello, encode_welcome
from cardtear.p11.wire import CODECS, REQUEST_HEADER, NullPointer


class FakeSimulator:
    """Keeps the calls that arrive, and answers each by its name: CKR_OK where nothing else is said.

    An answer is a function of the arguments. It gives the CK_RV and the results, or the bytes of a reply, or None: the
    connection is closed. With a `backlog` so many connections wait until `accept`, and nobody is answered before.
    """

    def __init__(self, path: Path, backlog: int | None = None) -> None:
        self.path = path
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Callable[..., tuple[Any, ...] | bytes | None]] = {}
        self.connections: list[socket.socket] = []
        self.record: int | None = None
        """A descriptor that goes with each welcome, as that of a SlotRecord."""
        self.copies = 1
        """How many of that descriptor go with it."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        if backlog is None:
            self._listener.listen()
            self.accept()
        else:
            self._listener.listen(backlog)

    def accept(self) -> None:
        """From now on."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Gone, with all connections, and with the thread that accepts them."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a descriptor that is only closed may be another's soon
        self._listener.close()
        self.path.unlink(missing_ok=True)
        self.drop()

    def drop(self) -> None:
        """Close the connections; new ones are welcome."""
        while self.connections:
            with contextlib.suppress(OSError):
                self.connections.pop().shutdown(socket.SHUT_RDWR)

    def last(self, name: str) -> tuple[Any, ...]:
        """The arguments of the last call, which is this one."""
        assert self.calls[-1][0] == name
        return self.calls[-1][1]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            decode_hello(_frame(connection))
            socket.send_fds(connection, [encode_welcome()], [] if self.record is None else [self.record] * self.copies)
            while frame := _frame(connection):
                reply = self._answer(frame)
                if reply is None:
                    return
                connection.sendall(reply)

    def _answer(self, frame: bytes) -> bytes | None:
        codec = CODECS[REQUEST_HEADER.unpack_from(frame)[1]]
        try:
            arguments = codec.decode(frame)
        except NullPointer:
            return codec.encode(CKR.ARGUMENTS_BAD, (), ())
        self.calls.append((codec.name, arguments))
        answer = self.answers.get(codec.name, lambda *_: (CKR.OK, ()))(*arguments)
        return codec.encode(*answer, arguments) if isinstance(answer, tuple) else answer  # type: ignore[call-arg]


def _frame(connection: socket.socket) -> bytes:
    data = connection.recv(4, socket.MSG_WAITALL)
    if len(data) < 4:
        raise OSError("closed")
    return data + connection.recv(struct.unpack("=I", data)[0], socket.MSG_WAITALL)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSimulator]:
    """A fake simulator."""
    simulator = FakeSimulator(tmp_path / "p11.sock")
    yield simulator
    simulator.close()


@pytest.fixture
def module(fake: FakeSimulator) -> Iterator[Module]:
    """The module, initialised, with the newest function list."""
    module = Module(module_path())
    interface = module.ffi.new("CK_INTERFACE **")
    version = module.ffi.new("CK_VERSION *", (3, 2))
    assert module.library.C_GetInterface(module.ffi.NULL, version, interface, 0) == CKR.OK
    module.functions = module.ffi.cast("CK_FUNCTION_LIST_3_2 *", interface[0].pFunctionList)
    module.initialize(fake.path)
    yield module
    module.finalize()


@pytest.fixture(scope="session")
def new_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """program.c with the module linked in. Needs cc."""
    program = tmp_path_factory.mktemp("program") / "program"
    sources = list(map(str, module_sources()))
    build = ("cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{module_path().parent}")
    build += ("-Wl,--wrap=malloc,--wrap=realloc",)
    subprocess.run((*build, "-o", str(program), str(Path(__file__).parent / "program.c"), *sources), check=True)
    return program


@pytest.fixture(scope="session")
def fake_class() -> type[FakeSimulator]:
    """For tests that start it in their own way."""
    return FakeSimulator

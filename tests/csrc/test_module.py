# SPDX-License-Identifier: MIT
"""The module's C: what it exports, whether generated files are fresh, and how it fares under the sanitizers."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from cardtear import __version__, csrc
from cardtear.csrc.generate import stale
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.calls import CALLS
from cardtear.p11.constants import CKR
from cardtear.p11.greeting import encode_welcome
from cardtear.p11.wire import NO_LENGTH, REPLY_HEADER

from ..shared.host import probes
from ..shared.host.host import NewHost

SOURCES = csrc.module_sources()
HOST = Path(__file__).parent / "host.c"
FLAGS = ("-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-fno-omit-frame-pointer")

pytestmark = pytest.mark.needs("cc", "nm")


def test_exports() -> None:
    """Three functions and nothing else."""
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", str(csrc.module_path())], capture_output=True, text=True, check=True
    )
    assert sorted(line.split()[-1] for line in listed.stdout.splitlines()) == [
        "C_GetFunctionList",
        "C_GetInterface",
        "C_GetInterfaceList",
    ]


def test_needs_libc_only() -> None:
    """No other library is loaded with it."""
    listed = subprocess.run(["ldd", str(csrc.module_path())], capture_output=True, text=True, check=True)
    names = {line.split()[0].split("/")[-1].split(".")[0] for line in listed.stdout.splitlines()}
    assert names <= {"linux-vdso", "linux-gate", "libc", "ld-linux-x86-64", "ld-linux-aarch64", "libpthread"}


def test_generated_files_are_fresh() -> None:
    """What is checked in is what the table and the header make."""
    assert stale() == []


def test_a_client_parses_no_header() -> None:
    """It takes longer than all else in the start of a client of a scenario, or of a host process of these tests."""
    script = "import sys, cardtear.lab.clients.call_process.process; print(*sys.modules)"
    loaded = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True, timeout=60)
    assert "cardtear.csrc.declarations" in loaded.stdout.split()
    assert not {"pycparser", "cffi.cparser", "cryptography"} & set(loaded.stdout.split())


@pytest.fixture(scope="module", params=["address,undefined", "thread"])
def sanitized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs host.c, built with a sanitizer, and wants it to find nothing."""
    sanitizer = request.param
    program = tmp_path_factory.mktemp("sanitized") / "host"
    build = ["cc", *FLAGS, f"-fsanitize={sanitizer}", f"-I{SOURCES[0].parent}", "-o", str(program), str(HOST)]
    subprocess.run([*build, *map(str, SOURCES)], check=True)

    def run(environment: dict[str, str], *arguments: str) -> None:
        command = [str(program), *arguments]
        if sanitizer == "thread" and shutil.which("setarch"):
            command = ["setarch", os.uname().machine, "-R", *command]  # its shadow memory wants fixed addresses
        done = subprocess.run(
            command,
            env={**os.environ, **environment, "TSAN_OPTIONS": "halt_on_error=1"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "done" in done.stdout

    return run


def test_sanitizers(simulator: Simulator, sanitized: Any) -> None:
    """Threads that call, wait, finalize, fork and lose the card: no race, no leak, no undefined behaviour."""
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.wait(0.002):
            simulator.remove("front")
            simulator.insert("front")

    mover = threading.Thread(target=come_and_go)
    mover.start()
    try:
        sanitized(simulator.environment)
    finally:
        stop.set()
        mover.join()


def test_sanitizers_while_the_simulator_comes_and_goes(simulator: Simulator, sanitized: Any) -> None:
    """The same threads while the simulator dies and is started again all the time."""
    stop = threading.Event()

    def die_and_come_back() -> None:
        while not stop.wait(0.02):
            simulator.crash()
            stop.wait(0.003)
            simulator.restart()

    mover = threading.Thread(target=die_and_come_back)
    mover.start()
    try:
        sanitized({**simulator.environment, "CARDTEAR_QUIET": "1"})
    finally:
        stop.set()
        mover.join()


def numbers(*values: int) -> bytes:
    """64 bits each."""
    return struct.pack(f"={len(values)}Q", *values)


def outputs(*lengths: int) -> bytes:
    """What comes back into a parameter."""
    parts = [numbers(each) + bytes(each if each < 1000 else 0) for each in lengths]
    return struct.pack("=I", len(lengths)) + b"".join(parts)


BODIES = {
    "nothing": b"",
    "a number": numbers(3),
    "a string": numbers(4) + b"four",
    "a string and outputs": numbers(4) + b"four" + outputs(12, 16),
    "outputs": outputs(12, 16),
    "unchanged": outputs(NO_LENGTH, NO_LENGTH),
    "longer outputs": numbers(4) + b"four" + outputs(13, 17),
    "endless outputs": numbers(4) + b"four" + outputs(2**63, 2**62),
    "more outputs": numbers(4) + b"four" + outputs(1, 1, 1),
    "a longer string": numbers(5) + b"fives" + outputs(),
    "an endless string": numbers(2**64 - 2),
    "attributes": numbers(4) + b"\1\0\0\0four" + numbers(9) + bytes(4),
    "longer attributes": numbers(5) + b"\1\0\0\0fives" + numbers(9) + b"\1\0\0\0" + bytes(9),
    "a template": numbers(48) + b"\1\0\0\0" + 2 * (numbers(3, 5) + b"\0\0\0\0"),
    "a fuller template": numbers(48) + b"\1\0\0\0" + 2 * (numbers(3, 5) + b"\1\0\0\0fives"),
    "a longer template": numbers(72) + b"\1\0\0\0" + 3 * (numbers(3, 5) + b"\0\0\0\0"),
    "zeros": bytes(200),
    "ones": b"\xff" * 200,
}


@pytest.mark.parametrize("value", [CKR.OK, CKR.BUFFER_TOO_SMALL])
def test_sanitized_calls(fake: Any, sanitized: Any, value: CKR) -> None:
    """Every kind of parameter and result, answered with every kind of reply in turn: nothing beyond any buffer."""
    bodies = itertools.cycle(BODIES.values())

    def answer(*_: object) -> bytes:
        body = next(bodies)
        return REPLY_HEADER.pack(REPLY_HEADER.size - 4 + len(body), 0, value) + body

    for call in CALLS:
        if call.name != "C_Finalize":
            fake.answers[call.name] = answer
    sanitized({"CARDTEAR_SOCKET": str(fake.path)}, "calls")
    assert len(fake.calls) > 4 * 25 * 30


def hostile(chance: random.Random, whole: bytes) -> list[bytes]:
    """What a simulator sends that means no good, in its pieces: noise, wrong lengths, a part of what it should."""
    said = chance.choice(
        [
            whole,
            whole + b"\0",
            whole[: chance.randrange(len(whole))],
            struct.pack("=I", chance.choice([0, 1, 7, 64 << 20, (64 << 20) + 1, 2**32 - 1])) + chance.randbytes(20),
            chance.randbytes(chance.randrange(60)),
        ]
    )
    size = chance.choice([1, 3, 100])
    return [said[at : at + size] for at in range(0, len(said), size)]


def test_sanitized_connections(tmp_path: Path, sanitized: Any) -> None:
    """Greetings and frames of any kind, in any pieces, whole or not, from a simulator that then goes away."""
    seed = random.randrange(1 << 32)
    chance, over = random.Random(seed), threading.Event()
    answered = 0

    def serve(connection: socket.socket) -> None:
        nonlocal answered
        is_polite = chance.random() < 0.7
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            for piece in [encode_welcome()] if is_polite else hostile(chance, encode_welcome()):
                connection.sendall(piece)
            while not over.is_set() and connection.recv(4096):
                body = chance.choice(list(BODIES.values()))
                whole = REPLY_HEADER.pack(REPLY_HEADER.size - 4 + len(body), 0, CKR.OK) + body
                for piece in hostile(chance, whole) if chance.random() < 0.3 else [whole]:
                    connection.sendall(piece)
                answered += 1
                if chance.random() < 0.1:
                    return

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                connection.settimeout(0.2)  # a module that waits for the rest of something is told that none comes
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "p11.sock"))
        listener.listen()
        threading.Thread(target=accept, daemon=True).start()
        end = threading.Timer(2, lambda: (over.set(), listener.shutdown(socket.SHUT_RDWR)))
        end.start()
        try:
            sanitized({"CARDTEAR_SOCKET": str(tmp_path / "p11.sock"), "CARDTEAR_QUIET": "1"}, "calls")
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
        finally:
            over.set()
            end.cancel()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
    assert answered > 20


REPLIES = {
    "nothing": b"",
    "cut": struct.pack("=I", 12)[:3],
    "short": struct.pack("=I", 4) + b"abcd",
    "huge": struct.pack("=I", 2**32 - 1),
    "list longer than the buffer": struct.pack("=IIQQ", 20 + 8 * 8, 0, 0, 8) + bytes(64),
    "success without results": struct.pack("=IIQ", 12, 0, 0),
    "more than there should be": struct.pack("=IIQQ", 12 + 8 + 5, 0, 0, 0) + bytes(5),
}


@pytest.mark.parametrize("kind", REPLIES)
def test_hostile_simulator(tmp_path: Path, new_host: NewHost, kind: str) -> None:
    """Whatever answers on the socket: an error or no slots, never a crash, never a hang."""
    path = tmp_path / "p11.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(10)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(encode_welcome())
                    while connection.recv(4096):
                        connection.sendall(REPLIES[kind])
                        if kind in ("nothing", "cut"):
                            break

        threading.Thread(target=serve, daemon=True).start()
        host = new_host(None, CARDTEAR_SOCKET=str(path))
        value, count, _ = host.call(probes.slot_list_raw, 0, 4)
        assert value in (CKR.OK, CKR.FUNCTION_FAILED)  # there is no CKR_DEVICE_ERROR in its list (PKCS #11 3.2, 5.5)
        assert value != CKR.OK or count == 0
        assert host.call(Module.call, "C_CloseSession", 1) != CKR.OK or kind in ("success without results",)
        listener.shutdown(socket.SHUT_RDWR)


def test_the_version_of_the_library(module: Module) -> None:
    """It is that of the package."""
    info = module.ffi.new("CK_INFO *")
    assert module.call("C_GetInfo", info) == CKR.OK
    assert f"{info.libraryVersion.major}.{info.libraryVersion.minor}" == __version__.rpartition(".")[0]

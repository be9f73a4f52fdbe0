# SPDX-License-Identifier: MIT
"""The module's C: what it exports, whether generated files are fresh, and how it fares under the sanitizers."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from cardtear import csrc
from cardtear.csrc.generate import stale
from cardtear.lab.simulator import Simulator
from cardtear.p11.constants import CKR
from cardtear.p11.wire import encode_welcome

SOURCES = sorted(Path(csrc.__file__).parent.glob("*.c"))
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


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_sanitizers(simulator: Simulator, tmp_path: Path, sanitizer: str) -> None:
    """Threads that call, wait, finalize, fork and lose the card: no race, no leak, no undefined behaviour."""
    program = tmp_path / "host"
    build = ["cc", *FLAGS, f"-fsanitize={sanitizer}", f"-I{SOURCES[0].parent}", "-o", str(program), str(HOST)]
    subprocess.run([*build, *map(str, SOURCES)], check=True)
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.wait(0.002):
            simulator.remove("front")
            simulator.insert("front")

    mover = threading.Thread(target=come_and_go)
    mover.start()
    try:
        command = [str(program)]
        if sanitizer == "thread" and shutil.which("setarch"):
            command = ["setarch", os.uname().machine, "-R", *command]  # its shadow memory wants fixed addresses
        done = subprocess.run(
            command,
            env={**os.environ, **simulator.environment, "TSAN_OPTIONS": "halt_on_error=1"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        stop.set()
        mover.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done" in done.stdout


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
def test_hostile_simulator(tmp_path: Path, new_host: Any, kind: str) -> None:
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
        value, count, _ = host.eval("slot_list_raw(m, 0, 4)")
        assert value in (CKR.OK, CKR.DEVICE_ERROR)
        assert value != CKR.OK or count == 0
        assert host.eval("m.call('C_CloseSession', 1)") != CKR.OK or kind in ("success without results",)
        listener.close()

# SPDX-License-Identifier: MIT
"""What a benchmark stands on: the measuring application over our module and SoftHSM2, a simulator, and its rows."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from ..csrc import module_path

PIN, PUK = "123456", "12345678"
HOST_SOURCE = Path(__file__).with_name("benchmark_host.c")
SOFTHSM = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
ECHO_SERVER = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
print("ready", flush=True)
connection, _ = listener.accept()
receive, send = connection.recv, connection.send
while data := receive(1):
    send(data)
"""

Times = dict[str, list[int]]


class Amount(NamedTuple):
    """How much is measured."""

    turns: int
    removals: int
    windows: int
    starts: int


FULL = Amount(turns=100, removals=1000, windows=10_000, starts=20)
QUICK = Amount(turns=10, removals=300, windows=500, starts=4)


class Row(NamedTuple):
    """One line of the table. Times are in microseconds; `limit` is what `value` may be at most."""

    what: str
    p50: float | None
    p99: float | None
    target: str
    value: float
    limit: float
    references: dict[str, float]
    unit: str = "us"

    @property
    def met(self) -> bool:
        return self.value <= self.limit


class Host:
    """The C application over one module."""

    def __init__(
        self, program: Path, module: str, argument: str, echo: Path | None, control: Path | None, slot: int = 0
    ) -> None:
        command = [str(program), "measure", module, argument, PIN, str(echo or ""), str(control or ""), str(slot)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def measure(self, name: str, count: int) -> list[int]:
        """The results of `count` measurements, in nanoseconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name} {count}\n")
        self.process.stdin.flush()
        return [int(value) for value in self._answer().split()]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line: str = self.process.stdout.readline()
        if not line:
            raise SystemExit("the measuring application failed")
        return line


class InProcess:
    """The same signatures by the `cryptography` package, without a card or a module."""

    def __init__(self) -> None:
        rsa_key = rsa.generate_private_key(65537, 2048)
        ec_key = ec.generate_private_key(ec.SECP256R1())
        padding, digest, ecdsa = PKCS1v15(), Prehashed(SHA256()), ec.ECDSA(Prehashed(SHA256()))
        self._once: dict[str, Callable[[bytes], bytes]] = {
            "sign_rsa": lambda data: rsa_key.sign(data, padding, digest),
            "sign_ec": lambda data: ec_key.sign(data, ecdsa),
        }

    def measure(self, name: str, count: int) -> list[int]:
        """The results of `count` measurements, in nanoseconds."""
        once, times = self._once[name], []
        for number in range(count):
            data = number.to_bytes(32, "big")
            start = perf_counter_ns()
            once(data)
            times.append(perf_counter_ns() - start)
        return times


class Bed:
    """A temporary folder with all that is measured: the host program, a simulator, an echo server, a SoftHSM2 token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "host"
        self.socket = folder / "run" / "p11.sock"
        self.control = folder / "run" / "control.sock"
        self.softhsm = next((path for path in SOFTHSM if Path(path).exists()), None)
        # A cache, a test CA and tokens of its own: nothing of the user's is touched.
        for variable, name in (("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data")):
            (folder / name).mkdir()
            os.environ[variable] = str(folder / name)
        run("cc", "-O2", "-I", module_path().parent, "-o", self.program, HOST_SOURCE, "-ldl", "-pthread")
        if self.softhsm is not None and shutil.which("softhsm2-util") and shutil.which("pkcs11-tool"):
            self._make_token(self.softhsm)
        else:
            self.softhsm = None

    def _make_token(self, module: str) -> None:
        tokens, configuration = self.folder / "tokens", self.folder / "softhsm2.conf"
        tokens.mkdir()
        configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        run("softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", PIN, "--so-pin", PUK)
        for kind, number in (("rsa:2048", "01"), ("EC:prime256v1", "04")):
            tool = ("pkcs11-tool", "--module", module, "--token-label", "bench", "--login", "--pin", PIN)
            run(*tool, "--keypairgen", "--key-type", kind, "--id", number)

    def start_simulator(self, folder: Path) -> tuple[subprocess.Popen[str], int]:
        """`cardtear serve`, ready, and the nanoseconds that took."""
        command = [str(Path(sys.executable).with_name("cardtear")), "serve", "--json", "--folder", str(folder)]
        start = perf_counter_ns()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("cardtear serve does not start")
        return process, perf_counter_ns() - start

    @contextlib.contextmanager
    def simulator(self) -> Iterator[subprocess.Popen[str]]:
        """The simulator that is measured."""
        process, _ = self.start_simulator(self.socket.parent)
        with ended(process):
            yield process

    @contextlib.contextmanager
    def hosts(self) -> Iterator[tuple[Host, Host | None]]:
        """The C application over our module and over SoftHSM2, where that is installed."""
        echo = self.folder / "echo.sock"
        echo.unlink(missing_ok=True)
        server = subprocess.Popen([sys.executable, "-c", ECHO_SERVER, echo], stdout=subprocess.PIPE, text=True)
        with ended(server), contextlib.ExitStack() as undo:
            assert server.stdout is not None
            server.stdout.readline()
            ours = Host(self.program, str(module_path()), f"socket={self.socket}", echo, self.control)
            undo.callback(ours.close)
            theirs = Host(self.program, self.softhsm, "", None, None) if self.softhsm else None
            if theirs is not None:
                undo.callback(theirs.close)
            yield ours, theirs

    @contextlib.contextmanager
    def host(self, slot: int = 0, socket: Path | None = None) -> Iterator[Host]:
        """Another application over our module."""
        made = Host(self.program, str(module_path()), f"socket={socket or self.socket}", None, self.control, slot)
        try:
            yield made
        finally:
            made.close()

    def first_signature(self, module: str, argument: str) -> int:
        """Nanoseconds in a new process from dlopen to its first RSA signature."""
        return int(run(self.program, "first", module, argument, PIN))


def p50(times: list[int]) -> float:
    """The median, in microseconds of nanoseconds."""
    return statistics.median(times) / 1000


def p99(times: list[int]) -> float:
    """Likewise."""
    return sorted(times)[min(len(times) - 1, len(times) * 99 // 100)] / 1000


def timed(what: str, times: list[int], target: str, limit: float, **references: float) -> Row:
    """A row whose median is held against the limit."""
    return Row(what, p50(times), p99(times), target, p50(times), limit, references)


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """The process while the block runs."""
    with process:
        try:
            yield
        finally:
            process.terminate()


def run(*command: object) -> str:
    """What a program prints. Ends the benchmark when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout

# SPDX-License-Identifier: MIT
"""The workspace of the benchmark: simulators, SoftHSM2, an echo server, and programs that use them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns

from cardtear.csrc import module_path
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

PIN, PUK = "123456", "12345678"
HOST_SOURCE = Path(__file__).with_name("host.c")
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


class MeasuringApplication:
    """The measuring C program, on one token of one module; a context manager."""

    def __init__(
        self,
        program: Path,
        module: str,
        argument: str = "",
        token: int = 0,
        echo: Path | None = None,
        control: Path | None = None,
    ) -> None:
        command = [str(program), "measure", module, argument, PIN, str(token), str(echo or ""), str(control or "")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def __enter__(self) -> MeasuringApplication:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def begin(self, name: str, count: int) -> None:
        """Start a measurement; `results` waits for its end. Other programs can be started in between."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name} {count}\n")
        self.process.stdin.flush()

    def results(self) -> list[int]:
        """Wait for the measurement that was begun; return its results, in nanoseconds."""
        return [int(value) for value in self._answer().split()]

    def measure(self, name: str, count: int = 1) -> list[int]:
        """Measure `count` times; return the results, in nanoseconds."""
        self.begin(name, count)
        return self.results()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line: str = self.process.stdout.readline()
        if not line:
            raise SystemExit("the measuring application failed")
        return line


class InProcess:
    """Makes the same signatures with the `cryptography` package, without a card or a module."""

    def __init__(self) -> None:
        rsa_key = rsa.generate_private_key(65537, 2048)
        ec_key = ec.generate_private_key(ec.SECP256R1())
        padding, digest, ecdsa = PKCS1v15(), Prehashed(SHA256()), ec.ECDSA(Prehashed(SHA256()))
        self._once: dict[str, Callable[[bytes], bytes]] = {
            "sign_rsa": lambda data: rsa_key.sign(data, padding, digest),
            "sign_ec": lambda data: ec_key.sign(data, ecdsa),
        }

    def measure(self, name: str, count: int) -> list[int]:
        """Measure `count` times; return the results, in nanoseconds."""
        once, times = self._once[name], []
        for number in range(count):
            data = number.to_bytes(32, "big")
            start = perf_counter_ns()
            once(data)
            times.append(perf_counter_ns() - start)
        return times


class Equipment:
    """A folder with the measuring program, sockets, images and, if SoftHSM2 is installed, a token of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "host"
        self.softhsm = next((path for path in SOFTHSM if Path(path).exists()), None)
        # A cache, a test CA and tokens of its own: nothing of the user's is touched.
        for variable, name in (("XDG_CACHE_HOME", "cache"), ("XDG_DATA_HOME", "data")):
            (folder / name).mkdir()
            os.environ[variable] = str(folder / name)
        _run("cc", "-O2", "-I", module_path().parent, "-o", self.program, HOST_SOURCE, "-ldl", "-pthread")
        if self.softhsm is not None and shutil.which("softhsm2-util") and shutil.which("pkcs11-tool"):
            self._make_token(self.softhsm)
        else:
            self.softhsm = None

    def _make_token(self, module: str) -> None:
        tokens, configuration = self.folder / "tokens", self.folder / "softhsm2.conf"
        tokens.mkdir()
        configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        _run("softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", PIN, "--so-pin", PUK)
        for kind, number in (("rsa:2048", "01"), ("EC:prime256v1", "04")):
            tool = ("pkcs11-tool", "--module", module, "--token-label", "bench", "--login", "--pin", PIN)
            _run(*tool, "--keypairgen", "--key-type", kind, "--id", number)

    @contextlib.contextmanager
    def simulator(self, name: str, *options: str) -> Iterator[ServedSimulator]:
        """Run `cardtear serve` with these options, with its sockets in the folder NAME, until the block ends."""
        folder = self.folder / name
        program = str(Path(sys.executable).with_name("cardtear"))
        command = [program, "serve", "--json", "--folder", str(folder), *options]
        start = perf_counter_ns()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with _ended(process):
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit("cardtear serve does not start")
            yield ServedSimulator(folder, perf_counter_ns() - start, process.pid)

    @contextlib.contextmanager
    def echo_server(self) -> Iterator[Path]:
        """Run a Python program that sends each byte back; yields its socket."""
        socket = self.folder / "echo.sock"
        server = subprocess.Popen([sys.executable, "-c", ECHO_SERVER, socket], stdout=subprocess.PIPE, text=True)
        with _ended(server):
            assert server.stdout is not None
            server.stdout.readline()
            yield socket

    def ours(self, served: ServedSimulator, token: int = 0, echo: Path | None = None) -> MeasuringApplication:
        """Start a measuring program on a simulator."""
        return MeasuringApplication(self.program, str(module_path()), served.argument, token, echo, served.control)

    def theirs(self) -> MeasuringApplication | None:
        """Start a measuring program on SoftHSM2; None if that is not installed."""
        return MeasuringApplication(self.program, self.softhsm) if self.softhsm is not None else None

    def first_signature(self, served: ServedSimulator | None) -> int:
        """Measure a new process from dlopen to its first RSA signature, in ns; without a simulator with SoftHSM2."""
        module = str(module_path()) if served is not None else str(self.softhsm)
        return int(_run(self.program, "first", module, served.argument if served is not None else "", PIN, 0))


class ServedSimulator:
    """A running simulator: its sockets, and how long its start took, in nanoseconds."""

    def __init__(self, folder: Path, duration: int, pid: int) -> None:
        self.socket = folder / "p11.sock"
        self.argument = f"socket={self.socket}"
        self.control = folder / "control.sock"
        self.duration = duration
        self._pid = pid

    def resident(self) -> float:
        """Return its resident memory, in MB."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process when the block ends."""
    with process:
        try:
            yield
        finally:
            process.terminate()


def _run(*command: object) -> str:
    """Run a program; return its output. Ends the benchmark when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout

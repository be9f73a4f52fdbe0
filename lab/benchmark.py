# SPDX-License-Identifier: MIT
"""scripts/benchmark: how fast the module is, beside references measured in the same run.

Times are taken by a C application (benchmark_host.c) against `cardtear serve` in a process of its own, as a user has
it. What is compared is measured in turns of a few milliseconds, so that the machine's moods fall on both sides.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NamedTuple

from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from ..csrc import module_path
from .control import Control

PIN, PUK = "123456", "12345678"
HOST_SOURCE = Path(__file__).with_name("benchmark_host.c")
SOFTHSM = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
TURN = {"echo": 50, "C_GetSlotInfo": 50, "C_GetSessionInfo": 50, "sign_rsa": 10, "sign_ec": 20}
"""Measurements of each kind in one turn."""

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

    def __init__(self, program: Path, module: str, argument: str, echo: Path | None, control: Path | None) -> None:
        command = [str(program), "measure", module, argument, PIN, str(echo or ""), str(control or "")]
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
        with _ended(process):
            yield process

    @contextlib.contextmanager
    def hosts(self) -> Iterator[tuple[Host, Host | None]]:
        """The C application over our module and over SoftHSM2, where that is installed."""
        echo = self.folder / "echo.sock"
        server = subprocess.Popen([sys.executable, "-c", ECHO_SERVER, echo], stdout=subprocess.PIPE, text=True)
        with _ended(server), contextlib.ExitStack() as undo:
            assert server.stdout is not None
            server.stdout.readline()
            ours = Host(self.program, str(module_path()), f"socket={self.socket}", echo, self.control)
            undo.callback(ours.close)
            theirs = Host(self.program, self.softhsm, "", None, None) if self.softhsm else None
            if theirs is not None:
                undo.callback(theirs.close)
            yield ours, theirs

    def first_signature(self, module: str, argument: str) -> int:
        """Nanoseconds in a new process from dlopen to its first RSA signature."""
        return int(_run(self.program, "first", module, argument, PIN))


def measure(bed: Bed, amount: Amount) -> list[Row]:
    """Everything, as the rows of the table."""
    starts, memory = _starts(bed, amount.starts)
    with bed.simulator():
        first = _first_signatures(bed, amount.starts)
        with bed.hosts() as (ours, theirs):
            apdus = _apdus_of_polling(bed, ours)
            times = _in_turns(ours, theirs, InProcess(), amount.turns)
            waits = ours.measure("wait", amount.removals)
            (alive,) = ours.measure("window", amount.windows)
    echo = _p50(times["echo"])
    rows = [
        _timed(name, times[name], f"p50 <= 2 x echo = {2 * echo:.0f}", 2 * echo, echo=echo)
        for name in ("C_GetSlotInfo", "C_GetSessionInfo")
    ]
    for name, what in (("sign_rsa", "SignInit + Sign, RSA-2048"), ("sign_ec", "SignInit + Sign, P-256")):
        plain = _p50(times[f"cryptography {name}"])
        references = {"cryptography": plain}
        if f"SoftHSM2 {name}" in times:
            references["SoftHSM2"] = _p50(times[f"SoftHSM2 {name}"])
        if name == "sign_rsa":
            limit, target = 1.2 * plain, f"p50 <= 1.2 x cryptography = {1.2 * plain:.0f}"
        else:
            limit, target = plain + 6 * echo, f"p50 <= cryptography + 6 echoes = {plain + 6 * echo:.0f}"
        rows.append(_timed(what, times[name], target, limit, **references))
    p99 = _p99(waits)
    rows.append(Row("remove -> C_WaitForSlotEvent", _p50(waits), p99, "p99 <= 1000", p99, 1000, {}))
    beside = {"SoftHSM2": _p50(first["SoftHSM2"])} if "SoftHSM2" in first else {}
    rows.append(_timed("dlopen to first RSA signature", first["cardtear"], "p50 <= 15000", 15_000, **beside))
    rows.append(_timed("cardtear serve to ready", starts, "p50 <= 400000", 400_000))
    rows += [
        Row("cardtear serve, resident", None, None, "<= 60", memory, 60, {}, "MB"),
        Row(f"sessions alive after remove, of {amount.windows}", None, None, "0", alive, 0, {}, ""),
        Row("APDUs of 200 polling calls", None, None, "0", apdus, 0, {}, ""),
    ]
    return rows


def _in_turns(ours: Host, theirs: Host | None, plain: InProcess, turns: int) -> Times:
    """All that is compared, a few of each kind in turn. The first turn warms up."""
    times: Times = defaultdict(list)
    for turn in range(turns + 1):
        for name, count in TURN.items():
            results = {name: ours.measure(name, count)}
            if name.startswith("sign"):
                results[f"cryptography {name}"] = plain.measure(name, count)
                if theirs is not None:
                    results[f"SoftHSM2 {name}"] = theirs.measure(name, count)
            if turn > 0:
                for key, values in results.items():
                    times[key] += values
    return times


def _first_signatures(bed: Bed, count: int) -> Times:
    """With a card that has just been inserted, so that nothing is known of it yet."""
    times: Times = defaultdict(list)
    with Control(bed.control) as control:
        for _ in range(count):
            control.do("remove", reader="front")
            control.do("insert", reader="front")
            times["cardtear"].append(bed.first_signature(str(module_path()), f"socket={bed.socket}"))
            if bed.softhsm is not None:
                times["SoftHSM2"].append(bed.first_signature(bed.softhsm, ""))
    return times


def _starts(bed: Bed, count: int) -> tuple[list[int], float]:
    """Times from the start of the simulator until it is ready, and its resident memory then, in MB."""
    times, memory = [], []
    for number in range(count + 1):
        process, duration = bed.start_simulator(bed.folder / f"start-{number}")
        with _ended(process):
            if number > 0:  # the first one makes the card
                times.append(duration)
                memory.append(_resident(process.pid))
    return times, statistics.median(memory)


def _apdus_of_polling(bed: Bed, ours: Host) -> int:
    """APDUs in the trace of 100 C_GetSlotInfo and 100 C_GetSessionInfo."""
    with Control(bed.control) as control:
        last = max(record["number"] for record in control.stream("trace", after=0, follow=False))
        # The host looks for its keys after each measurement, so that each has its own end in the trace.
        names = ("C_GetSlotInfo", "C_GetSessionInfo")
        for name in names:
            ours.measure(name, 100)
        records = list(control.stream("trace", after=last, follow=False))
    polls = {record["call"] for record in records if record["kind"] == "call" and record["name"] in names}
    if len(polls) != 200:
        raise SystemExit(f"{len(polls)} polling calls in the trace, not 200")
    return sum(record["kind"] == "apdu" and record["call"] in polls for record in records)


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def _p50(times: list[int]) -> float:
    return statistics.median(times) / 1000


def _p99(times: list[int]) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * 99 // 100)] / 1000


def _timed(what: str, times: list[int], target: str, limit: float, **references: float) -> Row:
    return Row(what, _p50(times), _p99(times), target, _p50(times), limit, references)


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """The process while the block runs."""
    with process:
        try:
            yield
        finally:
            process.terminate()


def _run(*command: object) -> str:
    """What a program prints. Ends the benchmark when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def machine() -> dict[str, Any]:
    """What was measured on, and how busy it was with other things: `load` is the average of the last minute."""
    models = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": backend.openssl_version_text(),
        "load": round(os.getloadavg()[0], 2),
    }


def show(about: dict[str, Any], rows: list[Row]) -> None:
    """The table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, Python {about['python']}, "
        f"{about['openssl']}, load {about['load']} at the start; times in microseconds"
    )
    for column in ("what", "p50", "p99", "references, p50", "target", ""):
        table.add_column(column, justify="right" if column.startswith("p") else "left")
    for row in rows:
        p50 = f"{row.p50:.0f}" if row.p50 is not None else f"{row.value:.0f} {row.unit}".strip()
        table.add_row(
            row.what,
            p50,
            f"{row.p99:.0f}" if row.p99 is not None else "",
            ", ".join(f"{name} {value:.0f}" for name, value in row.references.items()),
            row.target,
            "met" if row.met else "[bold]missed[/bold]",
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def main() -> int:
    """The entry point. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description="Measure the module beside its references.")
    parser.add_argument("--quick", action="store_true", help="take fewer samples")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    options = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory(prefix="cardtear-benchmark-") as folder:
        rows = measure(Bed(Path(folder)), QUICK if options.quick else FULL)
    if options.json:
        print(json.dumps({"machine": about, "rows": [{**row._asdict(), "met": row.met} for row in rows]}, indent=2))
    else:
        show(about, rows)
    return int(options.check and not all(row.met for row in rows))


if __name__ == "__main__":
    sys.exit(main())

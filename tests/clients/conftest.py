# SPDX-License-Identifier: MIT
"""Real programs against the module: run with a deadline, told apart by how they end."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cardtear.card.issuing import profiles
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.tables import INS
from cardtear.csrc import module_path
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.processes import paths
from cardtear.lab.simulator.trigger import Trigger
from cardtear.reader.trace import ApduEntry, CallEntry

from ..shared.programs import ENGLISH, Ended, Run, Succeed, runner, well
from ..shared.waiting import wait_until

PROVIDER = next(Path("/usr/lib").glob("*/ossl-modules/pkcs11.so"), None)
"""OpenSSL's provider of PKCS #11, which Debian has from 13 on."""

collect_ignore = [] if PROVIDER is not None else ["test_openssl_provider.py"]

PIN, PUK = "123456", "12345678"
BLANK = CardRequest(profile="blank")
"""A card to be written, of Alice's."""


def pytest_report_header() -> str | None:
    """Say what this system cannot test."""
    return f"left out, for there is no such program here: {', '.join(collect_ignore)}" if collect_ignore else None


@pytest.fixture
def module() -> str:
    """The module's path."""
    return str(module_path())


@pytest.fixture
def run(simulator: Simulator, tmp_path: Path) -> Run:
    """Runs a program with the simulator in its environment, in a folder of its own. Fails when it hangs or crashes."""
    return runner(tmp_path, simulator.environment)


@pytest.fixture
def succeed(run: Run) -> Succeed:
    """Runs a program that has to succeed; its output."""
    return well(run)


@pytest.fixture
def blank(simulator: Simulator) -> Simulator:
    """The simulator, with a card in it that has PIN and PUK and nothing else."""
    simulator.swap("front", BLANK)
    return simulator


@pytest.fixture
def tool(succeed: Succeed, module: str) -> Succeed:
    """pkcs11-tool with the user logged in; its output."""
    return lambda *options, **others: succeed(
        "pkcs11-tool", "--module", module, "--login", "--pin", PIN, *options, **others
    )


class Contents(NamedTuple):
    """What is on a card: a line for each object, and how often it is there."""

    objects: Counter[str]

    def count(self, *words: str) -> int:
        """How many objects have all of these words in their lines."""
        return sum(number for line, number in self.objects.items() if all(word in line for word in words))


@pytest.fixture
def contents(tool: Succeed) -> Callable[[], Contents]:
    """Asks pkcs11-tool what is on the card: class, label, CKA_ID, usage and so on, but no values."""

    def ask() -> Contents:
        lines: list[str] = []
        for line in tool("--list-objects").splitlines():
            if not line.startswith(" "):
                lines.append(re.sub(r"object \d+", "object", line))
            elif not re.match(r" *((VALUE|EC_POINT|EC Point|Unique ID|serial|profile_id):|[0-9a-f]+$)", line):
                # OpenSC 0.27 says an ID of one byte in both ways.
                lines[-1] += " " + re.sub(r"^ID: \d+ \(0x(..)\)$", r"ID: \1", " ".join(line.split()))
        return Contents(Counter(line for line in lines if "bject" in line and not line.startswith("Profile")))

    return ask


@pytest.fixture
def public_key(succeed: Succeed, module: str) -> Callable[..., None]:
    """Reads the public key with a CKA_ID (two hexadecimal digits) from the token by p11tool, into a PEM file."""

    def read(identity: str, name: str = "key.pem", **options: Any) -> None:
        uri = f"pkcs11:id=%{identity};type=public"
        succeed("p11tool", "--provider", module, "--export", uri, "--outfile", name, **options)

    return read


class Tearing:
    """Runs a program again and again, each time with a fresh copy of a card that is torn out at another APDU.

    After each time the card is put back: what is on it has to be what was before, what would be after, or a state in
    between that the program itself makes by several calls; and the program has to work again.
    """

    WRITES = frozenset({INS.PUT_DATA, INS.GENERATE_ASYMMETRIC_KEY_PAIR, INS.IMPORT_KEY, INS.MOVE_KEY})
    USES = frozenset({INS.GENERAL_AUTHENTICATE, INS.VERIFY})
    FAREWELL = frozenset({"C_Logout", "C_CloseSession", "C_CloseAllSessions", "C_Finalize"})

    def __init__(self, simulator: Simulator, run: Run, contents: Callable[[], Contents], folder: Path) -> None:
        self.simulator = simulator
        self.run = run
        self.contents = contents
        self.folder = folder
        self.number = 0

    def copy(self, image: Path) -> Path:
        """The card of an image goes into the reader, as a copy."""
        self.number += 1
        copy = self.folder / f"{self.number}.card"
        shutil.copyfile(image, copy)
        copy.chmod(0o600)
        self.simulator.swap("front", copy)
        self.simulator.put_away()
        return copy

    def points(self, since: int, kinds: frozenset[INS]) -> list[tuple[int, int]]:
        """The instruction bytes of the APDUs since an entry of the trace, each with its number among its kind.

        Those of logging out and closing are left out, and those after the program: it may not care or know.
        """
        seen: Counter[int] = Counter()
        found, calls = [], {}
        for entry in self.simulator.testbed.trace.entries(since):
            if isinstance(entry, CallEntry):
                calls[entry.call] = entry.name
            elif isinstance(entry, ApduEntry) and entry.command[1] in kinds:
                seen[entry.command[1]] += 1
                if entry.call in calls and calls[entry.call] not in self.FAREWELL:
                    found.append((entry.command[1], seen[entry.command[1]]))
        return found

    def everywhere(
        self,
        *command: str,
        prepare: Callable[[], object] = lambda: None,
        card: CardRequest = BLANK,
        kinds: frozenset[INS] = WRITES,
        between: Callable[[Contents], bool] = lambda _: False,
        failed: Callable[[Ended], bool] = lambda ended: ended.code != 0,
        **options: Any,
    ) -> None:
        """`between` allows a state; `failed` knows how the program says that it did not work."""
        prepared = self.copy(profiles.ready_image(card, paths.image_cache(), paths.test_ca()))
        prepare()
        before = self.contents()
        self.simulator.remove("front")
        self.simulator.put_away()
        self.simulator.insert("front", BLANK)

        self.copy(prepared)
        since = self.simulator.testbed.trace.entries()[-1].number
        first = self.run(*command, **options)
        assert first.code == 0, first.output
        points = self.points(since, kinds)
        assert points, f"{command[0]} has not asked for that at all"
        after = self.contents()
        for (ins, nth), when in itertools.product(points, ("before", "after")):
            self.copy(prepared)
            self.simulator.arm(Trigger("remove", {"reader": "front"}, ins=ins, nth=nth, when=when))
            ended = self.run(*command, **options)
            where = f"{when} {INS(ins).name} number {nth}: {ended.output}"
            assert self.simulator.testbed.reader("front").insertion is None, where
            assert failed(ended), where
            self.simulator.insert("front", self.folder / f"{self.number}.card")
            found = self.contents()
            assert found in (before, after) or between(found), f"{where}\n{found}"
            again = self.run(*command, **options)
            assert again.code == 0 or found != before, f"{where}\nthen: {again.output}"


@pytest.fixture
def tearing(simulator: Simulator, run: Run, contents: Callable[[], Contents], tmp_path: Path) -> Tearing:
    """The card torn out everywhere."""
    return Tearing(simulator, run, contents, tmp_path)


@pytest.fixture
def port() -> int:
    """A TCP port of the loopback interface that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(simulator: Simulator, tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Path]]:
    """Runs a server while the context lasts, from when its port answers; gives the file with its output."""

    @contextlib.contextmanager
    def run_server(port: int, *command: str, **environment: str) -> Iterator[Path]:
        log = tmp_path / "server.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **simulator.environment, **ENGLISH, **environment},
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: _answers(port) or process.poll() is not None, f"a server at port {port}")
            yield log
            assert process.poll() is None, log.read_text()
        finally:
            process.kill()
            process.wait()

    return run_server


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

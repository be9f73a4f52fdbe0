# SPDX-License-Identifier: MIT
"""Java's javax.smartcardio (SmartCardIo.java): connections, exclusive access, and the card pulled under a signature."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cardtear.card.tables import INS
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger

from . import pcsc
from .daemon import OwnPcscd
from .dialogue import Program
from .pcsc import READER

pytestmark = pytest.mark.needs("java", "javac")

SELECT = f"transmit {pcsc.SELECT.hex()}"
SIGN = f"transmit 0087119E267C2482008120{bytes(32).hex()}00"
QUICK = ("-XX:TieredStopAtLevel=1", "-Xshare:auto")


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled program."""
    folder = tmp_path_factory.mktemp("classes")
    source = Path(__file__).with_name("SmartCardIo.java")
    subprocess.run(("javac", *(f"-J{option}" for option in QUICK), "-d", folder, source), check=True, timeout=120)
    return folder


def library() -> str:
    """pcsc-lite's client library; Java looks for another name."""
    return next(str(path) for path in Path("/usr/lib").glob("*/libpcsclite.so.1"))


@pytest.fixture
def java(shown: Simulator, pcscd: OwnPcscd, classes: Path) -> Iterator[Program]:
    """The program, connected to the card."""
    option = f"-Dsun.security.smartcardio.library={library()}"
    with Program("java", *QUICK, option, "-cp", str(classes), "SmartCardIo", READER, **pcscd.environment) as program:
        assert program.hear() == f"ok {READER}"
        insertion = shown.testbed.reader("front").insertion
        assert insertion is not None
        assert program.ask("connect") == f"ok {insertion.atr.hex()}"
        assert program.ask(SELECT).endswith("9000")
        yield program


def test_removal(java: Program, shown: Simulator) -> None:
    """In the middle of a signature: CardException; the terminal tells when the card goes and comes."""
    assert java.ask(SIGN).endswith("9000")
    shown.arm(Trigger("remove", {"reader": "front"}, ins=INS.GENERAL_AUTHENTICATE))
    assert java.ask(SIGN).startswith("error CardException")
    assert java.ask("wait absent") == "ok true"
    assert java.ask(SIGN).startswith("error")
    java.ask("disconnect")
    assert java.ask("connect").startswith("error CardNotPresentException")
    shown.insert("front")
    assert java.ask("wait present") == "ok true"
    assert java.ask("connect").startswith("ok 3b")
    assert java.ask(SELECT).endswith("9000")
    assert java.ask(SIGN).endswith("9000")


def test_exclusive_access(java: Program, context: pcsc.Context) -> None:
    """pcscd lets other programs of PC/SC wait for its end."""
    other = context.connect(READER)
    assert java.ask("exclusive") == "ok "
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(other.transmit, pcsc.SELECT)
        for _ in range(5):
            assert java.ask(SIGN).endswith("9000")
        assert not waiting.done()
        assert java.ask("shared") == "ok "
        assert waiting.result(pcsc.DEADLINE)[-2:] == b"\x90\x00"

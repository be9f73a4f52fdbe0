# SPDX-License-Identifier: MIT
"""A test of a program of PC/SC: the plugin's card in pcscd; and a command with a pcscd of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from cardtear.lab.simulator import own_pcscd
from cardtear.reader.pcsc import pcscd_call

from ...shared.programs import DEADLINE, runner

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.needs("smartcard")

CARDTEAR = str(Path(sys.executable).with_name("cardtear"))

TESTS = """
import subprocess
import pytest
from cardtear.lab.simulator.trigger import Trigger
from smartcard.Exceptions import CardConnectionException, NoCardException
from smartcard.scard import (
    SCARD_SCOPE_USER, SCARD_STATE_CHANGED, SCARD_STATE_EMPTY, SCARD_STATE_UNAWARE,
    SCardEstablishContext, SCardGetStatusChange, SCardReleaseContext,
)
from smartcard.System import readers

SELECT = [0x00, 0xA4, 0x04, 0x00, 0x05, 0xA0, 0x00, 0x00, 0x03, 0x08]

def connect():
    connection = next(each for each in readers() if each.name.startswith("Test Reader")).createConnection()
    connection.connect()
    return connection

def wait_until_empty():
    code, context = SCardEstablishContext(SCARD_SCOPE_USER)
    assert code == 0
    name = next(each.name for each in readers() if each.name.startswith("Test Reader"))
    state = SCARD_STATE_UNAWARE
    while not state & SCARD_STATE_EMPTY:
        code, ((_, state, _),) = SCardGetStatusChange(context, 10000, [(name, state & ~SCARD_STATE_CHANGED)])
        assert code == 0
    SCardReleaseContext(context)

@pytest.mark.parametrize("turn", range(2))
def test_the_card_goes(card, bench, reader, turn):
    connection = connect()
    assert connection.transmit(SELECT)[1:] == (0x90, 0x00)
    bench.arm(Trigger("remove", {"reader": "front"}, ins=0x20))
    with pytest.raises(CardConnectionException):
        connection.transmit([0x00, 0x20, 0x00, 0x80])
    with pytest.raises(NoCardException):
        wait_until_empty()
        connect()
    reader.insert(card)
    reader.wait_for_pcsc()
    assert connect().transmit(SELECT)[1:] == (0x90, 0x00)

def test_programs_find_it(card):
    assert b"3b:" in subprocess.run(["opensc-tool", "--atr"], capture_output=True, timeout=30, check=True).stdout

@pytest.mark.cardtear(pcsc=False)
def test_none_here(card, bench):
    assert bench.status()["readers"][0]["pcsc"] is None
"""


@pytest.fixture(autouse=True)
def _possible() -> None:
    reason = own_pcscd.why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.needs("opensc-tool")
def test_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    arguments = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--cardtear-pcsc", "Test Reader")
    pytester.runpytest_subprocess(*arguments, timeout=2 * DEADLINE).assert_outcomes(passed=4)


@pytest.mark.cardtear(pcsc=True)
def test_without_pcscd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A skip that says what is missing."""
    monkeypatch.setattr(own_pcscd, "why_not", lambda: "only root can start a pcscd")
    monkeypatch.setattr(pcscd_call, "vpcd_listens", lambda: False)
    with pytest.raises(pytest.skip.Exception, match="only root can start a pcscd, and no pcscd with vpcd is running"):
        request.getfixturevalue("bench")


@pytest.mark.needs("opensc-tool")
def test_a_command_with_a_pcscd_of_its_own(tmp_path: Path) -> None:
    """It has the program's exit code, and does not outlive it, not even one that kills everything above it."""
    run = runner(tmp_path, {})
    told = 'opensc-tool --atr && echo "$PCSCLITE_CSOCK_NAME" && exit 3'
    ended = run(CARDTEAR, "run", "--own-pcscd", "--", "sh", "-c", told)
    assert ended.code == 3, ended.output
    assert "3b:" in ended.output
    assert not Path(ended.output.split()[-1]).exists()
    killing = (CARDTEAR, "run", "--own-pcscd", "--", "sh", "-c", "pgrep -P $PPID pcscd; kill -9 $PPID")
    killed = subprocess.run(killing, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert killed.returncode == -9
    process = int(killed.stdout)
    own_pcscd_is_gone(process)


def own_pcscd_is_gone(process: int) -> None:
    """Wait for it."""
    try:
        pidfd = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], DEADLINE)[0], "it runs on"
    finally:
        os.close(pidfd)

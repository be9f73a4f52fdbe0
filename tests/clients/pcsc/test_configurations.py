# SPDX-License-Identifier: MIT
"""Other configurations of pcscd than Debian's: more readers, and a vpcd that connects to us."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.reader.events import Change
from cardtear.reader.pcsc.reader_conf import configuration, find_driver
from cardtear.reader.private_socket import SocketError
from cardtear.reader.trace import ApduEntry
from hypothesis import given
from hypothesis import strategies as st

from ...shared.waiting import wait_until
from . import pcsc
from .daemon import OwnPcscd, own_pcscd
from .pcsc import DEADLINE, READER, SECOND_READER, SELECT, succeed_in_time

GONE = b"\x6f\x00"


@pytest.fixture
def daemon(pcscd_folder: Path) -> Iterator[OwnPcscd]:
    """A pcscd that is not started yet."""
    with own_pcscd(pcscd_folder) as daemon:
        yield daemon


def test_eight_readers(tmp_path: Path) -> None:
    """By a copy of the driver; each card is in a reader of its own."""
    with own_pcscd(tmp_path, readers=8) as daemon, Simulator(pcsc=daemon.place) as simulator:
        daemon.start()
        for number in range(8):
            simulator.plug(f"reader {number}")
            simulator.insert(f"reader {number}", CardRequest(profile="unrecognised", name=f"card {number}"))
        assert simulator.pcsc is not None
        assert simulator.pcsc.wait_until_shown(DEADLINE) == []
        names = pcsc.apart("Context().readers()")
        assert len(names) == 8
        simulator.remove("reader 2")
        assert pcsc.apart(f"Context().wait({names[2]!r}, EMPTY, {DEADLINE}).hex()") == ""
        assert pcsc.apart(f"[bool(Context().connect(name)) for name in {[*names[:2], *names[3:]]!r}]") == [True] * 7


def test_one_after_the_other(tmp_path: Path) -> None:
    """A process finds each of its own, though the client library looks up only once where the socket is."""
    for name in ("First", "Second"):
        (tmp_path / name).mkdir()
        with own_pcscd(tmp_path / name, name) as daemon:
            daemon.start()
            context = pcsc.Context()
            assert context.readers() == [f"{name} 00 00", f"{name} 00 01"]
            context.close()


def test_the_command_writes_it(tmp_path: Path) -> None:
    """What `cardtear pcsc` prints is what it writes, for the mode that is wanted."""
    cardtear = str(Path(sys.executable).with_name("cardtear"))
    command = (cardtear, "pcsc", "--reversed", "--port", "40000")
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "127.0.0.1:40000" in printed
    file = tmp_path / "vpcd"
    subprocess.run((*command, "--write", file), check=True, timeout=30, capture_output=True)
    assert file.read_text() == printed


def apdus_since_insertion(simulator: Simulator) -> list[bytes]:
    """What has reached the card that is in a reader now."""
    entries = simulator.testbed.trace.entries()
    last = max(place for place, each in enumerate(entries) if getattr(each, "change", None) == Change.INSERT)
    return [each.command for each in entries[last:] if isinstance(each, ApduEntry)]


@given(st.text(max_size=130), st.integers(1, 16))
def test_any_name_is_refused_or_read_as_it_is(name: str, readers: int) -> None:
    """As pcscd reads it: a string up to the next quotation mark or end of line, and nothing else in the file."""
    try:
        text = configuration("/driver.so", readers=readers, name=name)
    except ValueError:
        return
    entry = r'FRIENDLYNAME "([^"\n]*)"\nDEVICENAME   /dev/null:[0-9]+\nLIBPATH      /driver.so\nCHANNELID    [0-9]+\n'
    names = re.findall(entry, re.sub("libifdvpcd-[0-9]+", "driver", text))
    assert re.sub(entry, "", re.sub("libifdvpcd-[0-9]+", "driver", text)).strip() == ""
    assert names[0] == name
    assert all(len(f"{each} 00 00".encode()) < 128 for each in names)


@pytest.mark.parametrize("name", ['a"b', "", "two\nlines", "x" * 117])
def test_a_name_that_no_reader_can_have(tmp_path: Path, name: str) -> None:
    """A clear refusal, and no file with which pcscd does not start."""
    cardtear = str(Path(sys.executable).with_name("cardtear"))
    file = tmp_path / "vpcd"
    command = (cardtear, "pcsc", "--name", name, "--write", str(file))
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert refused.returncode == 2
    assert refused.stderr.startswith("cardtear: a reader in PC/SC cannot be called")
    assert not file.exists()


class TestReversed:
    """vpcd connects to us."""

    @pytest.fixture
    def simulator(self, daemon: OwnPcscd) -> Iterator[Simulator]:
        """A simulator with the standard card, and a pcscd that was started after it and ends before it."""
        driver = find_driver()
        assert driver is not None
        daemon.configure(configuration(driver, daemon.place.port, is_reversed=True))
        with Simulator(pcsc=replace(daemon.place, is_reversed=True)) as simulator:
            simulator.plug("front")
            simulator.insert("front")
            daemon.start()
            yield simulator
            assert daemon.is_running, daemon.log
            daemon.stop()

    @pytest.fixture
    def context(self, simulator: Simulator) -> pcsc.Context:
        """A program of PC/SC that sees the card."""
        context = pcsc.Context()
        context.wait(READER, pcsc.PRESENT, DEADLINE)
        return context

    def test_a_card(self, simulator: Simulator, context: pcsc.Context) -> None:
        """The slot without a reader has a card that does not answer: vpcd cannot show none."""
        assert context.connect(READER).transmit(SELECT)[-2:] == b"\x90\x00"
        context.wait(SECOND_READER, pcsc.MUTE, DEADLINE)
        simulator.plug("back")
        simulator.insert("back", CardRequest(name="Bob"))
        assert succeed_in_time(lambda: context.connect(SECOND_READER)).transmit(SELECT)[-2:] == b"\x90\x00"

    def test_removal(self, simulator: Simulator, context: pcsc.Context, daemon: OwnPcscd) -> None:
        """In the middle of a command, and before one: an error, no hang, and pcscd lives."""
        card = context.connect(READER)
        with simulator.testbed.watching(lambda _moment: simulator.remove("front")):  # type: ignore[arg-type]
            assert card.transmit(SELECT) == GONE
        assert card.transmit(SELECT) == GONE
        with pytest.raises(pcsc.PcscError):
            card.reconnect(pcsc.RESET)
        with pytest.raises(pcsc.PcscError):
            context.connect(READER)
        simulator.insert("front")
        card.reconnect(pcsc.RESET)
        for each in (card, context.connect(READER)):
            assert each.transmit(SELECT)[-2:] == b"\x90\x00"
        assert daemon.is_running

    @pytest.mark.parametrize("swaps", [1, 3])
    def test_swap(self, simulator: Simulator, context: pcsc.Context, swaps: int) -> None:
        """No command reaches the new card over a connection to the old one, until its program has it powered up."""
        card = context.connect(READER)
        assert card.transmit(SELECT)[-2:] == b"\x90\x00"
        for number in range(swaps):
            simulator.swap("front", CardRequest(name=f"Bob {number}"))
        for _ in range(3):
            assert card.transmit(SELECT) == GONE
        assert apdus_since_insertion(simulator) == []
        card.reconnect(pcsc.RESET)
        assert card.transmit(SELECT)[-2:] == b"\x90\x00"

    def test_mute(self, simulator: Simulator, context: pcsc.Context) -> None:
        card = context.connect(READER)
        simulator.mute("front")
        assert card.transmit(SELECT) == GONE
        card.reconnect(pcsc.RESET)
        assert card.transmit(SELECT)[-2:] == b"\x90\x00"

    def test_pcscd_is_restarted(
        self, simulator: Simulator, context: pcsc.Context, daemon: OwnPcscd, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With a word about it."""
        caplog.clear()
        daemon.stop()
        wait_until(lambda: "start pcscd now" in caplog.text)
        daemon.start()
        wait_until(lambda: "is in pcscd now" in caplog.text)
        context = pcsc.Context()
        context.wait(READER, pcsc.PRESENT, DEADLINE)
        assert succeed_in_time(lambda: context.connect(READER)).transmit(SELECT)[-2:] == b"\x90\x00"

    def test_a_port_that_is_taken(self, simulator: Simulator, daemon: OwnPcscd) -> None:
        with pytest.raises(SocketError, match=str(daemon.place.port)):
            Simulator(pcsc=replace(daemon.place, is_reversed=True))

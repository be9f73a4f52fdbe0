# SPDX-License-Identifier: MIT
"""Passphrases out of files, FIFOs and a shell's pipes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cardtear.card.image import passphrase
from cardtear.card.image.store import read_image
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, create
from cardtear.lab.control.client import Control, ControlFailure
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.value_types import EncryptedImage

DEADLINE = 60
PASSPHRASE = "correct horse"


@pytest.fixture
def sealed(tmp_path: Path) -> EncryptedImage:
    """An encrypted image, and the file of its passphrase."""
    create(CardRequest("blank"), tmp_path / "sealed.card", TestCA.create(), PASSPHRASE.encode())
    (tmp_path / "passphrase").write_text(PASSPHRASE + "\n")
    return EncryptedImage(tmp_path / "sealed.card", tmp_path / "passphrase")


def test_out_of_a_fifo(sealed: EncryptedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read once, and kept; while nobody writes it, other readers go on, and it is given up after a while."""
    os.mkfifo(fifo := tmp_path / "fifo")
    asked = {"image": str(sealed.image), "passphrase_file": str(fifo)}
    with Simulator() as simulator, Control(simulator.control_socket) as control:
        control.do("plug", reader="front")
        control.do("plug", reader="back")
        inserted: list[object] = []
        with Control(simulator.control_socket) as other:
            waiting = threading.Thread(
                target=lambda: inserted.append(other.do("insert", reader="front", card=asked)), daemon=True
            )
            waiting.start()
            with fifo.open("wb") as writer:  # the simulator waits at the other end
                assert control.do("insert", reader="back") == {"card": "Alice"}
                assert not inserted
                writer.write(PASSPHRASE[:3].encode())
                writer.flush()
                writer.write(PASSPHRASE[3:].encode() + b"\nmore")
            waiting.join(DEADLINE)
        assert inserted == [{"card": "Alice"}]
        for _ in range(2):
            control.do("remove", reader="front")
            simulator.put_away()
            assert control.do("insert", reader="front", card=asked) == {"card": "Alice"}
        control.do("remove", reader="front")
        monkeypatch.setattr(passphrase, "_PATIENCE", 0.2)
        another = str(shutil.copy(sealed.image, tmp_path / "another.card"))
        with pytest.raises(ControlFailure, match=r"fifo: no passphrase came out of it"):
            control.do("insert", reader="front", card=asked | {"image": another})
        writer_that_says_nothing = os.open(fifo, os.O_RDWR)
        with pytest.raises(ControlFailure, match="no passphrase came out of it"):
            control.do("insert", reader="front", card=asked | {"image": another})
        os.close(writer_that_says_nothing)


def test_out_of_a_shell_s_pipe(sealed: EncryptedImage, tmp_path: Path) -> None:
    """`<(...)` of bash: for a command that opens the image itself, and for one that hands it to a simulator."""
    with Simulator() as simulator:
        simulator.plug("front")
        cardtear = f"{sys.executable} -m cardtear.lab.cli.main"
        given = f"--passphrase-file <(echo '{PASSPHRASE}')"
        for command, said in (
            (f"card show {sealed.image} {given}", "Alice"),
            (f"insert front --image {sealed.image} {given}", "Alice is in front"),
            (f"swap front --image {shutil.copy(sealed.image, tmp_path / 'b.card')} {given}", "Alice is in front now"),
            (f"run --image {shutil.copy(sealed.image, tmp_path / 'c.card')} {given} -- echo done", "done"),
            (f"card new {tmp_path / 'd.card'} --profile blank {given}", "d.card is a blank card"),
        ):
            done = subprocess.run(
                ["bash", "-c", f"{cardtear} {command}"],
                env={**os.environ, "CARDTEAR_CONTROL": str(simulator.control_socket)},
                capture_output=True,
                text=True,
                timeout=DEADLINE,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, ""), done
            assert said in done.stdout
        assert read_image(tmp_path / "d.card", PASSPHRASE.encode()).profile == "blank"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"one", b"one"),
        (b"one\n", b"one"),
        (b"one\r\ntwo\n", b"one"),
        (b" one two \n", b" one two "),
        (b"\xff\0\n", b"\xff\0"),
        (b"x" * 4096, b"x" * 4096),
        (b"x" * 4096 + b"\n", b"x" * 4096),
        (b"", None),
        (b"\n", None),
        (b"x" * 4097, None),
    ],
)
def test_the_first_line(tmp_path: Path, content: bytes, found: bytes | None) -> None:
    """Of a file and of a pipe."""
    (tmp_path / "file").write_bytes(content)
    read, write = os.pipe()
    os.write(write, content)
    os.close(write)
    for path in (tmp_path / "file", Path(f"/dev/fd/{read}")):
        with contextlib.nullcontext() if found else pytest.raises(ValueError, match="no passphrase"):
            assert passphrase.read(path) == found
    os.close(read)

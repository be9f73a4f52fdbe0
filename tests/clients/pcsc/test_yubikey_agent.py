# SPDX-License-Identifier: MIT
"""yubikey-agent, which is piv-go's library made an agent of ssh: a key that asks for PIN and touch, behind pcscd."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ...shared.waiting import wait_until
from .conftest import Run, Succeed  # type: ignore[attr-defined]
from .pcsc import DEADLINE
from .yubico import YubiKey, older_key, pcscd

__all__ = ["older_key", "pcscd"]

pytestmark = pytest.mark.needs("yubikey-agent", "ssh-add")

PIN = "135790"
SIGN = ("ssh-keygen", "-Y", "sign", "-f", "key.pub", "-n", "file", "data")

PINENTRY = f"""#!/bin/sh
echo OK
while read -r command rest; do
    [ "$command" = GETPIN ] && echo "D {PIN}"
    echo OK
    [ "$command" = BYE ] && exit
done
"""
"""What asks a person for the PIN (Assuan, as GnuPG's pinentry)."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent asks gpgconf where the pinentry is."""
    folder = tmp_path / "programs"
    folder.mkdir()
    scripts = {"pinentry": PINENTRY, "gpgconf": f"#!/bin/sh\necho pinentry:Passphrase:{folder}/pinentry\n"}
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture
def touched(older_key: YubiKey) -> Callable[[], None]:
    """A finger for the next use of the key."""
    return lambda: older_key.simulator.touch("front")


@pytest.fixture
def agent(older_key: YubiKey, programs: None, tmp_path: Path, succeed: Succeed) -> Iterator[dict[str, str]]:
    """How programs find it, with a key that it has made; `key.pub` and `data` are in the folder."""
    set_up()
    socket = tmp_path / "agent"
    environment = {"SSH_AUTH_SOCK": str(socket)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["yubikey-agent", "-l", str(socket)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_until(socket.exists, (tmp_path / "log").read_text)
        (tmp_path / "key.pub").write_text(succeed("ssh-add", "-L", **environment))
        (tmp_path / "data").write_text("something")
        yield environment
    finally:
        process.kill()
        process.wait()


def set_up() -> None:
    """It wants a terminal to ask for a new PIN, twice."""
    ours, its = pty.openpty()
    process = subprocess.Popen(["yubikey-agent", "-setup"], stdin=its, stdout=its, stderr=its, start_new_session=True)
    os.close(its)
    said = b""
    with suppress(OSError):  # the end of a terminal
        for question in (b"Choose a new PIN/PUK: ", b"Repeat PIN/PUK: ", None):
            while question is None or question not in said:
                assert select.select([ours], [], [], DEADLINE)[0], said.decode()
                said += os.read(ours, 1024)
            os.write(ours, f"{PIN}\n".encode())
    os.close(ours)
    assert process.wait(DEADLINE) == 0, said.decode()


def check_signature(folder: Path, succeed: Succeed) -> None:
    (folder / "signers").write_text(f"me {(folder / 'key.pub').read_text()}")
    verify = ("ssh-keygen", "-Y", "verify", "-f", "signers", "-I", "me", "-n", "file", "-s", "data.sig")
    succeed(*verify, stdin="something")
    (folder / "data.sig").unlink()


def test_signature(
    agent: dict[str, str], touched: Callable[[], None], succeed: Succeed, run: Run, tmp_path: Path
) -> None:
    touched()
    succeed(*SIGN, **agent)
    check_signature(tmp_path, succeed)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("ins", [0x20, 0x87])
def test_the_card_is_pulled(
    older_key: YubiKey,
    agent: dict[str, str],
    touched: Callable[[], None],
    run: Run,
    succeed: Succeed,
    tmp_path: Path,
    ins: int,
    when: str,
) -> None:
    """At the PIN or the signature: it refuses, lives on, and works again with the card back."""
    older_key.pull_at(ins, when)
    touched()
    assert run(*SIGN, **agent).code != 0
    older_key.put_back()
    touched()
    succeed(*SIGN, **agent)
    check_signature(tmp_path, succeed)

# SPDX-License-Identifier: MIT
"""p11-kit: the module behind its proxy, and carried to a process that does not know where the simulator is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.scenario.needs import lacking
from cardtear.lab.simulator.trigger import Trigger

from ..shared.waiting import wait_until

pytestmark = pytest.mark.needs("p11-kit", "pkcs11-tool", "openssl")

Run = Callable[..., Any]
Succeed = Callable[..., str]
BLANK = CardRequest(profile="blank")
USER = ("--login", "--pin", "123456")
GENERATE = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", "10", "--label", "pair")
SIGN = ("--sign", "--id", "10", "-m", "ECDSA", "--signature-format", "openssl", "-i", "hash", "-o", "signature")


def library(name: str) -> str:
    """The path of one of p11-kit's libraries."""
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for path in sorted(Path(folder).rglob(name)):
            return str(path)
    pytest.skip(f"not installed: {name}")


@pytest.fixture(autouse=True)
def hashed(tmp_path: Path) -> None:
    """Something to be signed, in the file `hash`."""
    (tmp_path / "hash").write_bytes(bytes(range(32)))


class Door:
    """pkcs11-tool with one of p11-kit's libraries for a module."""

    def __init__(self, run: Run, path: str, prefix: tuple[str, ...], environment: dict[str, str]) -> None:
        self.run = run
        self.command = (*prefix, "pkcs11-tool", "--module", path, "--token-label", "Alice")
        self.environment = environment

    def try_to(self, *options: str) -> Any:
        """How it ended."""
        return self.run(*self.command, *options, **self.environment)

    def do(self, *options: str) -> str:
        """What it wrote; it has to succeed."""
        ended = self.try_to(*options)
        assert ended.code == 0, ended.output
        return str(ended.output)


@pytest.fixture
def proxy(run: Run, module: str, tmp_path: Path) -> Door:
    """p11-kit-proxy.so, to which a user's own configuration names the module and nothing else.

    p11-kit reads no such configuration for root: root is somebody else in a user namespace of its own.
    """
    modules = tmp_path / "pkcs11" / "modules"
    modules.mkdir(parents=True)
    (modules / "cardtear.module").write_text(f"module: {module}\n")
    (tmp_path / "pkcs11" / "pkcs11.conf").write_text("user-config: only\n")
    prefix = () if os.geteuid() != 0 else ("unshare", "--user", "--map-user=1000")
    if prefix and (reason := lacking(["unshare --user true"])):
        pytest.skip(reason)
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    return Door(run, library("p11-kit-proxy.so"), prefix, environment)


@pytest.fixture
def remote(simulator: Simulator, run: Run, module: str, tmp_path: Path) -> Iterator[Door]:
    """p11-kit-client.so, and `p11-kit server` at the other end of its socket."""
    where = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    address = tmp_path / "carried"
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            ("p11-kit", "server", "-f", "--provider", module, "-n", str(address), "pkcs11:token=Alice"),
            env={**os.environ, **simulator.environment, **where},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: address.exists() or server.poll() is not None)
        assert server.poll() is None
        elsewhere = {"CARDTEAR_SOCKET": str(tmp_path / "nobody"), "P11_KIT_SERVER_ADDRESS": f"unix:path={address}"}
        yield Door(run, library("p11-kit-client.so"), (), {**where, **elsewhere})
    finally:
        server.kill()
        server.wait()


@pytest.fixture(params=["proxy", "remote"])
def door(request: pytest.FixtureRequest, blank: Simulator) -> Door:
    """Both, with an empty card in the reader."""
    return request.getfixturevalue(request.param)


def test_write_and_use(door: Door, succeed: Succeed, public_key: Callable[..., None], contents: Any) -> None:
    """A key pair and a certificate are made through p11-kit, are on the card, and go again."""
    assert "token label        : Alice" in door.do("--list-slots")
    door.do(*USER, *GENERATE)
    door.do(*USER, *SIGN)
    public_key("10")
    verify = ("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-in", "hash", "-sigfile", "signature")
    succeed(*verify)
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-subj", "/CN=a", "-outform")
    succeed(*request, "DER", "-out", "certificate")
    door.do(*USER, "--write-object", "certificate", "--type", "cert", "--id", "20", "--label", "foreign")
    assert contents().objects.total() == 3
    door.do(*USER, "--delete-object", "--type", "cert", "--id", "20")
    door.do(*USER, "--delete-object", "--type", "privkey", "--id", "10")
    assert contents().objects.total() == 1


@pytest.mark.parametrize("ins", [0x47, 0x87, 0xDB, 0x20])
def test_card_goes(blank: Simulator, door: Door, contents: Any, ins: int) -> None:
    """In a write and in a signature: an error, all or nothing on the card; the same door works with the card back."""
    command = GENERATE
    if ins == 0x87:
        door.do(*USER, *GENERATE)
        command = SIGN
    before = contents()
    blank.arm(Trigger("remove", {"reader": "front"}, ins=ins))
    ended = door.try_to(*USER, *command)
    assert blank.testbed.reader("front").insertion is None
    assert ended.code != 0
    assert "CKR_" in ended.output
    gone = door.try_to("--list-objects")
    assert gone.code != 0 or "Object" not in gone.output
    blank.insert("front", BLANK)
    assert contents() == before
    door.do(*USER, *command)

# SPDX-License-Identifier: MIT
"""TLS between selfserv and tstclnt, the keys of both ends on the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.lab.simulator.trigger import Trigger

pytestmark = pytest.mark.needs("certutil", "modutil", "selfserv", "tstclnt")

KEYS = {
    "RSA": ("-k", "rsa", "-g", "2048"),
    "P-256": ("-k", "ec", "-q", "nistp256"),
    "P-384": ("-k", "ec", "-q", "nistp384"),
}
VERSIONS = {"tls1.2": "SSL version 3.3", "tls1.3": "SSL version 3.4"}
REQUIRE = ("-r", "-r")


@pytest.fixture
def nss(new_nss: Callable[..., Any]) -> Any:
    """A database, and Alice's card with nothing on it."""
    return new_nss(profile="blank")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_server_key_on_the_token(nss: Any, version: str, key: str) -> None:
    """The server signs with the card, many times."""
    nss.certify("server", *KEYS[key], subject="CN=localhost")
    with nss.serving("Alice:server", version) as (port, _):
        for _ in range(3):
            ended = nss.fetch(port, version)
            assert ended.code == 0, ended.output
            assert VERSIONS[version] in ended.output
            assert "200 OK" in ended.output


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_client_key_on_the_token(nss: Any, version: str, key: str) -> None:
    """The server requires a certificate; the client has one with the PIN only."""
    nss.certify("server", *KEYS["P-256"], subject="CN=localhost")
    nss.certify("client", *KEYS[key], subject="CN=customer")
    with nss.serving("Alice:server", version, *REQUIRE) as (port, log):
        ended = nss.fetch(port, version, "-n", "Alice:client", "-W", "pin")
        assert "200 OK" in ended.output, ended.output
        assert "Subject: CN=customer" in log.read_text()
        (nss.folder / "wrong").write_text("000000\n")
        assert "200 OK" not in nss.fetch(port, version, "-n", "Alice:client", "-W", "wrong").output


@pytest.mark.parametrize("version", VERSIONS)
def test_card_of_the_server_goes(nss: Any, version: str) -> None:
    """In the middle of its signature: this handshake fails, the server lives, and with card and PIN it serves again."""
    nss.certify("server", *KEYS["RSA"], subject="CN=localhost")
    with nss.serving("Alice:server", version) as (port, _):
        assert "200 OK" in nss.fetch(port, version).output
        nss.simulator.arm(Trigger("remove", {"reader": "front"}, ins=0x87, nth=2))
        ended = nss.fetch(port, version)
        assert "200 OK" not in ended.output
        assert ended.code != 0
        nss.simulator.insert("front", nss.card)
    with nss.serving("Alice:server", version) as (port, _):
        assert "200 OK" in nss.fetch(port, version).output


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("on", [{"ins": 0x20}, {"ins": 0x87}, {"call": "C_SignInit"}, {"call": "C_Login"}], ids=str)
def test_card_of_the_client_goes(new_nss: Callable[..., Any], version: str, on: dict[str, Any]) -> None:
    """At the PIN, before and in the signature: the client ends with an error, the server serves the next one."""
    nss = new_nss(profile="blank")
    nss.certify("client", *KEYS["P-256"], subject="CN=customer")
    database = ("-d", nss.database, "-f", "pin")
    own = ("-S", *database, "-n", "server", "-s", "CN=localhost", "-x", "-t", "CTu,,", "-z", "noise", *KEYS["P-256"])
    nss("certutil", *own)
    with nss.serving("server", version, *REQUIRE) as (port, _):
        ask = (port, version, "-n", "Alice:client", "-W", "pin")
        # selfserv has the module too, but its key is its own: the client's calls are the only ones with the PIN.
        nss.simulator.arm(Trigger("remove", {"reader": "front"}, **on))
        ended = nss.fetch(*ask)
        assert "200 OK" not in ended.output
        assert nss.simulator.testbed.reader("front").insertion is None
        nss.simulator.insert("front", nss.card)
        assert "200 OK" in nss.fetch(*ask).output

# SPDX-License-Identifier: MIT
"""GnuTLS, OpenSSH, OpenSSL's pkcs11 engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.lab.simulator import Simulator
from cardtear.lab.trigger import Trigger

Succeed = Callable[..., str]
Run = Callable[..., Any]


@pytest.mark.needs("p11tool")
class TestP11tool:
    """GnuTLS's p11tool."""

    LIST = ("--list-all", "--login", "pkcs11:token=Alice")

    def test_list_all(self, succeed: Succeed, module: str) -> None:
        """Certificates and keys, with login."""
        listed = succeed("p11tool", "--provider", module, *self.LIST, GNUTLS_PIN="123456")
        for kind in ("type=cert", "type=public", "type=private"):
            assert listed.count(kind) == 4

    @pytest.mark.parametrize("on", [{"call": "C_Login"}, {"ins": 0x20}, {"call": "C_FindObjects"}], ids=str)
    def test_card_goes(self, simulator: Simulator, run: Run, succeed: Succeed, module: str, on: dict[str, Any]) -> None:
        """An error or a shorter list, no hang; all is there again with the card."""
        simulator.arm(Trigger("remove", {"reader": "front"}, **on))
        ended = run("p11tool", "--provider", module, *self.LIST, GNUTLS_PIN="123456")
        assert ended.code != 0 or ended.output.count("type=private") < 4, ended.output
        simulator.insert("front")
        listed = succeed("p11tool", "--provider", module, *self.LIST, GNUTLS_PIN="123456")
        assert listed.count("type=private") == 4


@pytest.mark.needs("ssh-keygen")
class TestSshKeygen:
    """OpenSSH."""

    def test_public_keys(self, succeed: Succeed, module: str) -> None:
        """ssh-keygen -D shows the keys of all four certificates."""
        listed = succeed("ssh-keygen", "-D", module)
        assert listed.count("ssh-rsa ") == 2
        assert listed.count("ecdsa-sha2-nistp256 ") == 2

    @pytest.mark.parametrize("on", [{"call": "C_GetTokenInfo"}, {"call": "C_FindObjects"}], ids=str)
    def test_card_goes(self, simulator: Simulator, run: Run, succeed: Succeed, module: str, on: dict[str, Any]) -> None:
        """An error, no hang."""
        simulator.arm(Trigger("remove", {"reader": "front"}, **on))
        ended = run("ssh-keygen", "-D", module)
        assert ended.code != 0, ended.output
        simulator.insert("front")
        assert "ssh-rsa " in succeed("ssh-keygen", "-D", module)


@pytest.mark.needs("openssl")
class TestOpenSslEngine:
    """OpenSSL through libp11's engine."""

    KEY = ("-engine", "pkcs11", "-keyform", "engine")
    URI = "pkcs11:token=Alice;id=%01;type=private"

    @pytest.fixture(autouse=True)
    def configuration(self, tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The engine finds the module and the PIN in a configuration file."""
        (tmp_path / "openssl.cnf").write_text(
            "openssl_conf = init\n[init]\nengines = engines\n[engines]\npkcs11 = card\n"
            f"[card]\nengine_id = pkcs11\nMODULE_PATH = {module}\nPIN = 123456\ninit = 0\n"
        )
        monkeypatch.setenv("OPENSSL_CONF", str(tmp_path / "openssl.cnf"))
        (tmp_path / "data").write_bytes(b"a card that can be pulled out")

    def sign(self) -> tuple[str, ...]:
        """A signature into the file `signature`."""
        return ("openssl", "dgst", "-sha256", *self.KEY, "-sign", self.URI, "-out", "signature", "data")

    def test_sign(self, succeed: Succeed, module: str) -> None:
        """Verified with the certificate's key."""
        succeed(*self.sign())
        succeed("pkcs11-tool", "--module", module, "-r", "-y", "cert", "-d", "01", "-o", "cert.der")
        succeed("openssl", "x509", "-inform", "DER", "-in", "cert.der", "-pubkey", "-noout", "-out", "key.pem")
        verify = ("openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "data")
        assert "Verified OK" in succeed(*verify)

    @pytest.mark.parametrize("identity", ["01", "04"])
    def test_certificate_request(self, succeed: Succeed, identity: str) -> None:
        """With the RSA key and with the EC key."""
        key = f"pkcs11:token=Alice;id=%{identity};type=private"
        succeed("openssl", "req", "-new", *self.KEY, "-key", key, "-subj", "/CN=Alice", "-out", "request.pem")
        assert "verify OK" in succeed("openssl", "req", "-in", "request.pem", "-verify", "-noout")

    @pytest.mark.parametrize("on", [{"call": "C_Login"}, {"call": "C_SignInit"}, {"ins": 0x87, "nth": 2}], ids=str)
    def test_card_goes(self, simulator: Simulator, run: Run, succeed: Succeed, on: dict[str, Any]) -> None:
        """An error of openssl's, no hang, no crash; good again with the card back."""
        simulator.arm(Trigger("remove", {"reader": "front"}, **on))
        ended = run(*self.sign())
        assert ended.code != 0, ended.output
        assert "error" in ended.output.lower() or "fail" in ended.output.lower(), ended.output
        simulator.insert("front")
        succeed(*self.sign())

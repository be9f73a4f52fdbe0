# SPDX-License-Identifier: MIT
"""OpenSSL through libp11's engine, with keys that were made on the token; what it makes is checked by plain openssl."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.reader.trace import CallEntry, ReturnEntry

pytestmark = pytest.mark.needs("openssl", "pkcs11-tool", "p11tool")

Run = Callable[..., Any]
Succeed = Callable[..., str]
BLANK = CardRequest(profile="blank")
ENGINE = ("-engine", "pkcs11", "-keyform", "engine")
RSA, EC, P384 = (f"pkcs11:token=Alice;id=%{number};type=private" for number in ("01", "02", "03"))
KEY_OF = {"rsa": RSA, "ec": EC, "p384": P384}


@pytest.fixture
def configuration(tmp_path: Path, module: str) -> dict[str, str]:
    """The engine finds the module and the PIN in a configuration file."""
    (tmp_path / "engine.cnf").write_text(
        "openssl_conf = init\n[init]\nengines = engines\n[engines]\npkcs11 = card\n"
        f"[card]\nengine_id = pkcs11\nMODULE_PATH = {module}\nPIN = 123456\ninit = 0\n"
        "[req]\ndistinguished_name = name\nx509_extensions = extensions\n[name]\n"
        "[extensions]\nbasicConstraints = critical,CA:true\nsubjectAltName = DNS:localhost\n"
    )
    (tmp_path / "data").write_bytes(b"a card that can be pulled out")
    return {"OPENSSL_CONF": str(tmp_path / "engine.cnf")}


@pytest.fixture
def engine(run: Run, succeed: Succeed, configuration: dict[str, str]) -> Succeed:
    """openssl with the engine."""
    return lambda *command: succeed("openssl", *command, **configuration)


@pytest.fixture
def keys(blank: Simulator, configuration: dict[str, str], tool: Succeed, public_key: Callable[..., None]) -> None:
    """RSA-2048, P-256 and P-384, made by the card; their public keys in rsa.pub, ec.pub and p384.pub."""
    for number, (name, kind) in enumerate(
        {"rsa": "rsa:2048", "ec": "EC:prime256v1", "p384": "EC:secp384r1"}.items(), 1
    ):
        tool("--keypairgen", "--key-type", kind, "--id", f"0{number}", "--label", name)
        public_key(f"0{number}", f"{name}.pub")


@pytest.fixture
def certificates(keys: None, engine: Succeed) -> None:
    """Of themselves, in rsa.crt and ec.crt."""
    for name in ("rsa", "ec"):
        request = ("req", "-new", "-x509", *ENGINE, "-key", KEY_OF[name], "-subj", f"/CN={name}", "-days", "30")
        engine(*request, "-out", f"{name}.crt")


def sign(key: str, *options: str) -> tuple[str, ...]:
    """A signature of `data` into the file `signature`."""
    return ("dgst", *ENGINE, *(options or ("-sha256",)), "-sign", key, "-out", "signature", "data")


class TestSignatures:
    """openssl dgst."""

    @pytest.mark.parametrize("key", ["rsa", "ec", "p384"])
    @pytest.mark.parametrize("name", ["sha1", "sha256", "sha384", "sha512"])
    def test_signature(self, keys: None, engine: Succeed, succeed: Succeed, key: str, name: str) -> None:
        """PKCS #1 v1.5 and ECDSA."""
        engine(*sign(KEY_OF[key], f"-{name}"))
        verify = ("openssl", "dgst", f"-{name}", "-verify", f"{key}.pub", "-signature", "signature", "data")
        assert "Verified OK" in succeed(*verify)

    @pytest.mark.parametrize("name", ["sha256", "sha512"])
    @pytest.mark.parametrize("salt", ["digest", "max", "20"])
    def test_pss(self, keys: None, engine: Succeed, succeed: Succeed, name: str, salt: str) -> None:
        """With salts of several lengths."""
        pss = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", f"rsa_pss_saltlen:{salt}")
        engine(*sign(RSA, f"-{name}", *pss))
        verify = ("openssl", "dgst", f"-{name}", "-verify", "rsa.pub", *pss, "-signature", "signature", "data")
        assert "Verified OK" in succeed(*verify)


@pytest.mark.parametrize(
    "padding",
    [
        ("rsa_padding_mode:pkcs1",),
        ("rsa_padding_mode:oaep",),
        ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256"),
        ("rsa_padding_mode:oaep", "rsa_oaep_md:sha512", "rsa_mgf1_md:sha512"),
    ],
    ids=" ".join,
)
def test_decryption(keys: None, engine: Succeed, succeed: Succeed, tmp_path: Path, padding: tuple[str, ...]) -> None:
    """What plain openssl encrypts."""
    options = [part for option in padding for part in ("-pkeyopt", option)]
    encrypt = (
        "openssl",
        "pkeyutl",
        "-encrypt",
        "-pubin",
        "-inkey",
        "rsa.pub",
        *options,
        "-in",
        "data",
        "-out",
        "secret",
    )
    succeed(*encrypt)
    engine("pkeyutl", "-decrypt", *ENGINE, "-inkey", RSA, *options, "-in", "secret", "-out", "plain")
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "data").read_bytes()


@pytest.mark.parametrize(("key", "curve"), [("ec", "P-256"), ("p384", "P-384")])
def test_key_agreement(keys: None, engine: Succeed, succeed: Succeed, tmp_path: Path, key: str, curve: str) -> None:
    """Both sides come to the same secret."""
    succeed("openssl", "genpkey", "-algorithm", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", "own.pem")
    succeed("openssl", "pkey", "-in", "own.pem", "-pubout", "-out", "own.pub")
    succeed("openssl", "pkeyutl", "-derive", "-inkey", "own.pem", "-peerkey", f"{key}.pub", "-out", "theirs")
    engine("pkeyutl", "-derive", *ENGINE, "-inkey", KEY_OF[key], "-peerkey", "own.pub", "-out", "ours")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("key", ["rsa", "ec", "p384"])
def test_requests_and_certificates(keys: None, engine: Succeed, succeed: Succeed, key: str) -> None:
    """A certificate of itself, a request, and a certificate issued for the request."""
    own = KEY_OF[key]
    engine("req", "-new", "-x509", *ENGINE, "-key", own, "-subj", "/CN=CA", "-days", "30", "-out", "ca.crt")
    engine("req", "-new", *ENGINE, "-key", EC, "-subj", "/CN=Alice", "-out", "request.pem")
    assert "verify OK" in succeed("openssl", "req", "-in", "request.pem", "-verify", "-noout")
    issue = ("x509", "-req", "-in", "request.pem", "-CA", "ca.crt", "-CAkey", own, "-CAkeyform", "engine")
    engine(*issue, "-engine", "pkcs11", "-CAcreateserial", "-days", "5", "-out", "leaf.crt")
    assert "leaf.crt: OK" in succeed("openssl", "verify", "-CAfile", "ca.crt", "leaf.crt")


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_cms(certificates: None, engine: Succeed, succeed: Succeed, tmp_path: Path, key: str) -> None:
    """Signed with the token and verified without; encrypted without and decrypted with it (RSA, ECDH)."""
    data = (tmp_path / "data").read_bytes()
    signing = ("cms", "-sign", *ENGINE, "-inkey", KEY_OF[key], "-signer", f"{key}.crt", "-in", "data", "-out", "signed")
    engine(*signing, "-binary", "-nodetach")
    verify = ("openssl", "cms", "-verify", "-in", "signed", "-CAfile", f"{key}.crt", "-purpose", "any", "-out", "back")
    succeed(*verify, "-binary")
    assert (tmp_path / "back").read_bytes() == data
    succeed("openssl", "cms", "-encrypt", "-binary", "-in", "data", "-out", "secret", "-aes128", f"{key}.crt")
    decrypt = (
        "cms",
        "-decrypt",
        *ENGINE,
        "-inkey",
        KEY_OF[key],
        "-recip",
        f"{key}.crt",
        "-in",
        "secret",
        "-out",
        "plain",
    )
    engine(*decrypt, "-binary")
    assert (tmp_path / "plain").read_bytes() == data


class TestTls:
    """s_server and s_client, each with its key on the token."""

    def server(self, key: str, port: int, version: str) -> tuple[str, ...]:
        """s_server, which asks for a certificate."""
        own = ("-cert", f"{key}.crt", *ENGINE, "-key", KEY_OF[key], "-CAfile", "ec.crt", "-Verify", "1")
        return ("openssl", "s_server", "-accept", f"127.0.0.1:{port}", *own, f"-{version}", "-www")

    def client(self, key: str, port: int) -> tuple[str, ...]:
        """s_client: one handshake."""
        own = ("-cert", "ec.crt", *ENGINE, "-key", EC, "-CAfile", f"{key}.crt", "-verify_return_error", "-ign_eof")
        return ("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *own)

    @pytest.mark.parametrize("key", ["rsa", "ec"])
    @pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
    def test_handshake(
        self, certificates: None, serve: Any, succeed: Succeed, configuration: Any, port: int, key: str, version: str
    ) -> None:
        """Both verify the other."""
        with serve(port, *self.server(key, port, version), **configuration):
            done = succeed(*self.client(key, port), stdin="GET / HTTP/1.0\r\n\r\n", **configuration)
        assert "Verification: OK" in done
        assert version.upper().replace("TLS1_", "TLSv1.") in done
        assert "200 ok" in done

    def test_card_goes(
        self, blank: Simulator, certificates: None, serve: Any, run: Run, configuration: dict[str, str], port: int
    ) -> None:
        """Out while the server signs: the handshake fails; with the card back a new server serves.

        libp11 0.4.13 then waits for ever in itself, holding the connection, for a session that cannot come; so the
        client gives up, and the server has to be in no call of the module's.
        """
        server, client = self.server("rsa", port, "tls1_3"), self.client("rsa", port)
        with serve(port, *server, **configuration):
            blank.arm(Trigger("remove", {"reader": "front"}, ins=0x87))
            failed = run("timeout", "5", *client, stdin="GET / HTTP/1.0\r\n\r\n", **configuration)
            assert blank.testbed.reader("front").insertion is None
            assert "200 ok" not in failed.output
            entries = blank.testbed.trace.entries()
            assert {each.number for each in entries if isinstance(each, CallEntry)} == {
                each.call for each in entries if isinstance(each, ReturnEntry)
            }
        blank.insert("front", BLANK)
        with serve(port, *server, **configuration):
            assert "200 ok" in run(*client, stdin="GET / HTTP/1.0\r\n\r\n", **configuration).output


@pytest.mark.parametrize("on", [{"call": "C_Login"}, {"call": "C_SignInit"}, {"ins": 0x87, "nth": 2}], ids=str)
def test_card_goes_in_a_call(
    simulator: Simulator, configuration: dict[str, str], engine: Succeed, run: Run, on: dict[str, Any]
) -> None:
    """An error of openssl's, no hang, no crash; good again with the card back."""
    simulator.arm(Trigger("remove", {"reader": "front"}, **on))
    ended = run("openssl", *sign(RSA), **configuration)
    assert ended.code != 0, ended.output
    assert "error" in ended.output.lower() or "fail" in ended.output.lower(), ended.output
    simulator.insert("front")
    engine(*sign(RSA))


def test_card_goes_in_a_signature(tearing: Any, configuration: dict[str, str]) -> None:
    """At every APDU of the login and of the signature."""
    tearing.everywhere("openssl", *sign(RSA), card=CardRequest(), kinds=tearing.USES, **configuration)

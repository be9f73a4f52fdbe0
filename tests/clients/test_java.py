# SPDX-License-Identifier: MIT
"""Java: keytool, and a program (CardClient.java) that goes on while its card comes and goes."""

from __future__ import annotations

import hashlib
import hmac
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..shared.waiting import wait_until

pytestmark = pytest.mark.needs("java", "keytool", "javac", "openssl", "pkcs11-tool")

Run = Callable[..., Any]
Succeed = Callable[..., str]
BLANK = CardRequest(profile="blank")
QUICK = ("-XX:TieredStopAtLevel=1", "-Xshare:auto")
DATA = b"a card that can be pulled out"


@pytest.fixture
def configuration(tmp_path: Path, module: str) -> str:
    """SunPKCS11's configuration file."""
    (tmp_path / "java.cfg").write_text(
        f"name = cardtear\nlibrary = {module}\nslotListIndex = 0\ninsertionCheckInterval = 100\n"  # milliseconds
    )
    return str(tmp_path / "java.cfg")


@pytest.fixture
def keytool_command(configuration: str) -> Callable[..., tuple[str, ...]]:
    """A command line of keytool with the token as its store."""
    token = ("-keystore", "NONE", "-storetype", "PKCS11", "-storepass", "123456")
    provider = ("-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg", configuration)
    quick = tuple(f"-J{option}" for option in QUICK)
    return lambda *options: ("keytool", *quick, *options, *token, *provider)


@pytest.fixture
def keytool(succeed: Succeed, keytool_command: Callable[..., tuple[str, ...]]) -> Succeed:
    """keytool with the token as its store; its output. It looks for primes itself, which may take it a while."""
    return lambda *options: succeed(*keytool_command(*options), deadline=90.0)


KINDS = {
    "rsa": ("-keyalg", "RSA", "-keysize", "2048"),
    "rsa3072": ("-keyalg", "RSA", "-keysize", "3072", "-sigalg", "RSASSA-PSS"),
    "p256": ("-keyalg", "EC", "-groupname", "secp256r1"),
    "p384": ("-keyalg", "EC", "-groupname", "secp384r1"),
}


class TestKeytool:
    """keytool."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_generate(self, blank: Simulator, keytool: Succeed, succeed: Succeed, contents: Any, kind: str) -> None:
        """A key pair and a certificate of itself; a request; gone again."""
        keytool("-genkeypair", "-alias", "made", *KINDS[kind], "-dname", "CN=Java")
        assert "made, PrivateKeyEntry" in keytool("-list")
        keytool("-certreq", "-alias", "made", "-file", "request.pem")
        assert "verify OK" in succeed("openssl", "req", "-in", "request.pem", "-verify", "-noout")
        keytool("-exportcert", "-alias", "made", "-rfc", "-file", "made.pem")
        assert "made.pem: OK" in succeed("openssl", "verify", "-CAfile", "made.pem", "made.pem")
        keytool("-delete", "-alias", "made")
        assert "contains 0 entries" in keytool("-list")
        assert contents().objects.total() == 0

    def test_import(self, blank: Simulator, keytool: Succeed, succeed: Succeed) -> None:
        """A key from a PKCS #12 file, and a trusted certificate's chain."""
        make = ("-genkeypair", "-keystore", "soft.p12", "-storepass", "123456", "-alias", "soft", "-keyalg", "EC")
        succeed("keytool", *make, "-dname", "CN=Soft")
        source = ("-srckeystore", "soft.p12", "-srcstorepass", "123456", "-srcalias", "soft")
        token = ("-destkeystore", "NONE", "-deststoretype", "PKCS11", "-deststorepass", "123456")
        provider = ("-providerClass", "sun.security.pkcs11.SunPKCS11", "-providerArg", "java.cfg")
        succeed("keytool", "-importkeystore", *source, *token, *provider)
        assert "soft, PrivateKeyEntry" in keytool("-list")
        keytool("-changealias", "-alias", "soft", "-destalias", "hard")
        keytool("-certreq", "-alias", "hard", "-file", "request.pem")
        assert "verify OK" in succeed("openssl", "req", "-in", "request.pem", "-verify", "-noout")

    def test_secret_key(self, blank: Simulator, keytool: Succeed) -> None:
        """An AES key."""
        keytool("-genseckey", "-alias", "secret", "-keyalg", "AES", "-keysize", "256")
        assert "secret, SecretKeyEntry" in keytool("-list")

    @pytest.mark.parametrize(("ins", "nth"), [(0xFE, 1), (0xDB, 1), (0xDB, 4), (0x87, 1)])
    def test_card_goes(
        self, blank: Simulator, keytool: Succeed, keytool_command: Any, run: Run, contents: Any, ins: int, nth: int
    ) -> None:
        """While it stores a new key: an error; the key may be there and no certificate yet; the next try succeeds."""
        generate = ("-genkeypair", "-alias", "made", *KINDS["p256"], "-dname", "CN=Java")
        blank.arm(Trigger("remove", {"reader": "front"}, ins=ins, nth=nth))
        ended = run(*keytool_command(*generate))
        assert blank.testbed.reader("front").insertion is None
        assert ended.code != 0
        assert "CKR_" in ended.output or "keytool error" in ended.output, ended.output
        blank.insert("front", BLANK)
        found = contents()
        assert found.objects.total() == found.count("Private Key", "EC", "Usage: sign") <= 1, found
        keytool(*generate)
        assert "made, PrivateKeyEntry" in keytool("-list")


class Client:
    """The Java program; `do` gives it a command."""

    def __init__(self, simulator: Simulator, configuration: str) -> None:
        source = Path(__file__).parent / "CardClient.java"
        self.process = subprocess.Popen(
            ("java", *QUICK, str(source), configuration, "123456"),
            env={**os.environ, **simulator.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *words: str | bytes) -> str:
        """The whole answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(word.hex() if isinstance(word, bytes) else word for word in words) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def do(self, *words: str | bytes) -> str:
        """The results; it has to succeed."""
        answer = self.ask(*words)
        assert answer.split()[:1] == ["ok"], answer
        return answer[3:]

    def data(self, *words: str | bytes) -> bytes:
        """A binary result."""
        return bytes.fromhex(self.do(*words))


@pytest.fixture
def client(simulator: Simulator, configuration: str) -> Iterator[Client]:
    """The program, with the card's key store loaded."""
    client = Client(simulator, configuration)
    yield client
    client.process.kill()
    client.process.communicate()


def public_key(client: Client, alias: str) -> Any:
    """The key of a certificate."""
    return serialization.load_der_public_key(client.data("key", alias))


class TestProgram:
    """Signature, Cipher, KeyAgreement, KeyStore and the rest of the provider."""

    def test_session_objects(self, blank: Simulator, client: Client) -> None:
        """Key pairs, secret keys, digests, MACs and ciphers of the session, each held against Python's."""
        client.do("load")
        spki, signature = (
            bytes.fromhex(part) for part in client.do("pair", "RSA", "2048", "SHA256withRSA", DATA).split()
        )
        rsa_key = serialization.load_der_public_key(spki)
        assert isinstance(rsa_key, rsa.RSAPublicKey)
        rsa_key.verify(signature, DATA, padding.PKCS1v15(), hashes.SHA256())
        spki, signature = (
            bytes.fromhex(part) for part in client.do("pair", "EC", "secp256r1", "SHA256withECDSA", DATA).split()
        )
        ec_key = serialization.load_der_public_key(spki)
        assert isinstance(ec_key, ec.EllipticCurvePublicKey)
        ec_key.verify(signature, DATA, ec.ECDSA(hashes.SHA256()))
        assert client.data("digest", "SHA-256", DATA) == hashlib.sha256(DATA).digest()
        assert client.data("digest", "SHA3-512", DATA) == hashlib.sha3_512(DATA).digest()
        assert client.data("mac", "HmacSHA256", b"k" * 32, DATA) == hmac.digest(b"k" * 32, DATA, "sha256")
        secret = client.data("encrypt", "AES/GCM/NoPadding", b"k" * 16, b"i" * 12, DATA)
        assert AESGCM(b"k" * 16).decrypt(b"i" * 12, secret, None) == DATA
        assert client.do("secret", DATA[:16]) == "true"
        assert len(client.data("random", "16")) == 16

    def test_keys_of_the_token(self, blank: Simulator, keytool: Succeed, client: Client) -> None:
        """Signatures of every kind, decryption, key agreement, deletion."""
        for kind in ("rsa", "p256"):
            keytool("-genkeypair", "-alias", kind, *KINDS[kind], "-dname", "CN=Java")
        assert client.do("load") == "p256 rsa"
        key = public_key(client, "rsa")
        for name, hash_algorithm in (("SHA1", hashes.SHA1()), ("SHA256", hashes.SHA256()), ("SHA512", hashes.SHA512())):
            signature = client.data("sign", "rsa", f"{name}withRSA", DATA)
            key.verify(signature, DATA, padding.PKCS1v15(), hash_algorithm)
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        key.verify(client.data("sign", "rsa", "RSASSA-PSS", DATA), DATA, pss, hashes.SHA256())
        secret = key.encrypt(DATA, padding.PKCS1v15())
        assert client.data("decrypt", "rsa", "RSA/ECB/PKCS1Padding", secret) == DATA
        other = public_key(client, "p256")
        other.verify(client.data("sign", "p256", "SHA384withECDSA", DATA), DATA, ec.ECDSA(hashes.SHA384()))
        own = ec.generate_private_key(ec.SECP256R1())
        spki = own.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        assert client.data("agree", "p256", spki) == own.exchange(ec.ECDH(), other)
        client.do("copy", "rsa", "again")
        assert client.do("load") == "again p256"  # a token's key has one name: it has been renamed
        client.do("delete", "p256")
        assert client.do("load") == "again"

    @pytest.mark.parametrize("noticed", [True, False])
    def test_card_goes_and_comes(self, blank: Simulator, keytool: Succeed, client: Client, noticed: bool) -> None:
        """In one running program: an error in the signature; loaded again when the card is back, all is well.

        Java finds its dead session, gives the token up, and looks for a new one in a thread of its own.
        """
        keytool("-genkeypair", "-alias", "rsa", *KINDS["rsa"], "-dname", "CN=Java")
        client.do("load")
        blank.arm(Trigger("remove", {"reader": "front"}, ins=0x87))
        assert client.ask("sign", "rsa", "SHA256withRSA", DATA).startswith("error")
        assert blank.testbed.reader("front").insertion is None
        if noticed:
            assert client.ask("sign", "rsa", "SHA256withRSA", DATA).startswith("error")
            assert client.ask("load").startswith("error")
        blank.insert("front", BLANK)
        wait_until(lambda: client.ask("load") == "ok rsa")
        signature = client.data("sign", "rsa", "SHA256withRSA", DATA)
        public_key(client, "rsa").verify(signature, DATA, padding.PKCS1v15(), hashes.SHA256())

# SPDX-License-Identifier: MIT
"""OpenSC's pkcs11-tool: lists, reads, signs and decrypts, checked by openssl; and loses its card."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.simulator.trigger import Trigger
from cardtear.reader.trace import CallEntry

from ..shared.waiting import wait_until

pytestmark = pytest.mark.needs("pkcs11-tool", "openssl")

Run = Callable[..., Any]
Succeed = Callable[..., str]
PIN = ("--login", "--pin", "123456")
HASHES = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512")


def digest(data: bytes, name: str) -> bytes:
    """A hash, by Python."""
    import hashlib

    return hashlib.new(name.lower(), data).digest()


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    """Some data, also in the file `data`."""
    content = b"a card that can be pulled out"
    (tmp_path / "data").write_bytes(content)
    return content


def public_key(succeed: Succeed, module: str, identity: str) -> None:
    """The public key of a certificate, into the file `key.pem`."""
    succeed("pkcs11-tool", "--module", module, "-r", "-y", "cert", "-d", identity, "-o", "cert.der")
    succeed("openssl", "x509", "-inform", "DER", "-in", "cert.der", "-pubkey", "-noout", "-out", "key.pem")


def test_lists(succeed: Succeed, module: str) -> None:
    """Slots, mechanisms, objects, before and after login."""
    assert "token label        : Alice" in succeed("pkcs11-tool", "--module", module, "-L")
    mechanisms = succeed("pkcs11-tool", "--module", module, "-M")
    for name in ("RSA-PKCS-PSS", "RSA-PKCS-OAEP", "ECDSA-SHA256", "ECDH1-DERIVE", "SHA512"):
        assert name in mechanisms
    public = succeed("pkcs11-tool", "--module", module, "-O")
    assert public.count("Certificate Object") == 4
    assert public.count("Private Key Object") == 1
    assert succeed("pkcs11-tool", "--module", module, "-O", *PIN).count("Private Key Object") == 4


@pytest.mark.parametrize("mechanism", ["RSA-PKCS", *(f"{name}-RSA-PKCS" for name in HASHES)])
def test_rsa_signatures(succeed: Succeed, module: str, data: bytes, mechanism: str) -> None:
    """PKCS #1 v1.5, raw and hashed by the token."""
    public_key(succeed, module, "01")
    sign = ("pkcs11-tool", "--module", module, *PIN, "-s", "-d", "01", "-m", mechanism, "-i", "data", "-o", "signature")
    succeed(*sign)
    if mechanism == "RSA-PKCS":
        verify = (
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "key.pem",
            "-in",
            "data",
            "-sigfile",
            "signature",
        )
        succeed(*verify)
    else:
        name = mechanism.split("-")[0].lower()
        succeed("openssl", "dgst", f"-{name}", "-verify", "key.pem", "-signature", "signature", "data")


def test_raw_rsa_signature(succeed: Succeed, module: str, tmp_path: Path) -> None:
    """RSA-X-509: a whole block."""
    public_key(succeed, module, "01")
    block = b"\x00\x01" + b"\xff" * 200 + b"\x00" + b"x" * 53
    (tmp_path / "block").write_bytes(block)
    sign = (
        "pkcs11-tool",
        "--module",
        module,
        *PIN,
        "-s",
        "-d",
        "01",
        "-m",
        "RSA-X-509",
        "-i",
        "block",
        "-o",
        "signature",
    )
    succeed(*sign)
    recover = ("openssl", "pkeyutl", "-verifyrecover", "-pubin", "-inkey", "key.pem", "-in", "signature")
    succeed(*recover, "-pkeyopt", "rsa_padding_mode:none", "-out", "recovered")
    assert (tmp_path / "recovered").read_bytes() == block


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("raw", [False, True])
def test_pss_signatures(succeed: Succeed, module: str, data: bytes, tmp_path: Path, name: str, raw: bool) -> None:
    """Hashed by the token, and with a hash that the application brings."""
    public_key(succeed, module, "01")
    (tmp_path / "hash").write_bytes(digest(data, name))
    mechanism = "RSA-PKCS-PSS" if raw else f"{name}-RSA-PKCS-PSS"
    hashing = "SHA-1" if name == "SHA1" else name
    parameters = ("--hash-algorithm", hashing, "--mgf", f"MGF1-{name}") if raw else ()
    source = "hash" if raw else "data"
    sign = ("pkcs11-tool", "--module", module, *PIN, "-s", "-d", "01", "-m", mechanism, *parameters)
    succeed(*sign, "-i", source, "-o", "signature")
    options = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-2")
    succeed("openssl", "dgst", f"-{name.lower()}", *options, "-verify", "key.pem", "-signature", "signature", "data")


@pytest.mark.parametrize("mechanism", ["ECDSA", *(f"ECDSA-{name}" for name in HASHES)])
def test_ecdsa_signatures(succeed: Succeed, module: str, data: bytes, tmp_path: Path, mechanism: str) -> None:
    """Raw and hashed by the token, with the key that needs no PIN each time."""
    public_key(succeed, module, "04")
    name = mechanism.partition("-")[2] or "SHA256"
    (tmp_path / "hash").write_bytes(digest(data, name))
    source = "hash" if mechanism == "ECDSA" else "data"
    sign = ("pkcs11-tool", "--module", module, *PIN, "-s", "-d", "04", "-m", mechanism, "--signature-format", "openssl")
    succeed(*sign, "-i", source, "-o", "signature")
    succeed("openssl", "dgst", f"-{name.lower()}", "-verify", "key.pem", "-signature", "signature", "data")


@pytest.mark.parametrize(
    ("mechanism", "encrypting", "decrypting"),
    [
        ("RSA-PKCS", ("rsa_padding_mode:pkcs1",), ()),
        ("RSA-PKCS-OAEP", ("rsa_padding_mode:oaep",), ("--hash-algorithm", "SHA-1", "--mgf", "MGF1-SHA1")),
        (
            "RSA-PKCS-OAEP",
            ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"),
            ("--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA256"),
        ),
        (
            "RSA-PKCS-OAEP",
            ("rsa_padding_mode:oaep", "rsa_oaep_md:sha512", "rsa_mgf1_md:sha512"),
            ("--hash-algorithm", "SHA512", "--mgf", "MGF1-SHA512"),
        ),
    ],
)
def test_decryption(
    succeed: Succeed,
    module: str,
    data: bytes,
    tmp_path: Path,
    mechanism: str,
    encrypting: tuple[str, ...],
    decrypting: tuple[str, ...],
) -> None:
    """What openssl encrypts with the certificate's key, the card decrypts."""
    public_key(succeed, module, "03")
    options = [part for option in encrypting for part in ("-pkeyopt", option)]
    encrypt = ("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", "key.pem", "-in", "data", "-out", "secret")
    succeed(*encrypt, *options)
    decrypt = ("pkcs11-tool", "--module", module, *PIN, "--decrypt", "-d", "03", "-m", mechanism, *decrypting)
    succeed(*decrypt, "-i", "secret", "-o", "plain")
    assert (tmp_path / "plain").read_bytes() == data


def test_key_agreement(simulator: Simulator, succeed: Succeed, module: str, tmp_path: Path) -> None:
    """ECDH with a fresh key of openssl's: both sides come to the same secret."""
    simulator.swap("front", CardRequest(profile="piv-ec"))
    public_key(succeed, module, "03")
    succeed("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "own.pem")
    succeed("openssl", "pkey", "-in", "own.pem", "-pubout", "-outform", "DER", "-out", "own.der")
    succeed("openssl", "pkeyutl", "-derive", "-inkey", "own.pem", "-peerkey", "key.pem", "-out", "theirs")
    derive = ("pkcs11-tool", "--module", module, *PIN, "--derive", "-d", "03", "-m", "ECDH1-DERIVE", "-i", "own.der")
    succeed(*derive, "-o", "ours")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_own_tests(succeed: Succeed, module: str) -> None:
    """--test, --test-fork, --test-threads; the last sleeps for half a minute when its thread is not done in time."""
    assert "No errors" in succeed("pkcs11-tool", "--module", module, "--test", *PIN)
    forked = succeed("pkcs11-tool", "--module", module, "--test-fork", *PIN)
    assert "error" not in forked.lower()
    threads = succeed("pkcs11-tool", "--module", module, "--test-threads", "ILGISLT0", deadline=70)
    assert "error" not in threads.lower()


def test_hotplug(simulator: Simulator, module: str, tmp_path: Path) -> None:
    """--test-hotplug looks at the slots, then waits for events; it is fed a removal, an insertion and a reader."""
    process = subprocess.Popen(
        ("pkcs11-tool", "--module", module, "--test-hotplug"),
        env={**os.environ, **simulator.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )

    def press(keys: str, call: str, count: int) -> None:
        """Press keys, and wait until a function has been called so many times."""
        assert process.stdin is not None
        process.stdin.write(keys)
        process.stdin.flush()

        def is_called() -> bool:
            assert process.poll() is None
            calls = [each for each in simulator.testbed.trace.entries() if isinstance(each, CallEntry)]
            return sum(each.name == call for each in calls) >= count

        wait_until(is_called, f"{call} number {count}")

    try:
        press("\n", "C_GetTokenInfo", 1)
        simulator.remove("front")
        press("\n", "C_GetSlotInfo", 2)
        press("x\n\n", "C_WaitForSlotEvent", 1)
        press("\n", "C_WaitForSlotEvent", 2)
        simulator.insert("front")
        press("\n", "C_WaitForSlotEvent", 3)
        simulator.plug("second")
        output, _ = process.communicate("x\n" * 5, timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert "(empty)" in output
    assert "second" in output


SIGN = (*PIN, "-s", "-d", "01", "-m", "SHA256-RSA-PKCS", "-i", "data", "-o", "signature")


@pytest.mark.parametrize(
    "on",
    [
        {"call": "C_OpenSession"},
        {"call": "C_Login"},
        {"ins": 0x20},
        {"call": "C_FindObjects"},
        {"call": "C_SignInit"},
        {"ins": 0x87},
        {"ins": 0x87, "nth": 2},
        {"ins": 0xC0, "when": "after"},
    ],
    ids=str,
)
def test_card_goes(
    simulator: Simulator, run: Run, succeed: Succeed, module: str, data: bytes, on: dict[str, object]
) -> None:
    """A clear error, no hang, no crash; and the next signature with the card back is good."""
    simulator.arm(Trigger("remove", {"reader": "front"}, **on))  # type: ignore[arg-type]
    ended = run("pkcs11-tool", "--module", module, *SIGN)
    assert ended.code != 0
    assert "CKR_" in ended.output or "No slot" in ended.output or "not found" in ended.output, ended.output
    simulator.insert("front")
    succeed("pkcs11-tool", "--module", module, *SIGN)
    public_key(succeed, module, "01")
    succeed("openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "data")

# SPDX-License-Identifier: MIT
"""Ready-made cards: their certificates, their differences, and what is said of a request that cannot be met."""

from __future__ import annotations

import datetime
import functools
import operator
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import atr as answers
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.image.state import Reference, StoredKey
from cardtear.card.image.store import ImageExists, read_image
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import (
    PROFILES,
    CardRequest,
    ProfileError,
    create,
    foreign_card,
    ready_image,
    request,
)
from cardtear.card.tables import SLOTS
from cardtear.card.token_traits import Traits
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

KEYS = {
    "piv": {0x9A: 2048, 0x9C: "secp256r1", 0x9D: 2048, 0x9E: "secp256r1"},
    "piv-ec": {0x9A: "secp256r1", 0x9C: "secp384r1", 0x9D: "secp256r1", 0x9E: "secp256r1"},
}
IN_PIV_CARDS = ("piv", "piv-ec")
PIV_SLOTS = (0x9A, 0x9C, 0x9D, 0x9E)


def certificate(terminal: Any, slot: int) -> x509.Certificate:
    return x509.load_der_x509_certificate(terminal.certificate(SLOTS[slot].certificate))


def extension(of: x509.Certificate, kind: Any) -> Any:
    return of.extensions.get_extension_for_class(kind)


@pytest.mark.parametrize("profile", KEYS)
def test_algorithms(new_card: Callable[..., PivCard], power: Callable[..., Any], profile: str) -> None:
    terminal = power(new_card(profile))
    found: dict[int, int | str] = {}
    for slot in PIV_SLOTS:
        public = certificate(terminal, slot).public_key()
        assert isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        found[slot] = public.key_size if isinstance(public, rsa.RSAPublicKey) else public.curve.name
    assert found == KEYS[profile]


@pytest.mark.parametrize("slot", PIV_SLOTS)
@pytest.mark.parametrize("profile", IN_PIV_CARDS)
def test_certificates(
    new_card: Callable[..., PivCard], power: Callable[..., Any], ca: TestCA, profile: str, slot: int
) -> None:
    found = certificate(power(new_card(profile, name="Zoë Ångström", email="zoe@example.org")), slot)
    found.verify_directly_issued_by(ca.certificate)
    assert found.not_valid_before_utc < datetime.datetime.now(datetime.UTC)
    assert extension(found, x509.BasicConstraints).value == x509.BasicConstraints(ca=False, path_length=None)
    own = x509.SubjectKeyIdentifier.from_public_key(found.public_key())  # type: ignore[arg-type]
    assert extension(found, x509.SubjectKeyIdentifier).value == own
    issuers = extension(ca.certificate, x509.SubjectKeyIdentifier).value.digest
    assert extension(found, x509.AuthorityKeyIdentifier).value.key_identifier == issuers


def test_purposes(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    """One certificate is for TLS clients, so that a browser has no choice to make."""
    for profile in IN_PIV_CARDS:
        terminal = power(new_card(profile))
        usages = {slot: extension(certificate(terminal, slot), x509.KeyUsage).value for slot in PIV_SLOTS}
        assert [slot for slot in PIV_SLOTS if usages[slot].digital_signature] == [0x9A, 0x9C, 0x9E]
        assert [slot for slot in PIV_SLOTS if usages[slot].content_commitment] == [0x9C]
        assert usages[0x9D].key_encipherment is (profile == "piv")
        assert usages[0x9D].key_agreement is (profile == "piv-ec")
        clients = [
            slot
            for slot in PIV_SLOTS
            if ExtendedKeyUsageOID.CLIENT_AUTH in extension(certificate(terminal, slot), x509.ExtendedKeyUsage).value
        ]
        assert clients == [0x9A]


def test_openssl_accepts_the_certificate_of_a_client(
    new_card: Callable[..., PivCard], power: Callable[..., Any], ca: TestCA, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem())
    (tmp_path / "client.der").write_bytes(power(new_card()).certificate(0x5FC105))
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "client.der"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert result.stdout == "client.der: OK\n", result.stderr


def test_cards_of_two_people_have_nothing_in_common(
    new_card: Callable[..., PivCard], power: Callable[..., Any]
) -> None:
    terminals = [power(new_card("piv-ec", name=name)) for name in ("Alice", "Bob")]
    for slot in PIV_SLOTS:
        first, second = (certificate(terminal, slot) for terminal in terminals)
        assert first.public_key() != second.public_key()
        assert first.serial_number != second.serial_number
    first, second = (terminal.command(0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC102"))[0] for terminal in terminals)
    assert first != second


def test_a_serial_that_was_asked_for(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    card = new_card("blank", serial="C0FFEE")
    assert card.store.state.serial == bytes.fromhex("0000000000C0FFEE")
    terminal = power(card)
    chuid, _ = terminal.command(0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC102"))
    assert dict(tlv.decode(tlv.read(chuid)[1]))[0x34].endswith(bytes.fromhex("0000000000C0FFEE"))


def test_pin_and_puk_that_were_asked_for(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank", pin="98765432", puk="secret"))
    assert terminal.verify(b"98765432") == 0x9000
    assert terminal.command(0x2C, 0, 0x80, b"secret\xff\xff123456\xff\xff")[1] == 0x9000
    assert terminal.verify() == 0x9000


ATRS = {
    answers.PIV["both"]: [0, 1],
    answers.PIV["t0"]: [0],
    answers.PIV["t1"]: [1],
    answers.YUBIKEY: [1],
    answers.FOREIGN: [1],
}


@pytest.mark.parametrize("atr", ATRS, ids=bytes.hex)
def test_atr(atr: bytes) -> None:
    """ISO/IEC 7816-3, 8.2: the interface bytes as announced, as many historical bytes, and the check character."""
    assert atr[0] == 0x3B
    at, more, protocols = 2, atr[1] >> 4, []
    while more:
        at += (more & 7).bit_count()
        if not more & 8:
            break
        if atr[at] & 0xF not in protocols:
            protocols.append(atr[at] & 0xF)
        more, at = atr[at] >> 4, at + 1
    has_check = protocols != [0]
    assert len(atr) == at + (atr[1] & 0xF) + has_check
    assert len(atr) <= 33
    assert not has_check or functools.reduce(operator.xor, atr[1:]) == 0
    assert protocols == ATRS[atr] == list(answers.protocols(atr))


def test_an_unrecognised_card(power: Callable[..., Any]) -> None:
    card = foreign_card("Mystery")
    terminal = power(card, select=False)
    assert card.name == "Mystery"
    assert terminal.activation.atr == answers.FOREIGN
    assert terminal.send("00A4040009A00000030800001000") == (b"", 0x6A82)
    assert terminal.send("00CB3FFF055C035FC10200") == (b"", 0x6D00)
    assert terminal.send("0020008008313233343536FFFF") == (b"", 0x6D00)
    assert terminal.send("00") == (b"", 0x6700)


BAD_REQUESTS: list[tuple[dict[str, object], str]] = [
    ({"profile": "pvi"}, "there is no profile 'pvi'; did you mean 'piv'? there are: piv, piv-ec, piv-full"),
    ({"pin": "12345"}, "6 to 8 digits"),
    ({"global_pin": "12345"}, "6 to 8 digits"),
    ({"primary_pin": "global"}, "without a global PIN"),
    ({"primary_pin": "puk"}, "one of piv, global"),
    ({"protocol": "t15"}, "one of both, t0, t1"),
    ({"objects": "none"}, "one of few, full"),
    ({"compressed": "yes"}, "true or false"),
    ({"management_algorithm": "des"}, "one of tdes, aes128, aes192, aes256"),
    ({"management": "so", "management_algorithm": "aes256"}, "24 bytes: tdes or aes192"),
    ({"firmware": "5.7.1"}, "a card of profile 'piv' tells no firmware"),
    ({"profile": "yubikey", "firmware": "4.3.7"}, "a version from 5.0.0"),
    ({"profile": "yubikey", "firmware": "5.7.256"}, "a version from 5.0.0"),
    ({"profile": "yubikey", "firmware": "5.7"}, "a version from 5.0.0"),
    ({"profile": "yubikey", "firmware": "5.2.7", "management_algorithm": "aes192"}, "no management keys of AES"),
    ({"warm_atr": "3B"}, "2 to 33 bytes"),
    ({"warm_atr": "3BXX"}, "2 to 33 bytes"),
    ({"pin": "123456789"}, "6 to 8 digits"),
    ({"pin": "12345a"}, "6 to 8 digits"),
    ({"pin": "١٢٣٤٥٦"}, "6 to 8 digits"),
    ({"pin": ""}, "6 to 8 digits"),
    ({"puk": "12345"}, "6 to 8 characters"),
    ({"puk": "123456789"}, "6 to 8 characters"),
    ({"puk": "12345é"}, "6 to 8 characters"),
    ({"puk": "123456\n"}, "6 to 8 characters"),
    ({"name": ""}, "not a name"),
    ({"name": " Alice"}, "not a name"),
    ({"name": "A\nlice"}, "not a name"),
    ({"name": "\ud800"}, "not a name"),
    ({"name": "x" * 33}, "not a name"),
    ({"email": "alice"}, "not an e-mail address"),
    ({"email": "alice@bücher.example"}, "not an e-mail address"),
    ({"serial": "xyz"}, "not a serial number"),
    ({"serial": "0" * 17}, "not a serial number"),
    ({"serial": ""}, "not a serial number"),
    ({"pni": "123456"}, "no parameter 'pni'"),
    ({"pin": 123456}, "is a string"),
    ({"pin_min": 3}, "whole number from 4 to 8"),
    ({"pin_min": True}, "whole number from 4 to 8"),
    ({"pin_min": 7, "pin_max": 6, "pin": "123456"}, "at least 7 and at most 6"),
    ({"pin_min": 8}, "a PIN has 8 digits"),
    ({"pin_min": 4, "pin_max": 5}, "a PIN has 4 to 5 digits"),
    ({"pin_format": "hex", "pin": "abcdefg"}, "6 to 8 hexadecimal digits"),
    ({"pin_format": "any", "pin": "pässword"}, "digits or other ASCII"),
    ({"pin_format": "octal"}, "one of digits, any, hex"),
    ({"pin_tries": 0}, "whole number from 1 to 15"),
    ({"puk_tries": 16}, "whole number from 1 to 15"),
    ({"pin_left": -1}, "whole number from 0 to 15"),
    ({"pin_left": 4}, "4 tries left of 3"),
    ({"puk_left": 6, "puk_tries": 5}, "6 tries left of 5"),
    ({"capacity": -1}, "whole number"),
    ({"capacity": "1000"}, "whole number"),
    ({"management": "user"}, "one of pin, derived, so, default, none"),
    ({"read_only": 1}, "true or false"),
    ({"pin_pad_timeout": 0}, "seconds"),
    ({"pin_pad_timeout": float("nan")}, "seconds"),
    ({"pin_pad_timeout": 10**400}, "seconds"),
    ({"mechanisms": "CKM_RSA_PKCS"}, "list of names"),
    ({"mechanisms": ["RSA"]}, "list of names"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD_REQUESTS)
def test_a_request_that_cannot_be_met(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        request(parameters)
    assert message in str(caught.value)


@pytest.mark.parametrize("profile", ["blank", "piv-ec"])
def test_a_capacity_that_is_too_little(tmp_path: Path, ca: TestCA, profile: str) -> None:
    """Says how much does; with that there is a card, however its keys turn out."""
    for capacity in (0, 10, 200):
        with pytest.raises(
            ProfileError, match=rf"'capacity' {capacity} is too little: .* give at least \d+$"
        ) as caught:
            create(CardRequest(profile, capacity=capacity), tmp_path / "little.card", ca)
        least = int(str(caught.value).split()[-1])
        assert not list(tmp_path.iterdir())
    create(CardRequest(profile, capacity=least), tmp_path / "least.card", ca)
    assert least - 200 <= read_image(tmp_path / "least.card").used <= least


def test_the_message_about_a_pin_does_not_show_it() -> None:
    for secret in ({"pin": "47114711x"}, {"puk": "47114711x"}, {"pin": 4711}, {"puk": 4711}):
        with pytest.raises(ProfileError) as caught:
            request(dict(secret))
        assert "4711" not in str(caught.value)


@pytest.mark.parametrize("name", ["Zoë", "李雷", "O'Neill-Łukasz", "!"])
def test_every_name_gets_an_address(name: str) -> None:
    address = CardRequest(name=name).address
    assert address.isascii()
    assert address.endswith("@example.com")
    assert not address.startswith("@")


@pytest.mark.parametrize("profile", ["piv-ec", "blank"])
def test_a_ready_image_is_made_once(tmp_path: Path, ca: TestCA, profile: str) -> None:
    first = ready_image(CardRequest(profile), tmp_path / "cache", ca)
    made = first.stat().st_ino
    assert ready_image(CardRequest(profile), tmp_path / "cache", ca) == first
    assert first.stat().st_ino == made
    others = [CardRequest(profile, name="Bob"), CardRequest(profile, pin="654321"), CardRequest(profile, serial="1")]
    assert len({first, *(ready_image(other, tmp_path / "cache", ca) for other in others)}) == 4
    assert ready_image(CardRequest(profile), tmp_path / "cache", TestCA.create()) != first
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert all(each.suffix == ".card" for each in (tmp_path / "cache").iterdir())


MAKE = """
import hashlib, sys
from pathlib import Path
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, open_card, ready_image
folder = Path(sys.argv[1])
sys.stdin.read()
ca = TestCA.load_or_create(folder / "ca")
image = ready_image(CardRequest("piv-ec"), folder / "cache", ca)
print(hashlib.sha256(ca.certificate_pem()).hexdigest(), image, hashlib.sha256(image.read_bytes()).hexdigest())
"""


def test_several_processes_make_the_same_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAKE, str(tmp_path)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    results = {process.communicate(timeout=60)[0] for process in processes}
    assert len(results) == 1
    assert results.pop()
    assert sorted(os.listdir(tmp_path)) == ["ca", "cache"]
    assert len(os.listdir(tmp_path / "cache")) == 1


def test_create(tmp_path: Path, ca: TestCA) -> None:
    path = tmp_path / "mine.card"
    create(CardRequest("blank"), path, ca)
    with pytest.raises(ImageExists, match="already"):
        create(CardRequest("blank"), path, ca)
    with pytest.raises(ProfileError, match="no image"):
        create(CardRequest("unrecognised"), tmp_path / "other.card", ca)
    assert os.listdir(tmp_path) == ["mine.card"]


def test_a_request_is_made_of_the_profile_and_the_parameters() -> None:
    assert CardRequest("initial-pin").pin == "9999"
    assert CardRequest("initial-pin", pin="4711").pin == "4711"
    assert CardRequest("read-only").read_only
    assert not CardRequest("read-only", read_only=False).read_only
    assert CardRequest("read-only", read_only=False).encode() == CardRequest().encode() == b"{}"
    assert CardRequest(mechanisms=["CKM_ECDSA"]) == CardRequest(mechanisms=("CKM_ECDSA",))
    assert hash(CardRequest(mechanisms=["CKM_ECDSA"])) != hash(CardRequest())


PROFILE_TRAITS = {
    "piv": Traits(),
    "uninitialised": Traits(uninitialised=True, pin_initialised=False),
    "initial-pin": Traits(pin_min=4),
    "read-only": Traits(read_only=True),
    "single-session": Traits(single_session=True),
    "pin-pad": Traits(pin_pad=True),
    "no-generation": Traits(key_generation=False),
    "private": Traits(public_objects=False),
}


@pytest.mark.parametrize("profile", PROFILE_TRAITS)
def test_a_card_tells_its_traits(new_card: Callable[..., PivCard], power: Callable[..., Any], profile: str) -> None:
    card = new_card(profile, management="pin")
    answer, status = power(card).command(0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FFF21"))
    assert status == (0x6A82 if profile == "piv" else 0x9000)
    assert Traits.decode(tlv.read(answer)[1] if answer else None) == PROFILE_TRAITS[profile]
    assert bool(card.store.state.keys.keys() - {0x9B}) is bool(PROFILES[profile].keys)


def test_profiles_say_what_they_are() -> None:
    assert {"piv", "piv-ec", "blank", "unrecognised"} < set(PROFILES)
    assert all(profile.about for profile in PROFILES.values())


def test_the_ca_is_private_and_stays_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "ca"
    first, second = TestCA.load_or_create(folder), TestCA.load_or_create(folder)
    assert first.certificate == second.certificate
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert x509.load_pem_x509_certificate(first.certificate_pem()) == first.certificate
    first.certificate.verify_directly_issued_by(first.certificate)
    usage = first.certificate.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE).value
    assert isinstance(usage, x509.KeyUsage)
    assert usage.key_cert_sign


def test_a_server_certificate(tmp_path: Path, ca: TestCA) -> None:
    key, chain = ca.issue_server("localhost")
    found = x509.load_pem_x509_certificate(chain)
    found.verify_directly_issued_by(ca.certificate)
    assert b"PRIVATE KEY" in key
    assert extension(found, x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["localhost"]


def test_nothing_shows_a_secret() -> None:
    """Whoever prints it: a log, or the report of a test that fails."""
    request = CardRequest(name="Bob", pin="246813", puk="13572468", global_pin="975310")
    shown = f"{request!r} {Reference(b'246813', 3, 3)!r} {StoredKey(0x03, b'246813')!r}"
    assert "Bob" in shown
    assert not any(secret in shown for secret in ("246813", "13572468", "975310"))

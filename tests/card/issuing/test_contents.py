# SPDX-License-Identifier: MIT
"""What is in PIV's data objects when all are there: well formed, signed, of sizes as on real cards."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import struct
import subprocess
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing import cms
from cardtear.card.issuing.ca import TestCA
from cardtear.card.tables import PIV_OBJECTS, SELF_TAGGED, SLOTS, Access
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

CHUID, FINGERPRINTS, SECURITY_OBJECT, FACE, PRINTED, KEY_HISTORY = (0x5FC100 + n for n in (2, 3, 6, 8, 9, 0x0C))
IRISES, SIGNER, PAIRING_CODE = 0x5FC121, 0x5FC122, 0x5FC123
MOST = {
    0x5FC107: 287,
    CHUID: 3377,
    FINGERPRINTS: 4006,
    SECURITY_OBJECT: 1336,
    FACE: 12710,
    PRINTED: 245,
    0x7E: 19,
    KEY_HISTORY: 128,
    IRISES: 7106,
    0x7F61: 65,
    SIGNER: 2471,
    PAIRING_CODE: 12,
}
"""Bytes (SP 800-73-5 part 1, table 8)."""


def tag_list(tag: int) -> bytes:
    return tlv.encode(0x5C, tag.to_bytes((tag.bit_length() + 7) // 8, "big"))


def read(terminal: Any, tag: int) -> bytes:
    """What is in the object."""
    answer, status = terminal.command(0xCB, 0x3F, 0xFF, tag_list(tag))
    assert status == 0x9000
    found, value, end = tlv.read(answer)
    assert (found, end) == (tag if tag in SELF_TAGGED else 0x53, len(answer))
    return value


@pytest.fixture
def full(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> Any:
    """A card with everything, the PIN verified."""
    terminal = power(new_card("piv-full", name="Zoë", management="pin"))
    assert terminal.verify() == 0x9000
    return terminal


def verified(
    ca: TestCA, folder: Path, signature: bytes, content: bytes | None, certificate: bytes | None = None
) -> bytes:
    """The content that OpenSSL finds rightly signed by somebody whom the test CA knows."""
    (folder / "ca.pem").write_bytes(ca.certificate_pem())
    (folder / "signature.der").write_bytes(signature)
    command = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "signature.der", "-CAfile", "ca.pem"]
    command += ["-purpose", "any", "-binary", "-out", "content"]
    if content is not None:
        (folder / "signed").write_bytes(content)
        command += ["-content", "signed"]
    if certificate is not None:
        pem = x509.load_der_x509_certificate(certificate)
        (folder / "signer.pem").write_bytes(pem.public_bytes(Encoding.PEM))
        command += ["-certfile", "signer.pem"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return (folder / "content").read_bytes()


def test_every_object_is_there(full: Any) -> None:
    for tag, most in MOST.items():
        assert 0 < len(read(full, tag)) <= most, f"{tag:X}"
    for slot in SLOTS.values():
        der = full.certificate(slot.certificate)
        x509.load_der_x509_certificate(der)
        assert len(der) < 1856
    assert PIV_OBJECTS.keys() == MOST.keys() | {slot.certificate for slot in SLOTS.values()}


def test_which_of_them_ask_for_the_pin(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("piv-full"))
    for tag, rules in PIV_OBJECTS.items():
        status = terminal.command(0xCB, 0x3F, 0xFF, tag_list(tag))[1]
        assert status == (0x6982 if rules.read is Access.PIN else 0x9000), rules.name
    wanted = {FINGERPRINTS, FACE, PRINTED, IRISES, PAIRING_CODE}
    assert {tag for tag, rules in PIV_OBJECTS.items() if rules.read is Access.PIN} == wanted


def test_which_of_them_can_be_read_without_contacts(
    new_card: Callable[..., PivCard], power: Callable[..., Any]
) -> None:
    """SP 800-73-5 part 1, table 2: the others want a virtual contact interface, which is not there."""
    terminal = power(new_card("piv-full"), is_contactless=True)
    answers = {tag: terminal.command(0xCB, 0x3F, 0xFF, tag_list(tag))[1] for tag in PIV_OBJECTS}
    always = {CHUID, 0x5FC101, 0x7E, 0x7F61, SIGNER}
    assert answers == {tag: 0x9000 if tag in always else 0x6982 for tag in PIV_OBJECTS}


@pytest.mark.parametrize("profile", ["piv", "piv-full"])
def test_chuid(
    new_card: Callable[..., PivCard], power: Callable[..., Any], ca: TestCA, tmp_path: Path, profile: str
) -> None:
    """The signature is over all fields but itself, and brings the signer's certificate."""
    fields = tlv.decode(read(power(new_card(profile)), CHUID))
    assert [tag for tag, _ in fields] == [0x30, 0x34, 0x35, 0x3E, 0xFE]
    found = dict(fields)
    assert (len(found[0x30]), len(found[0x34]), found[0xFE]) == (25, 16, b"")
    assert uuid.UUID(bytes=found[0x34]).version == 4
    assert datetime.datetime.strptime(found[0x35].decode(), "%Y%m%d").date() > datetime.date.today()
    signed = b"".join(tlv.encode(tag, value) for tag, value in fields if tag != 0x3E)
    assert len(pkcs7.load_der_pkcs7_certificates(found[0x3E])) == 1
    assert verified(ca, tmp_path, found[0x3E], signed) == signed
    with pytest.raises(AssertionError, match="verification failure"):
        verified(ca, tmp_path, found[0x3E], signed + b"\0")


A_DAY = datetime.timedelta(days=1)


def day(moment: bytes) -> str:
    """Midnight of a day: numbers, one in each byte, and a Z (SP 800-76-2, table 14)."""
    assert moment[4:] == b"\0\0\0Z"
    return "".join(f"{number:02}" for number in moment[:4])


@pytest.mark.parametrize(
    ("tag", "magic", "kind"),
    [
        (FINGERPRINTS, b"FMR\0 20\0", bytes.fromhex("001B0201")),
        (FACE, b"FAC\x00010\0", bytes.fromhex("001B0501")),
        (IRISES, b"IIR\x00020\0", bytes.fromhex("01010009")),
    ],
)
def test_biometric_data(full: Any, ca: TestCA, tmp_path: Path, tag: int, magic: bytes, kind: bytes) -> None:
    """CBEFF (SP 800-76-2, table 14): header, record, signature over both, which names card and holder."""
    fields = dict(tlv.decode(read(full, tag)))
    assert fields.keys() == {0xBC, 0xFE}
    structure = fields[0xBC]
    version, options, record_length, signature_length = struct.unpack(">BBIH", structure[:8])
    assert (version, options, structure[8:12]) == (3, 0x0D, kind)
    created, begin, end = (structure[at : at + 8] for at in (12, 20, 28))
    assert created == begin
    chuid = dict(tlv.decode(read(full, CHUID)))
    assert (day(end), structure[41:59].rstrip(b"\0")) == (chuid[0x35].decode(), b"cardtear")
    assert datetime.timedelta(0) <= datetime.date.today() - datetime.date.fromisoformat(day(created)) <= A_DAY
    assert len(structure) == 88 + record_length + signature_length
    record = structure[88 : 88 + record_length]
    assert record.startswith(magic)
    assert structure[59:88] == chuid[0x30] + bytes(4)
    signed, signature = structure[: 88 + record_length], structure[88 + record_length :]
    signer = dict(tlv.decode(read(full, SIGNER)))[0x70]
    assert verified(ca, tmp_path, signature, signed, signer) == signed
    assert tlv.encode(4, chuid[0x34]) in signature
    assert tlv.encode(4, chuid[0x30]) in signature


def test_records_tell_their_lengths(full: Any) -> None:
    def record(tag: int) -> bytes:
        structure = dict(tlv.decode(read(full, tag)))[0xBC]
        return structure[88 : 88 + int.from_bytes(structure[2:6], "big")]

    fingers, face, irises = map(record, (FINGERPRINTS, FACE, IRISES))
    assert int.from_bytes(fingers[8:10], "big") == len(fingers)
    at = 26
    for _ in range(fingers[24]):
        at += 4 + 6 * fingers[at + 3]
        assert fingers[at : at + 2] == b"\0\0"  # no extended data
        at += 2
    assert at == len(fingers)
    assert int.from_bytes(face[8:12], "big") == len(face)
    eyes = int.from_bytes(face[18:20], "big")
    image = 34 + 8 * eyes + 12
    assert int.from_bytes(face[14:18], "big") == len(face) - 14
    assert (face[image : image + 2], face[-2:]) == (b"\xff\xd8", b"\xff\xd9")
    assert int.from_bytes(irises[8:12], "big") == len(irises)
    for image in irises.split(b"\x89PNG\r\n\x1a\n")[1:]:
        length = int.from_bytes(image[25:29], "big")
        assert image[29:33] == b"IDAT"
        assert len(zlib.decompress(image[33 : 33 + length])) == 96 * 97


def test_what_a_biometric_profile_fixes(full: Any) -> None:
    """SP 800-76-2, table 6 (fingerprints) and table 9 (face)."""

    def record(tag: int) -> bytes:
        return dict(tlv.decode(read(full, tag)))[0xBC][88:]

    fingers, face = record(FINGERPRINTS), record(FACE)
    scanner, width, height, *resolution, views, reserved = struct.unpack(">HHHHHBB", fingers[14:26])
    assert (scanner >> 12, scanner & 0xFFF > 0, resolution, views, reserved) == (8, True, [197, 197], 2, 0)
    assert 26 <= int.from_bytes(fingers[8:10], "big") <= 1574
    at = 26
    for _ in range(views):
        position, impression, quality, count = fingers[at : at + 4]
        assert (position in range(1, 11), impression, quality in (20, 40, 60, 80, 100)) == (True, 0, True)
        for minutia in range(at + 4, at + 4 + 6 * count, 6):
            x, y, angle, sure = struct.unpack(">HHBB", fingers[minutia : minutia + 6])
            assert x >> 14 in (1, 2)
            assert (x & 0x3FFF < width, y < height, angle < 180, sure <= 100) == (True,) * 4
        at += 4 + 6 * count + 2
    assert int.from_bytes(face[12:14], "big") == 1
    points = int.from_bytes(face[18:20], "big")
    assert points > 0
    kind, coding, width, height, space, source = struct.unpack(">BBHHBB", face[34 + 8 * points :][:8])
    assert (kind, coding in (0, 1), space, source in (2, 6)) == (1, True, 1, True)
    components = face.index(b"\xff\xc0") + 4
    assert face[components : components + 6] == struct.pack(">BHHB", 8, height, width, 3)


DATA_GROUPS = {
    "db00": 0x5FC107,
    "3000": CHUID,
    "6010": FINGERPRINTS,
    "6030": FACE,
    "3001": PRINTED,
    "1015": IRISES,
    "6050": 0x7E,
    "6060": KEY_HISTORY,
    "1016": 0x7F61,
    "1018": PAIRING_CODE,
}
"""All but certificates (SP 800-73-5 part 1, 3.1.7), by their containers."""


@pytest.mark.parametrize("profile", ["piv", "piv-full"])
def test_security_object(
    new_card: Callable[..., PivCard], power: Callable[..., Any], ca: TestCA, tmp_path: Path, profile: str
) -> None:
    """Each data group is a container that is there, and its digest is right; the CHUID has the certificate."""
    terminal = power(new_card(profile))
    assert terminal.verify() == 0x9000
    fields = dict(tlv.decode(read(terminal, SECURITY_OBJECT)))
    [signer] = pkcs7.load_der_pkcs7_certificates(dict(tlv.decode(read(terminal, CHUID)))[0x3E])
    content = verified(ca, tmp_path, fields[0xBB], None, signer.public_bytes(Encoding.DER))
    assert cms.oid("1.3.27.1.1.1") in fields[0xBB]  # as PIV validators want it
    (_, version), (_, algorithm), (_, groups) = tlv.decode(tlv.read(content)[1])
    assert (version, algorithm) == (b"\0", bytes.fromhex("0609608648016503040201"))
    digests = {}
    for _, group in tlv.decode(groups):
        (_, number), (_, digest) = tlv.decode(group)
        digests[number[0]] = digest
    mapping = fields[0xBA]
    places = {mapping[at]: mapping[at + 1 : at + 3].hex() for at in range(0, len(mapping), 3)}
    few = ("db00", "3000", "6050", "6060")
    tags = DATA_GROUPS if profile == "piv-full" else {container: DATA_GROUPS[container] for container in few}
    assert {places[number]: digest for number, digest in digests.items()} == {
        container: hashlib.sha256(read(terminal, tag)).digest() for container, tag in tags.items()
    }


def test_printed_information(full: Any) -> None:
    """It is what it is called; the management key lies elsewhere."""
    fields = dict(tlv.decode(read(full, PRINTED)))
    assert fields[1] == b"Zoe"  # ASCII
    assert {tag: len(value) for tag, value in fields.items()}.keys() == {1, 2, 4, 5, 6, 7, 8, 0xFE}
    assert datetime.datetime.strptime(fields[4].decode(), "%Y%b%d").date() > datetime.date.today()
    assert full.command(0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FFF00"))[1] == 0x6A82
    assert read(full, 0x5FFF7F)[:4] == bytes.fromhex("881A8918")


def test_key_history_tells_of_the_retired_keys(full: Any) -> None:
    assert read(full, KEY_HISTORY) == bytes.fromhex("C10114C20100FE00")
    for slot in range(0x82, 0x96):
        public = x509.load_der_x509_certificate(full.certificate(SLOTS[slot].certificate)).public_key()
        algorithm = 0x07 if slot < 0x84 else 0x11
        assert full.use_key(algorithm, slot, bytes(256 if slot < 0x84 else 32))[1] == 0x9000
        assert hasattr(public, "curve") is (slot >= 0x84)


def test_small_objects(full: Any) -> None:
    assert read(full, 0x7F61) == bytes.fromhex("020100")
    assert read(full, 0x7E) == bytes.fromhex("4F0BA000000308000010000100 5F2F024000")
    fields = dict(tlv.decode(read(full, PAIRING_CODE)))
    assert (len(fields[0x99]), fields[0x99].isdigit()) == (8, True)


def test_compressed_certificates(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    """CertInfo says so (SP 800-73-5 part 1, table 42)."""
    terminal = power(new_card("piv-ec", compressed=True))
    plain = power(new_card("piv-ec"))
    for slot in (0x9A, 0x9C, 0x9D, 0x9E):
        fields = dict(tlv.decode(read(terminal, SLOTS[slot].certificate)))
        assert fields[0x71] == b"\1"
        x509.load_der_x509_certificate(gzip.decompress(fields[0x70]))
        assert dict(tlv.decode(read(plain, SLOTS[slot].certificate)))[0x71] == b"\0"


def test_nobody_has_signed_what_is_on_a_blank_card(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    terminal = power(new_card("blank"))
    fields = dict(tlv.decode(read(terminal, CHUID)))
    assert (fields.keys(), fields[0x3E]) == ({0x30, 0x34, 0x35, 0x3E, 0xFE}, b"")
    assert terminal.command(0xCB, 0x3F, 0xFF, bytes.fromhex("5C035FC106"))[1] == 0x6A82


def test_the_default_card_is_small(new_card: Callable[..., PivCard]) -> None:
    assert new_card("piv").store.state.used < 10_000 < new_card("piv-full").store.state.used

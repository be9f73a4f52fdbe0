# SPDX-License-Identifier: MIT
"""What the data model test of SP 800-85B asks of a complete PIV card, and what cards of other profiles leave out.

Formats of biometric records, usages and policies of certificates are in test_contents.py and
test_certificate_profiles.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pytest
from asn1crypto import algos
from asn1crypto import cms as asn1_cms
from cardtear.card import tlv
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.issuing import cms
from cardtear.card.tables import (
    BIT_GROUP,
    CCC,
    CHUID,
    DISCOVERY,
    FACE,
    FINGERPRINTS,
    IRISES,
    KEY_HISTORY,
    PAIRING_CODE,
    PIV_OBJECTS,
    PRINTED_INFORMATION,
    SECURE_MESSAGING_SIGNER,
    SECURITY_OBJECT,
    SLOTS,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.x509.oid import AuthorityInformationAccessOID

ADDRESSES = {"ocsp": "http://o.test/", "crl": "http://c.test/a.crl", "ca_issuers": "http://a.test/a.p7c"}
COMPLETE: dict[str, dict[str, Any]] = {
    "piv-full": {},
    "piv-ec": {"objects": "full", "global_pin": "111111", **ADDRESSES},
}
MANDATORY = {CCC, CHUID, 0x5FC105, FINGERPRINTS, SECURITY_OBJECT, FACE, 0x5FC101}
"""SP 800-73-5 part 1, table 2."""

EMPTY = (0,)
CERTIFICATE: dict[int, Sequence[int]] = {0x70: range(1, 1857), 0x71: (1,), 0xFE: EMPTY}
ELEMENTS: dict[int, dict[int, Sequence[int]]] = {
    CCC: {
        0xF0: (0, 21),
        0xF1: (0, 1),
        0xF2: (0, 1),
        0xF3: range(129),
        0xF4: (0, 1),
        0xF5: (1,),
        0xF6: (0, 17),
        **dict.fromkeys((0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE), EMPTY),
    },
    CHUID: {0x30: (25,), 0x34: (16,), 0x35: (8,), 0x3E: range(1, 2817), 0xFE: EMPTY},
    FINGERPRINTS: {0xBC: range(1, 4001), 0xFE: EMPTY},
    SECURITY_OBJECT: {0xBA: range(3, 31), 0xBB: range(1, 1299), 0xFE: EMPTY},
    FACE: {0xBC: range(1, 12705), 0xFE: EMPTY},
    PRINTED_INFORMATION: {
        0x01: range(1, 126),
        0x02: range(1, 21),
        0x04: (9,),
        0x05: range(1, 21),
        0x06: (15,),
        0x07: range(1, 21),
        0x08: range(1, 21),
        0xFE: EMPTY,
    },
    DISCOVERY: {0x4F: (11,), 0x5F2F: (2,)},
    KEY_HISTORY: {0xC1: (1,), 0xC2: (1,), 0xFE: EMPTY},
    IRISES: {0xBC: range(1, 7101), 0xFE: EMPTY},
    BIT_GROUP: {0x02: (1,)},
    SECURE_MESSAGING_SIGNER: CERTIFICATE,
    PAIRING_CODE: {0x99: (8,), 0xFE: EMPTY},
    **{slot.certificate: CERTIFICATE for slot in SLOTS.values()},
}
"""The elements of each data object in order, and the lengths that they may have (SP 800-73-5 part 1, appendix A)."""


class Objects(NamedTuple):
    """A card with its PIN verified, and the contents of PIV's data objects that are on it, by tag."""

    terminal: Any
    contents: dict[int, bytes]

    def element(self, tag: int, element: int) -> bytes:
        return dict(tlv.decode(self.contents[tag]))[element]

    def signer(self) -> x509.Certificate:
        """Whoever has signed the CHUID."""
        signed = asn1_cms.ContentInfo.load(self.element(CHUID, 0x3E))["content"]
        [certificate] = signed["certificates"]
        return x509.load_der_x509_certificate(certificate.chosen.dump())

    def certificates(self) -> dict[int, x509.Certificate]:
        """Those in key slots, by slot."""
        return {
            slot: x509.load_der_x509_certificate(self.terminal.certificate(about.certificate))
            for slot, about in SLOTS.items()
            if about.certificate in self.contents
        }


@pytest.fixture
def objects_of(new_card: Callable[..., PivCard], power: Callable[..., Any]) -> Callable[..., Objects]:
    def read(profile: str, **parameters: Any) -> Objects:
        terminal, contents = power(new_card(profile, **parameters)), {}
        assert terminal.verify() == 0x9000
        for tag in PIV_OBJECTS:
            tags = tlv.encode(0x5C, tag.to_bytes((tag.bit_length() + 7) // 8, "big"))
            answer, status = terminal.command(0xCB, 0x3F, 0xFF, tags)
            assert status in (0x9000, 0x6A82)
            if status == 0x9000:
                contents[tag] = tlv.read(answer)[1]
        return Objects(terminal, contents)

    return read


@pytest.fixture(params=COMPLETE)
def complete(request: pytest.FixtureRequest, objects_of: Callable[..., Objects]) -> Objects:
    return objects_of(request.param, **COMPLETE[request.param])


def addresses(found: x509.Certificate) -> dict[str, str]:
    """Where it says that one can ask for its status, for the CRL and for the CA."""
    methods = {AuthorityInformationAccessOID.OCSP: "ocsp", AuthorityInformationAccessOID.CA_ISSUERS: "ca_issuers"}
    named = {}
    for extension in found.extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            assert all(isinstance(each.access_location, x509.UniformResourceIdentifier) for each in extension.value)
            named |= {methods[each.access_method]: each.access_location.value for each in extension.value}
        if isinstance(extension.value, x509.CRLDistributionPoints):
            [point] = extension.value
            assert point.full_name is not None
            [name] = point.full_name
            named["crl"] = name.value
    return named


def test_data_objects_have_their_elements_in_order(complete: Objects) -> None:
    """Rows 8.1 to 8.11: nothing else, in the shortest encoding, of lengths as the tables have them."""
    assert complete.contents.keys() >= MANDATORY
    for tag, content in complete.contents.items():
        elements = tlv.decode(content)
        assert [element for element, _ in elements] == list(ELEMENTS[tag]), f"{tag:X}"
        assert b"".join(tlv.encode(*element) for element in elements) == content, f"{tag:X}"
        for element, value in elements:
            assert len(value) in ELEMENTS[tag][element], f"{element:X} of {tag:X}"


def test_the_discovery_object_promises_what_is_there(complete: Objects) -> None:
    """Rows 8.11.1: the card compares no fingers and has no virtual contact interface."""
    (_, name), (_, (first, second)) = tlv.decode(complete.contents[DISCOVERY])
    has_global_pin = complete.terminal.command(0x20, 0, 0x00)[1] != 0x6A88
    assert name == bytes.fromhex("A000000308 000010000100")
    assert (first, second) == ((0x60, 0x10) if has_global_pin else (0x40, 0x00))
    assert complete.contents[BIT_GROUP] == bytes.fromhex("020100")  # no templates (3.3.6)


SIGNED = {
    CHUID: "2.16.840.1.101.3.6.1",
    FINGERPRINTS: "2.16.840.1.101.3.6.2",
    FACE: "2.16.840.1.101.3.6.2",
    IRISES: "2.16.840.1.101.3.6.2",
    SECURITY_OBJECT: "1.3.27.1.1.1",
}
"""Content types of the signed data objects (SP 800-73-5 part 1, 3.1.2 and 3.1.7; SP 800-76-2, 9.3)."""


def signed_data(objects: Objects, tag: int) -> tuple[asn1_cms.SignedData, bytes]:
    """The signature in a data object, and what it is over."""
    match tag:
        case 0x5FC102:
            fields = tlv.decode(objects.contents[tag])
            signature = objects.element(tag, 0x3E)
            content = b"".join(tlv.encode(*field) for field in fields if field[0] != 0x3E)
        case 0x5FC106:
            signature = objects.element(tag, 0xBB)
            content = asn1_cms.ContentInfo.load(signature)["content"]["encap_content_info"]["content"].parsed.dump()
        case _:
            record = objects.element(tag, 0xBC)
            end = 88 + int.from_bytes(record[2:6], "big")
            content, signature = record[:end], record[end:]
            assert int.from_bytes(record[6:8], "big") == len(signature)
    info = asn1_cms.ContentInfo.load(signature, strict=True)
    assert info["content_type"].native == "signed_data"
    return info["content"], content


@pytest.mark.parametrize("tag", SIGNED, ids=lambda tag: f"{tag:X}")
def test_signatures(complete: Objects, tag: int) -> None:
    """Rows 10: of version 3, by one signer, named by issuer and number; his certificate is in the CHUID only."""
    signed, content = signed_data(complete, tag)
    signer = complete.signer()
    encapsulated = signed["encap_content_info"]
    assert (signed["version"].native, encapsulated["content_type"].dotted) == ("v3", SIGNED[tag])
    assert bool(encapsulated["content"].native) is (tag == SECURITY_OBJECT)
    assert (bool(signed["certificates"].native), bool(signed["crls"].native)) == (tag == CHUID, False)
    assert [each["algorithm"].native for each in signed["digest_algorithms"]] == ["sha256"]
    [info] = signed["signer_infos"]
    assert (info["sid"].name, info["digest_algorithm"]["algorithm"].native) == ("issuer_and_serial_number", "sha256")
    assert info["sid"].chosen["issuer"].dump() == signer.issuer.public_bytes()
    assert info["sid"].chosen["serial_number"].native == signer.serial_number
    assert info["signature_algorithm"].dump() == algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}).dump()
    attributes = {each["type"].dotted: [value.dump() for value in each["values"]] for each in info["signed_attrs"]}
    wanted = {
        "1.2.840.113549.1.9.3": [cms.oid(SIGNED[tag])],
        "1.2.840.113549.1.9.4": [cms.octets(hashlib.sha256(content).digest())],
        "2.16.840.1.101.3.6.5": [signer.subject.public_bytes()],
    }
    if tag in (FINGERPRINTS, FACE, IRISES):
        wanted["2.16.840.1.101.3.6.6"] = [cms.octets(complete.element(CHUID, 0x30))]
        wanted["1.3.6.1.1.16.4"] = [cms.octets(complete.element(CHUID, 0x34))]
    assert attributes == wanted
    key = signer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(info["signature"].native, info["signed_attrs"].untag().dump(), ec.ECDSA(SHA256()))


def test_certificates_name_where_to_ask(complete: Objects) -> None:
    """Rows 11: by http, a list `.crl` and certificates `.p7c`; that of the contents' signer, too."""
    for found in (*complete.certificates().values(), complete.signer()):
        named = addresses(found)
        assert named.keys() == {"ocsp", "crl", "ca_issuers"}
        assert all(address.startswith("http://") for address in named.values())
        assert (named["crl"][-4:], named["ca_issuers"][-4:]) == (".crl", ".p7c")


def test_certificates_are_of_the_keys(complete: Objects) -> None:
    """Rows 11: of sizes in SP 800-78-5, table 1, and good for no longer than the card."""
    expires = datetime.fromisoformat(f"{complete.element(CHUID, 0x35).decode()}T000000+00:00")
    for slot, found in complete.certificates().items():
        assert found.not_valid_after_utc <= expires
        assert complete.terminal.verify() == 0x9000
        key = found.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            assert (key.key_size, key.public_numbers().e) == (2048, 65537)
            signature, status = complete.terminal.use_key(0x07, slot, PADDED)
            assert status == 0x9000
            key.verify(signature, DIGEST, padding.PKCS1v15(), Prehashed(SHA256()))
        else:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            algorithm, digest, kind = EC[key.curve.name]
            signature, status = complete.terminal.use_key(algorithm, slot, digest)
            assert status == 0x9000
            key.verify(signature, digest, ec.ECDSA(Prehashed(kind)))


DIGEST = hashlib.sha256(b"challenge").digest()
PADDED = b"\0\1" + b"\xff" * 202 + b"\0" + bytes.fromhex("3031300D060960864801650304020105000420") + DIGEST
EC: dict[str, tuple[int, bytes, SHA256 | SHA384]] = {
    "secp256r1": (0x11, DIGEST, SHA256()),
    "secp384r1": (0x14, hashlib.sha384(b"challenge").digest(), SHA384()),
}


@pytest.mark.parametrize("profile", ["piv", "piv-ec", "relaxed"])
def test_what_the_usual_cards_leave_out(objects_of: Callable[..., Objects], profile: str) -> None:
    """As their descriptions say: biometric data, addresses, and Printed Information is Yubico's."""
    objects = objects_of(profile, management="pin")
    assert MANDATORY - objects.contents.keys() == {FINGERPRINTS, FACE}
    assert [element for element, _ in tlv.decode(objects.contents[PRINTED_INFORMATION])] == [0x88]
    for found in (*objects.certificates().values(), objects.signer()):
        assert addresses(found) == {}

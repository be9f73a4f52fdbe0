# SPDX-License-Identifier: MIT
"""Keys, certificates and data objects that are put onto a card which lies there, and what is shown of them."""

from __future__ import annotations

import gzip
import itertools
import ssl
import zlib
from pathlib import Path
from typing import Any

import pytest
from cardtear.card import certificates, tlv
from cardtear.card.crypto import dsa_keys
from cardtear.card.image.store import Store, read_image
from cardtear.card.issuing import data_objects, key_files
from cardtear.card.issuing.ca import TestCA
from cardtear.card.issuing.profiles import CardRequest, create
from cardtear.card.tables import SLOTS
from cardtear.lab.cards import export, personalisation
from cardtear.lab.cards.description import describe
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11 import image_objects
from cardtear.p11.constants import CKA, CKO
from cardtear.p11.records import OVERLAY_TAGS
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ...shared import broken_certificates
from ...shared.dsa_domains import DOMAINS
from ...shared.host import probes
from ...shared.host.host import NewHost
from ..conftest import Cli, certified, pem


def slot_certificate(image: Path, slot: int = 0x9A) -> bytes:
    return certificates.decode(read_image(image).objects.get(SLOTS[slot].certificate))


def contents(*certificates: x509.Certificate, key: Any = None) -> key_files.Contents:
    ders = [each.public_bytes(serialization.Encoding.DER) for each in certificates]
    return key_files.Contents([] if key is None else [key], ders)


def test_a_key_alone_does_not_stay_with_the_certificate_of_another(cli: Cli, image: Path, tmp_path: Path) -> None:
    """That goes, with a word; the key's own one stays."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(pem(key))
    done = cli("card", "import", image, "key.pem", "--slot", "9A")
    assert done.returncode == 0
    assert "key of key.pem in slot 9A" in done.stdout
    assert "(of Alice) is not that of the new key, and has been removed" in done.stdout
    assert slot_certificate(image) == b""
    personalisation.put_in_slot(image, None, "9A", contents(certified(key)), "mine")
    before = slot_certificate(image)
    assert before
    said = personalisation.put_in_slot(image, None, "9A", contents(key=key), "mine")
    assert said == [f"key of mine in slot 9A of {image}"]
    assert slot_certificate(image) == before


@pytest.mark.parametrize(("serial", "shown"), [(10, "0A"), (0x1234ABCD, "1234ABCD"), (2**72 - 1, "FF" * 9)])
def test_a_certificate_without_a_name(image: Path, serial: int, shown: str) -> None:
    """It is called by its serial number, as `card show` writes it."""
    key: Any = serialization.load_der_private_key(read_image(image).keys[0x9A].value, None)
    personalisation.put_certificates(image, None, contents(certified(key, named="", serial=serial)), "new")
    assert next(each["details"]["serial"] for each in describe(image)["keys"] if each["slot"] == "9A") == shown
    said = personalisation.put_certificates(image, None, contents(certified(key)), "newer")
    assert said[1:] == [f"the certificate that was in slot 9A (of serial {shown}) is replaced"]


def test_what_is_replaced_is_said(image: Path) -> None:
    """A renewed certificate of the same key, with and without --slot; another key."""
    key: Any = serialization.load_der_private_key(read_image(image).keys[0x9A].value, None)
    said = personalisation.put_certificates(image, None, contents(certified(key)), "new")
    assert said[1:] == ["the certificate that was in slot 9A (of Alice) is replaced"]
    said = personalisation.put_in_slot(image, None, "9A", contents(certified(key)), "newer")
    assert said[1:] == ["the certificate that was in slot 9A (of me) is replaced"]
    other = ec.generate_private_key(ec.SECP256R1())
    said = personalisation.put_in_slot(image, None, "9A", contents(certified(other), key=other), "other")
    assert said[1:] == [
        "the P256 key that was in slot 9A is replaced",
        "the certificate that was in slot 9A (of me) is replaced",
    ]
    assert len(personalisation.put_in_slot(image, None, "95", contents(certified(other), key=other), "other")) == 1


@pytest.mark.parametrize(
    ("tag", "value", "note"),
    [
        ("5FC102", b"hello", "that is no Card Holder Unique Identifier: it is not made of elements (BER-TLV)"),
        ("5FC102", bytes.fromhex("3019" + 25 * "00" + "FE00"), "the elements 34, 35, 3E are missing"),
        ("5FC105", b"hello", "that is no X.509 Certificate for PIV Authentication"),
        (
            "5FC109",
            bytes.fromhex("0100"),
            "that is no Printed Information: the elements 02, 04, 05, 06, FE are missing",
        ),
        ("5FC109", bytes.fromhex("88028900"), None),
        ("7E", bytes.fromhex("4F00"), "the elements 5F2F are missing"),
        ("5FFF21", b"hello", None),
    ],
)
def test_an_object_that_is_none(image: Path, tag: str, value: bytes, note: str | None) -> None:
    """Bad cards are wanted; who makes one by mistake is told."""
    said = personalisation.put_object(image, None, tag, value, "mine")
    assert read_image(image).objects[int(tag, 16)] == value
    assert len(said) == (1 if note is None else 2)
    assert note is None or note in said[-1]


def test_ready_made_objects_are_what_they_are_called(image: Path) -> None:
    objects = read_image(image).objects
    assert [f"{tag:X}" for tag, value in objects.items() if data_objects.problem(tag, value)] == []


def test_a_key_of_no_card(cli: Cli, image: Path, tmp_path: Path) -> None:
    """The file and the kind are named; an export has its own words."""
    (tmp_path / "key.pem").write_bytes(pem(ec.generate_private_key(ec.BrainpoolP256R1())))
    said = cli("card", "import", image, "key.pem", "--slot", "9A").stderr
    assert said.startswith(
        "cardtear: key.pem cannot be taken: no card has a key of the curve brainpoolP256r1; there are"
    )
    assert cli("card", "export", image, "--with-keys", "-o", "all.json").returncode == 0
    said = cli("card", "import", "new.card", "all.json", "--slot", "9A").stderr
    assert said.startswith("cardtear: all.json cannot be taken: an export of a card makes a whole card")


def test_the_card_forgets_what_was_said_of_a_key_that_is_replaced(image: Path) -> None:
    """By applications: names, usages, dates."""
    store = Store(image)
    store.own(owner := object())
    store.commit(owner, objects={OVERLAY_TAGS[0x9A]: b"anything", OVERLAY_TAGS[0x9C]: b"other"})
    store.close()
    old: Any = serialization.load_der_private_key(read_image(image).keys[0x9A].value, None)
    personalisation.put_in_slot(image, None, "9A", contents(key=old), "same")
    assert read_image(image).objects[OVERLAY_TAGS[0x9A]] == b"anything"
    personalisation.put_in_slot(image, None, "9A", contents(key=ec.generate_private_key(ec.SECP384R1())), "new")
    objects = read_image(image).objects
    assert OVERLAY_TAGS[0x9A] not in objects
    assert objects[OVERLAY_TAGS[0x9C]] == b"other"


def test_a_chain_in_any_order(image: Path) -> None:
    """The certificate goes beside its key, those of the CAs beside the slots, each once."""
    key, ca_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    own, ca = certified(key), certified(ca_key, is_authority=True)
    for chain in itertools.permutations((own, ca, own)):
        said = personalisation.put_in_slot(image, None, "9D", contents(*chain, key=key), "chain")
        assert said[0] == f"key and certificate of chain in slot 9D of {image}"
        assert slot_certificate(image, 0x9D) == own.public_bytes(serialization.Encoding.DER)
        found = image_objects.certificates(read_image(image).objects)
        assert [each.der for _, each in found] == [ca.public_bytes(serialization.Encoding.DER)]


def test_a_ca_goes_into_no_key_slot(image: Path) -> None:
    ca = certified(ec.generate_private_key(ec.SECP256R1()), is_authority=True)
    before = read_image(image)
    for slot in ("9A", "82"):  # one with a key, and one without
        with pytest.raises(ValueError, match="without --slot"):
            personalisation.put_in_slot(image, None, slot, contents(ca), "ca")
        assert read_image(image) == before
    assert personalisation.put_certificates(image, None, contents(ca), "ca") == [
        f"CA certificate me beside the key slots of {image}"
    ]
    assert read_image(image).keys == before.keys
    assert "has it already" in personalisation.put_certificates(image, None, contents(ca), "ca")[0]


def test_certificates_find_their_keys(image: Path) -> None:
    """Without a slot being named."""
    key: Any = serialization.load_der_private_key(read_image(image).keys[0x9C].value, None)
    certificate, other = certified(key), certified(ec.generate_private_key(ec.SECP256R1()))
    said = personalisation.put_certificates(image, None, contents(other, certificate), "both")
    assert said[0] == f"certificate of both beside its key in slot 9C of {image}"
    assert slot_certificate(image, 0x9C) == certificate.public_bytes(serialization.Encoding.DER)
    renewed = certified(key)
    longest = max((certificate, renewed), key=lambda each: each.not_valid_after_utc)
    personalisation.put_certificates(image, None, contents(certificate, renewed), "both")
    objects = read_image(image).objects
    found = {slot_certificate(image, 0x9C), *(each.der for _, each in image_objects.certificates(objects))}
    assert {each.public_bytes(serialization.Encoding.DER) for each in (certificate, renewed, other)} <= found
    assert (
        x509.load_der_x509_certificate(slot_certificate(image, 0x9C)).not_valid_after_utc == longest.not_valid_after_utc
    )
    with pytest.raises(ValueError, match="--slot"):
        personalisation.put_certificates(image, None, contents(other, key=key), "both")
    with pytest.raises(ValueError, match="2 certificates in it"):
        personalisation.put_in_slot(image, None, "82", contents(certificate, other), "both")


def test_what_does_not_fit_changes_nothing(tmp_path: Path, ready: Path) -> None:
    """A chain for which the card has too little memory, a certificate that is too long for a data object."""
    image = tmp_path / "small.card"
    create(CardRequest("blank", capacity=1400), image, TestCA.load_or_create(ready.parent / "ca"))
    before = read_image(image)
    key = ec.generate_private_key(ec.SECP256R1())
    cas = [certified(ec.generate_private_key(ec.SECP256R1()), is_authority=True) for _ in range(3)]
    taken = before.used
    with pytest.raises(ValueError, match=rf"\d\d bytes more, and of 1400 {1400 - taken} are free; delete .*capacity="):
        personalisation.put_in_slot(image, None, "9A", contents(certified(key), *cas, key=key), "chain")
    subject, info = tlv.encode(0x30, bytes(20_000)), broken_certificates.key_info(key)
    long = broken_certificates.certificate(subject=subject, key=info)
    with pytest.raises(ValueError, match="too long"):
        personalisation.put_in_slot(image, None, "9A", key_files.Contents([key], [long]), "long")
    assert read_image(image) == before


def test_certificates_of_cas_are_objects_of_the_module(
    image: Path, new_host: NewHost, bare_simulator: Simulator
) -> None:
    """As if an application had made them; and it can destroy them."""
    ca = certified(ec.generate_private_key(ec.SECP256R1()), is_authority=True)
    personalisation.put_certificates(image, None, contents(ca), "ca")
    bare_simulator.plug("front")
    bare_simulator.insert("front", image)
    host = new_host(bare_simulator)
    session = host.call(probes.user_session, read_write=True)
    wanted = {CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_CATEGORY: 2}
    (found,) = host.call(Module.find, session, wanted)
    der = ca.public_bytes(serialization.Encoding.DER)
    for kind, value in ((CKA.VALUE, der), (CKA.SUBJECT, ca.subject.public_bytes()), (CKA.LABEL, b"me")):
        assert host.call(Module.attribute, session, found, kind) == value
    host.call(Module.destroy, session, found)
    assert host.call(Module.find, session, wanted) == []


def test_data_objects_by_tag(cli: Cli, image: Path, tmp_path: Path) -> None:
    """With the tag around it or without; nothing deletes; certificates of other keys are told."""
    value = bytes.fromhex("3019" + "D4" * 25 + "3410" + "11" * 16 + "350832303330303130313E00FE00")
    (tmp_path / "chuid").write_bytes(value)
    (tmp_path / "wrapped").write_bytes(tlv.encode(0x53, value))
    (tmp_path / "nothing").write_bytes(b"")
    for name in ("chuid", "wrapped"):
        done = cli("card", "put", image, "5FC102", name)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert "5FC102 (Card Holder Unique Identifier)" in done.stdout
        assert read_image(image).objects[0x5FC102] == value
    assert describe(image)["serial"] == "11" * 8
    assert "deleted" in personalisation.put_object(image, None, "5fc102", b"", "nothing")[0]
    assert 0x5FC102 not in read_image(image).objects
    before = read_image(image)
    foreign = broken_certificates.KINDS["good"]
    for tag, content, words in (
        ("5FC102", b"", "is empty"),
        ("nix", b"x", "hexadecimal"),
        ("5F", b"x", "no data object 5F"),
        ("5FC102", bytes(20_000), "at most"),
    ):
        with pytest.raises(ValueError, match=words):
            personalisation.put_object(image, None, tag, content, "file")
    assert read_image(image) == before
    said = personalisation.put_object(image, None, "5FC105", certificates.encode(foreign), "file")
    assert said[1] == "note: this certificate is not that of the key in slot 9A"
    assert "is that of another key" in cli("card", "show", image).stdout
    assert personalisation.put_object(image, None, "7E", bytes.fromhex("7E044F02AABB"), "file")
    assert read_image(image).objects[0x7E] == bytes.fromhex("4F02AABB")


def test_broken_certificates_are_imported_shown_and_exported(cli: Cli, image: Path, tmp_path: Path) -> None:
    """Each in its own way; nothing but the answer reaches the terminal."""
    made = {kind: der for kind, der in broken_certificates.KINDS.items() if kind not in ("good", "key that is none")}
    texts = [ssl.DER_cert_to_PEM_cert(der) for der in (*made.values(), *broken_certificates.mutated(30))]
    (tmp_path / "all.pem").write_text("".join(texts))
    done = cli("card", "import", image, "all.pem")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.count("\n") == len(texts)
    shown = cli("card", "show", image)
    assert (shown.returncode, shown.stderr) == (0, ""), shown
    assert "\x1b" not in shown.stdout
    about = describe(image)["certificates"]
    assert len(about) == len(texts)
    told = dict(zip(made, about, strict=False))
    assert (told["negative serial"]["serial"], told["negative serial"]["subject"]) == ("-05", "CN=subject")
    assert told["escape sequences in the subject"]["subject"] == "CN=\\1B[31mred\\07\\0A"
    assert told["BMP subject"]["subject"] == told["universal string"]["subject"] == "CN=Zoë"
    assert (told["month 13"]["not_before"], told["month 13"]["not_after"]) == (None, "2036-01-01T00:00:00Z")
    assert told["a number for a name"]["subject"] == "CN=#02020102"
    assert told["nothing in it"]["subject"] == ""
    exported = cli("card", "export", image, "--pem")
    assert exported.stderr == ""
    assert all(text in exported.stdout for text in texts)


def test_a_broken_certificate_with_its_key(cli: Cli, image: Path, tmp_path: Path) -> None:
    """In one file, into a slot."""
    der = broken_certificates.certificate(serial=b"\2\1\xfb", version=tlv.encode(0xA0, b"\2\1\7"))
    (tmp_path / "both.pem").write_bytes(pem(broken_certificates.P256_KEY) + ssl.DER_cert_to_PEM_cert(der).encode())
    done = cli("card", "import", image, "both.pem", "--slot", "9A")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert slot_certificate(image) == der


def test_what_is_shown_of_a_certificate(cli: Cli, image: Path) -> None:
    """Subject, issuer, serial number, dates, alternative names, extended key usages."""
    about = describe(image)
    mine = {each["slot"]: each for each in about["keys"]}["9A"]
    made = x509.load_der_x509_certificate(slot_certificate(image))
    told = mine["details"]
    assert told["subject"] == mine["certificate"] == "CN=Alice,O=cardtear"
    assert told["issuer"] == made.issuer.rfc4514_string()
    assert int(told["serial"], 16) == made.serial_number
    assert told["not_after"] == made.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "email:alice@example.com" in told["alternative_names"]
    assert "clientAuth" in told["extended_key_usage"]
    assert mine["of_another_key"] is False
    text = cli("card", "show", image).stdout
    for each in ("email:alice@example.com", "clientAuth", told["serial"], told["not_after"], told["issuer"]):
        assert each in text


def test_certificates_as_older_writers_left_them(image: Path) -> None:
    """Compressed, with the first bit of CertInfo, and by zlib."""
    der = slot_certificate(image)
    for squeeze, info in ((gzip.compress, b"\x80"), (zlib.compress, b"\1"), (zlib.compress, b"\0")):
        value = tlv.encode(0x70, squeeze(der)) + tlv.encode(0x71, info) + tlv.encode(0xFE)
        personalisation.put_object(image, None, "5FC105", value, "old")
        mine = describe(image)["keys"][0]
        assert (mine["certificate"], mine["of_another_key"]) == ("CN=Alice,O=cardtear", False)
        assert ssl.DER_cert_to_PEM_cert(der) in export.as_pem(read_image(image), with_keys=False)


def test_certificates_beside_empty_slots_are_shown(cli: Cli, image: Path) -> None:
    certificate = certified(ec.generate_private_key(ec.SECP256R1()))
    personalisation.put_in_slot(image, None, "82", contents(certificate), "alone")
    retired = {each["slot"]: each for each in describe(image)["keys"]}["82"]
    assert (retired["algorithm"], retired["certificate"], retired["of_another_key"]) == (None, "CN=me", False)
    assert "CN=me" in cli("card", "show", image).stdout


def test_dsa(tmp_path: Path, ready: Path) -> None:
    """Onto a card that is asked for it: key and certificate, shown, exported and made again; no other card takes it."""
    ca, key = TestCA.load_or_create(ready.parent / "ca"), dsa_keys.private_key(DOMAINS[2048], 5)
    certificate = certified(key)
    old, other = tmp_path / "old.card", tmp_path / "other.card"
    create(CardRequest("blank", legacy=True), old, ca)
    create(CardRequest("blank"), other, ca)
    said = personalisation.put_in_slot(old, None, "9C", contents(certificate, key=key), "both")
    assert said == [f"key and certificate of both in slot 9C of {old}"]
    (shown,) = describe(old, None)["keys"]
    assert (shown["slot"], shown["algorithm"]) == ("9C", "DSA2048")
    assert shown["certificate"]
    again = export.from_json(export.as_json(read_image(old), with_keys=True).encode(), "export")
    assert again.keys == read_image(old).keys
    before = read_image(other)
    with pytest.raises(ValueError, match="no keys of DSA2048; one made with --set legacy=true has"):
        personalisation.put_in_slot(other, None, "9C", contents(key=key), "key")
    assert read_image(other) == before

# SPDX-License-Identifier: MIT
"""Objects on the card: made, found, changed, copied, destroyed, and still there after everything."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ...shared.host import probes
from ...shared.host.host import Host, NewHost


def certificate(name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> x509.Certificate:
    """A self-signed certificate."""
    private = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(private.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    return builder.not_valid_after(now + datetime.timedelta(3650)).sign(private, SHA256())


def template(made: x509.Certificate, **more: Any) -> dict[int, Any]:
    """What C_CreateObject wants of a certificate on the token."""
    return {
        CKA.CLASS: CKO.CERTIFICATE,
        CKA.CERTIFICATE_TYPE: 0,
        CKA.TOKEN: b"\1",
        CKA.SUBJECT: made.subject.public_bytes(),
        CKA.ISSUER: made.issuer.public_bytes(),
        CKA.VALUE: made.public_bytes(Encoding.DER),
        **{CKA[name]: value for name, value in more.items()},
    }


def again(simulator: Simulator, host: Host) -> int:
    """The card goes out and in; the user logs in again."""
    simulator.remove("front")
    simulator.insert("front", CardRequest(profile="blank"))
    return int(host.call(probes.user_session, read_write=True))


def test_data_stays_on_the_card(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Public and private, with all that was said of it."""
    host, session = writer
    host.call(probes.data, session, b"open", b"1" * 3000)
    more = {int(CKA.APPLICATION): b"app", int(CKA.OBJECT_ID): b"\6\1\1", int(CKA.VALUE): b""}
    host.call(Module.create, session, {CKA.CLASS: CKO.DATA, CKA.LABEL: b"shut", **probes.PRIVATE, **more})
    session = again(bare_simulator, host)
    assert host.call(probes.objects, session) == [(CKO.DATA, b"open"), (CKO.DATA, b"shut")]
    assert host.call(probes.objects, session, APPLICATION=b"app") == [(CKO.DATA, b"shut")]
    assert host.call(lambda m: m.attribute(session, m.find(session, {CKA.LABEL: b"open"})[0], CKA.VALUE)) == b"1" * 3000
    host.call(Module.logout, session)
    assert host.call(probes.objects, session) == [(CKO.DATA, b"open")]


def test_private_data_cannot_be_read_without_the_pin(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Not by the module's grace alone: the card itself refuses it."""
    host, session = writer
    host.call(probes.data, session, b"shut", b"a secret value", probes.PRIVATE)
    host.call(Module.finalize)
    reader = bare_simulator.testbed.reader("front")
    insertion = reader.insertion
    assert insertion is not None
    insertion.reset()
    insertion.transmit(bytes.fromhex("00A4040005A000000308"))
    answers = [
        insertion.transmit(bytes.fromhex("00CB3FFF065C04") + tag.to_bytes(4, "big") + b"\0")
        for tag in (0x5FFFC000, 0x5FFFC001)
    ]
    assert all(answer in (b"\x69\x82", b"\x6a\x82") for answer in answers)
    assert b"\x69\x82" in answers


def test_change_copy_destroy(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Each of them is on the card at once."""
    host, session = writer
    handle = host.call(probes.data, session, b"one")
    host.call(Module.change, session, handle, {CKA.LABEL: b"two", CKA.VALUE: b"other"})
    copy = host.call(Module.copy, session, handle, {CKA.LABEL: b"three"})
    host.call(Module.copy, session, handle, {CKA.LABEL: b"of the session", CKA.TOKEN: b"\x00"})
    assert len(host.call(probes.objects, session)) == 3
    session = again(bare_simulator, host)
    assert host.call(probes.objects, session) == [(CKO.DATA, b"three"), (CKO.DATA, b"two")]
    assert host.rv(Module.destroy, session, copy) == CKR.OBJECT_HANDLE_INVALID
    for handle in host.call(Module.find, session, {CKA.CLASS: CKO.DATA}):
        host.call(Module.destroy, session, handle)
        assert host.rv(Module.attribute, session, handle, CKA.VALUE) == CKR.OBJECT_HANDLE_INVALID
    assert host.call(probes.objects, again(bare_simulator, host)) == []


def test_more_certificates_than_key_slots(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Forty, each found by its subject."""
    host, session = writer
    made = [certificate(f"CA {number}") for number in range(40)]
    for number, each in enumerate(made):
        host.call(Module.create, session, template(each, LABEL=f"{number:02}".encode()))
    session = again(bare_simulator, host)
    assert len(host.call(probes.objects, session, CLASS=CKO.CERTIFICATE)) == 40
    assert host.call(probes.objects, session, SUBJECT=made[33].subject.public_bytes()) == [(CKO.CERTIFICATE, b"33")]


def test_certificate_of_a_key_lies_in_its_slot(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Where PIV tools look for it; before the key, after it, and for a key that was generated."""
    host, session = writer
    for first in ("key", "certificate"):
        key = ec.generate_private_key(ec.SECP256R1())
        made = certificate(first, key)
        private = {
            CKA.CLASS: CKO.PRIVATE_KEY,
            CKA.KEY_TYPE: 3,
            CKA.TOKEN: b"\1",
            CKA.PRIVATE: b"\1",
            CKA.ID: first.encode(),
            CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107"),
            CKA.VALUE: key.private_numbers().private_value.to_bytes(32, "big"),
        }
        both = [private, template(made, ID=first.encode())]
        for attributes in both if first == "key" else reversed(both):
            host.call(Module.create, session, attributes)
        assert len(host.call(Module.find, session, {CKA.ID: first.encode()})) == 2
    card = bare_simulator.testbed.reader("front").insertion.card  # type: ignore[union-attr]
    stored = card.store.state.objects  # type: ignore[attr-defined]
    assert 0x5FC105 in stored
    assert 0x5FC10B in stored
    session = again(bare_simulator, host)
    assert len(host.call(probes.objects, session, CLASS=CKO.CERTIFICATE)) == 2
    assert len(host.call(probes.objects, session, CLASS=CKO.PRIVATE_KEY)) == 2


def test_labels_and_ids_of_ready_made_objects_can_be_changed(simulator: Simulator, host: Host) -> None:
    """They are written beside PIV's own, which PIV tools see as before."""
    session = host.call(probes.user_session, read_write=True)
    for kind in (CKO.CERTIFICATE, CKO.PUBLIC_KEY, CKO.PRIVATE_KEY):
        handle = host.call(lambda m, k=int(kind): m.find(session, {CKA.CLASS: k, CKA.ID: b"\1"})[0])
        host.call(Module.change, session, handle, {CKA.LABEL: b"mine", CKA.ID: b"w"})
    simulator.remove("front")
    simulator.insert("front")
    session = host.call(probes.user_session)
    assert len(host.call(probes.objects, session, ID=b"w", LABEL=b"mine")) == 3
    assert len(host.call(lambda m: probes.sign(m, session, probes.key(m, session, b"w")))) == 256


def test_objects_travel_with_the_image(
    tmp_path: Path, writer: tuple[Any, int], bare_simulator: Simulator, new_host: NewHost
) -> None:
    """In another simulator, from a copy of the file."""
    host, session = writer
    host.call(probes.data, session, b"traveller")
    host.call(probes.ec_pair, session, b"key")
    path = bare_simulator.testbed.reader("front").insertion.card.store.path  # type: ignore[union-attr, attr-defined]
    shutil.copy(path, tmp_path / "copy.card")
    with Simulator() as elsewhere:
        elsewhere.plug("other")
        elsewhere.insert("other", tmp_path / "copy.card")
        guest = new_host(elsewhere)
        session = guest.call(probes.user_session)
        found = guest.call(probes.objects, session)
        assert found == [(CKO.DATA, b"traveller"), (CKO.PUBLIC_KEY, b"key"), (CKO.PRIVATE_KEY, b"key")]


def test_writing_is_seen_by_other_applications(
    bare_simulator: Simulator, writer: tuple[Any, int], new_host: NewHost
) -> None:
    """The card is one; handles of what somebody else destroyed are dead."""
    host, session = writer
    other = new_host(bare_simulator)
    theirs = other.call(Module.open_session, 0)
    assert other.call(probes.objects, theirs) == []
    handle = host.call(probes.data, session, b"shared")
    seen = other.call(lambda m: m.find(theirs, {CKA.LABEL: b"shared"})[0])
    assert other.call(Module.attribute, theirs, seen, CKA.VALUE) == b"value"
    host.call(Module.change, session, handle, {CKA.VALUE: b"new"})
    assert other.call(Module.attribute, theirs, seen, CKA.VALUE) == b"new"
    host.call(Module.destroy, session, handle)
    assert other.rv(Module.attribute, theirs, seen, CKA.VALUE) == CKR.OBJECT_HANDLE_INVALID


def test_keys_beside_the_key_slots_work(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Secret keys, and public keys without a private half, are used after the card has been out."""
    host, session = writer
    public, private = host.call(probes.ec_pair, session, b"x", probes.SESSION)
    signature = host.call(probes.ecdsa, session, private)
    host.call(Module.copy, session, public, probes.TOKEN)

    def sealing(m: Module, s: int, h: int) -> Any:
        return probes.passed(m, s, "Encrypt", CKM.AES_ECB, b"", h, bytes(16))

    aes = host.call(probes.secret, session, CKK.AES, bytes(16), TOKEN=b"\1", PRIVATE=b"\1")
    sealed = host.call(sealing, s=session, h=aes)
    session = again(bare_simulator, host)
    (public,) = host.call(Module.find, session, {CKA.CLASS: CKO.PUBLIC_KEY})
    assert host.call(probes.verifies, session, public, signature) == CKR.OK
    (aes,) = host.call(Module.find, session, {CKA.CLASS: CKO.SECRET_KEY})
    assert host.call(sealing, s=session, h=aes) == sealed


def test_nothing_is_read_twice(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """While nothing changes on the card, a search costs no APDU."""
    host, session = writer
    host.call(probes.data, session, b"one")
    host.call(probes.objects, session)
    before = len(bare_simulator.testbed.trace.entries())
    host.call(lambda m: [m.find(session, {}) for _ in range(5)])
    entries = bare_simulator.testbed.trace.entries()[before:]
    assert [each for each in entries if type(each).__name__ == "ApduEntry"] == []


@pytest.mark.parametrize("where", ["TOKEN", "PRIVATE"])
def test_full_card(token: Callable[..., Any], where: str) -> None:
    """CKR_DEVICE_MEMORY, and what was there is still there, whole."""
    host = token(capacity=20_000)
    session = host.call(probes.user_session, read_write=True)
    place = probes.WHERE[where]
    values = [host.rv(probes.data, session, b"%d" % n, b"x" * 3000, place) for n in range(8)]
    assert values[-1] == CKR.DEVICE_MEMORY
    count = values.index(CKR.DEVICE_MEMORY)
    assert count >= 3
    assert len(host.call(probes.objects, session)) == count
    assert host.rv(Module.check, "C_CloseAllSessions", 0) == CKR.OK
    session = host.call(probes.user_session, read_write=True)
    assert len(host.call(probes.objects, session)) == count
    host.call(lambda m: m.destroy(session, m.find(session, {CKA.CLASS: CKO.DATA})[0]))
    host.call(probes.data, session, b"fits", b"x" * 3000, place)


def test_rights_to_write(writer: tuple[Any, int]) -> None:
    """A read-only session, and nobody at all."""
    host, session = writer
    read_only = host.call(Module.open_session, 0)
    assert host.rv(probes.data, read_only, b"x") == CKR.SESSION_READ_ONLY
    handle = host.call(probes.data, session, b"x")
    assert host.rv(Module.change, read_only, handle, {CKA.LABEL: b"y"}) == CKR.SESSION_READ_ONLY
    assert host.rv(Module.destroy, read_only, handle) == CKR.SESSION_READ_ONLY
    host.call(probes.data, read_only, b"session", where=probes.SESSION)
    host.call(Module.logout, session)
    assert host.rv(probes.data, session, b"x") == CKR.USER_NOT_LOGGED_IN
    assert host.rv(probes.data, session, b"x", where=probes.PRIVATE) == CKR.USER_NOT_LOGGED_IN
    assert host.rv(Module.destroy, session, handle) == CKR.ACTION_PROHIBITED


def test_how_a_key_was_made_stays(writer: tuple[Any, int]) -> None:
    """CKA_KEY_GEN_MECHANISM is not to be set, not even to what it is."""
    host, session = writer
    _, private = host.call(probes.ec_pair, session, b"made")

    def change(m: Module, s: int, h: int) -> Any:
        return m.change(s, h, {CKA.KEY_GEN_MECHANISM: CKM.EC_KEY_PAIR_GEN})

    assert host.rv(change, s=session, h=private) == CKR.ATTRIBUTE_READ_ONLY


@pytest.mark.parametrize("kind", [CKA.ISSUER, CKA.SERIAL_NUMBER], ids=lambda kind: kind.name)
def test_issuer_and_serial_number_of_a_certificate_may_be_anything(
    bare_simulator: Simulator, writer: tuple[Any, int], kind: CKA
) -> None:
    """They may be modified (PKCS #11 3.1, 4.6.3), so a new certificate may have others than its value says, too."""
    host, session = writer
    given = {int(name): value for name, value in template(certificate("Dora"), LABEL=b"Dora").items()}
    host.call(Module.create, session, {**given, int(kind): b"\2\1\7"})
    session = again(bare_simulator, host)

    def read(m: Module, s: int, k: int) -> Any:
        return [m.attribute(s, h, CKA(k)) for h in m.find(s, {CKA.LABEL: b"Dora"})]

    assert host.call(read, s=session, k=int(kind)) == [b"\2\1\7"]

    def change(m: Module, s: int, k: int) -> Any:
        return [m.change(s, h, {k: b"\2\1\x08"}) for h in m.find(s, {CKA.LABEL: b"Dora"})]

    host.call(change, s=session, k=int(kind))
    session = again(bare_simulator, host)
    assert host.call(read, s=session, k=int(kind)) == [b"\2\1\x08"]

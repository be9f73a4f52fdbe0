# SPDX-License-Identifier: MIT
"""ECDH1 with a key on the card: points in every encoding, and the attributes of what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module, Template
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKK, CKO, CKR
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..shared.host import probes
from ..shared.host.host import Host, NewHost

TEMPLATE: dict[int, int | bytes] = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET}
PLAIN = TEMPLATE | {CKA.SENSITIVE: b"\0", CKA.EXTRACTABLE: b"\1"}


def derived(m: Module, session: int, point: bytes, template: Template) -> int:
    """A key agreed on by the card's key for key management."""
    return probes.derive(m, session, probes.key(m, session, b"\3"), point, template)  # type: ignore[arg-type]


@pytest.fixture
def ec_host(bare_simulator: Simulator, new_host: NewHost) -> Any:
    """A host with a card whose key for key management (CKA_ID 03) is on P-256."""
    bare_simulator.plug("front")
    bare_simulator.insert("front", CardRequest(profile="piv-ec"))
    return new_host(bare_simulator)


def encoded(key: ec.EllipticCurvePrivateKey, form: PublicFormat) -> bytes:
    """A public point as X9.62 has it."""
    return key.public_key().public_bytes(Encoding.X962, form)


def test_every_encoding_of_a_point_gives_the_same_secret(ec_host: Host) -> None:
    """Uncompressed and compressed, bare and as a DER OCTET STRING."""
    session = ec_host.call(probes.user_session)
    public = ec_host.call(
        lambda m: m.attribute(session, m.find(session, {CKA.CLASS: 2, CKA.ID: b"\3"})[0], CKA.EC_POINT)
    )
    card = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public[2:])
    peer = ec.generate_private_key(ec.SECP256R1())
    wanted = peer.exchange(ec.ECDH(), card)
    for form in (PublicFormat.UncompressedPoint, PublicFormat.CompressedPoint):
        point = encoded(peer, form)
        for given in (point, bytes((4, len(point))) + point):
            handle = ec_host.call(derived, session, given, PLAIN)
            assert ec_host.call(Module.attribute, session, handle, CKA.VALUE) == wanted, given.hex()


def test_what_is_no_point_of_the_curve(ec_host: Host) -> None:
    """The parameter is at fault, however long it is; the card lives on."""
    session = ec_host.call(probes.user_session)
    point = encoded(ec.generate_private_key(ec.SECP256R1()), PublicFormat.UncompressedPoint)
    larger = encoded(ec.generate_private_key(ec.SECP384R1()), PublicFormat.UncompressedPoint)
    bad = (b"", b"\0", point[:-1], point[:-1] + bytes((point[-1] ^ 1,)), b"\4\x43" + point, b"\4\x41" + point + b"\0")
    for given in (*bad, larger, bytes((4, len(larger))) + larger, b"\4" * 100_000):
        value = ec_host.rv(derived, session, given, PLAIN)
        assert value == CKR.MECHANISM_PARAM_INVALID, given[:70].hex()
    assert ec_host.call(derived, session, point, PLAIN)


def test_length_of_an_aes_key(ec_host: Host) -> None:
    """Those that AES has, and no others."""
    session = ec_host.call(probes.user_session)
    point = encoded(ec.generate_private_key(ec.SECP256R1()), PublicFormat.UncompressedPoint)
    for length in (15, 16, 17, 24, 31, 32, 33):
        template = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: length}
        value = ec_host.rv(derived, session, point, template)
        assert value == (CKR.OK if length in (16, 24, 32) else CKR.KEY_SIZE_RANGE), length


def test_history_of_a_derived_key(ec_host: Host) -> None:
    """CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE follow its own attributes, as the card's key has them both."""
    session = ec_host.call(probes.user_session)
    point = encoded(ec.generate_private_key(ec.SECP256R1()), PublicFormat.UncompressedPoint)
    for sensitive, extractable in ((b"\0", b"\1"), (b"\1", b"\0")):
        template = TEMPLATE | {CKA.SENSITIVE: sensitive, CKA.EXTRACTABLE: extractable}
        handle = ec_host.call(derived, session, point, template)
        history = [
            ec_host.call(Module.attribute, session, handle, each)
            for each in (CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE)
        ]
        never = b"\1" if extractable == b"\0" else b"\0"
        assert history == [sensitive, never]

# SPDX-License-Identifier: MIT
"""Key pairs: generated and imported, on the card and in the session."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR
from cryptography.hazmat.primitives.asymmetric import rsa

from ...shared.host import key_probes, probes
from ...shared.host.host import NewHost

PARAMETERS = {
    "P-256": bytes.fromhex("06082a8648ce3d030107"),
    "P-384": bytes.fromhex("06052b81040022"),
    "Ed25519": bytes.fromhex("06032b6570"),
    "edwards25519": bytes.fromhex("130c656477617264733235353139"),
    "X25519": bytes.fromhex("06032b656e"),
    "P-224": bytes.fromhex("06052b81040021"),
    "P-521": bytes.fromhex("06052b81040023"),
    "secp256k1": bytes.fromhex("06052b8104000a"),
    "Ed448": bytes.fromhex("06032b6571"),
    "X448": bytes.fromhex("06032b656f"),
}
WEIERSTRASS = ("P-224", "P-256", "P-384", "P-521", "secp256k1")
KINDS: dict[str, tuple[int, dict[int, Any], int]] = {
    "RSA-1024": (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024}, CKK.RSA),
    "RSA-1536": (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1536}, CKK.RSA),
    "RSA-2048": (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: b"\1\0\1"}, CKK.RSA),
    "RSA-3072": (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 3072}, CKK.RSA),
    **{name: (CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: PARAMETERS[name]}, CKK.EC) for name in WEIERSTRASS},
    **{
        name: (CKM.EC_EDWARDS_KEY_PAIR_GEN, {CKA.EC_PARAMS: PARAMETERS[name]}, CKK.EC_EDWARDS)
        for name in ("Ed25519", "edwards25519", "Ed448")
    },
    **{
        name: (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: PARAMETERS[name]}, CKK.EC_MONTGOMERY)
        for name in ("X25519", "X448")
    },
}

IMPORTED = (CKA.CLASS, CKA.KEY_TYPE, CKA.EC_PARAMS, CKA.VALUE)
GONE = (CKR.SESSION_HANDLE_INVALID, CKR.DEVICE_REMOVED, CKR.TOKEN_NOT_PRESENT)
NO_CONTEXT = bytes(24)
"""CK_EDDSA_PARAMS: no prehash, and no context."""


@pytest.mark.parametrize("where", ["TOKEN", "SESSION"])
@pytest.mark.parametrize("kind", KINDS)
def test_generate(writer: tuple[Any, int], kind: str, where: str) -> None:
    """Both halves, with attributes that tell the truth about where they come from."""
    host, session = writer
    mechanism, public, key_type = KINDS[kind]
    place = probes.WHERE[where]
    made = host.start(Module.generate_pair, session, mechanism, {**public, **place}, {CKA.LABEL: b"x", **place})
    first, second = made.result(60)
    for handle in (first, second):
        assert host.call(Module.attribute, session, handle, CKA.LOCAL) == b"\1"
        assert int.from_bytes(host.call(Module.attribute, session, handle, CKA.KEY_TYPE), "little") == key_type
        assert (
            int.from_bytes(host.call(Module.attribute, session, handle, CKA.KEY_GEN_MECHANISM), "little") == mechanism
        )
        for attribute, value in public.items():
            if attribute in (CKA.EC_PARAMS, CKA.PUBLIC_EXPONENT):
                assert host.call(Module.attribute, session, handle, int(attribute)) == value
    identities = {host.call(Module.attribute, session, handle, CKA.ID) for handle in (first, second)}
    assert len(identities) == 1
    assert len(identities.pop()) == 20
    secret = int(CKA.PRIVATE_EXPONENT if key_type == CKK.RSA else CKA.VALUE)
    assert host.rv(Module.attribute, session, second, secret) == CKR.ATTRIBUTE_SENSITIVE


@pytest.mark.parametrize("where", ["TOKEN", "SESSION"])
def test_generated_pair_signs_and_verifies(writer: tuple[Any, int], where: str) -> None:
    """The halves belong together."""
    host, session = writer
    public, private = host.call(probes.ec_pair, session, b"x", probes.WHERE[where])
    signature = host.call(probes.ecdsa, session, private)
    assert host.call(probes.verifies, session, public, signature) == CKR.OK
    assert host.call(probes.verifies, session, public, signature[::-1]) == CKR.SIGNATURE_INVALID


@pytest.mark.parametrize("kind", [*WEIERSTRASS, "Ed25519", "Ed448"])
def test_imported_keys_on_curves(bare_simulator: Simulator, writer: tuple[Any, int], kind: str) -> None:
    """Imported into a key slot: they sign there, also when the card has been away."""
    host, session = writer
    mechanism, public, _ = KINDS[kind]
    signs = int(CKM.EDDSA if kind.startswith("Ed") else CKM.ECDSA_SHA256)

    def call(m: Module, s: int, k: int, t: Any) -> Any:
        return m.generate_pair(s, k, t, {**probes.SESSION, CKA.SENSITIVE: b"\x00", CKA.EXTRACTABLE: b"\1"})

    verifying, readable = host.call(call, s=session, k=int(mechanism), t=public)
    values = {int(kind): host.call(Module.attribute, session, readable, int(kind)) for kind in IMPORTED}
    host.call(Module.create, session, {**values, **probes.TOKEN, CKA.LABEL: b"x", CKA.SIGN: b"\1"})
    parameter = NO_CONTEXT if kind == "Ed448" else b""

    def sign(m: Module, session: int, key: int) -> bytes:
        m.sign_init(session, key, signs, parameter)
        return m.sign(session, b"data")

    def verify(m: Module, session: int, key: int, public: int) -> int:
        return key_probes.verified(m, session, signs, parameter, public, b"data", sign(m, session, key))

    def find(m: Module, s: int) -> Any:
        return m.find(s, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.LABEL: b"x"})[0]

    on_card = host.call(find, s=session)
    assert host.call(verify, session, on_card, verifying) == CKR.OK
    point = host.call(Module.attribute, session, verifying, CKA.EC_POINT)
    bare_simulator.remove("front")
    assert host.rv(sign, session, on_card) in GONE
    bare_simulator.insert("front", CardRequest(profile="blank"))
    session = host.call(probes.user_session, read_write=True)

    def again(m: Module, s: int, t: Any, p: Any) -> Any:
        return m.create(s, {**t, CKA.CLASS: CKO.PUBLIC_KEY, CKA.EC_POINT: p, CKA.VERIFY: b"\1"})

    told = {int(CKA.KEY_TYPE): values[int(CKA.KEY_TYPE)], int(CKA.EC_PARAMS): values[int(CKA.EC_PARAMS)]}
    verifying = host.call(again, s=session, t=told, p=point)
    assert host.call(verify, session, host.call(find, s=session), verifying) == CKR.OK


def test_chosen_slot_and_free_slot(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """A CKA_ID of one byte names a key slot; when it is taken, or none is named, a free one does."""
    host, session = writer
    for identity in (b"\3", b"\7", b"\7", b"any"):
        host.call(probes.ec_pair, session, b"x", ID=identity)
    card = bare_simulator.testbed.reader("front").insertion.card  # type: ignore[union-attr]
    slots = {slot for slot in card.store.state.keys if slot != 0x9B}  # type: ignore[attr-defined]
    assert slots == {0x9D, 0x84, 0x9A, 0x9C}


def test_twenty_four_keys_and_no_more(writer: tuple[Any, int]) -> None:
    """Then the card is full; a destroyed key makes room."""
    host, session = writer
    handles = host.call(lambda m: [probes.ec_pair(m, session, b"%d" % n) for n in range(24)])
    assert host.rv(probes.ec_pair, session, b"one more") == CKR.DEVICE_MEMORY
    assert len(host.call(probes.objects, session)) == 48
    for handle in handles[5]:
        host.call(Module.destroy, session, handle)
    host.call(probes.ec_pair, session, b"one more")


def test_halves_are_destroyed_one_by_one(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Whichever goes first, the other stays, also when the card comes back."""
    host, session = writer
    for goes, stays in ((0, 1), (1, 0)):
        pair = host.call(probes.ec_pair, session, b"x")
        host.call(Module.destroy, session, pair[goes])
        left = [(CKO.PRIVATE_KEY if stays else CKO.PUBLIC_KEY, b"x")]
        assert host.call(probes.objects, session) == left
        bare_simulator.remove("front")
        bare_simulator.insert("front", CardRequest(profile="blank"))
        session = host.call(probes.user_session, read_write=True)
        assert host.call(probes.objects, session) == left
        host.call(lambda m, s=session: m.destroy(s, m.find(s, {CKA.LABEL: b"x"})[0]))
        assert host.call(probes.objects, session) == []


def test_key_that_asks_for_the_pin_each_time(writer: tuple[Any, int]) -> None:
    """CKA_ALWAYS_AUTHENTICATE is the card's own policy."""
    host, session = writer
    _, private = host.call(probes.ec_pair, session, b"x", ALWAYS_AUTHENTICATE=b"\1")
    assert host.rv(probes.ecdsa, session, private) == CKR.USER_NOT_LOGGED_IN
    host.call(
        lambda m: (m.sign_init(session, private, CKM.ECDSA), m.login(session, "123456", 2), m.sign(session, bytes(32)))
    )


def test_imported_rsa_key(writer: tuple[Any, int]) -> None:
    """By all its numbers, and by the least that the standard asks for; on the card and in the session."""
    host, session = writer
    for where, full in (("TOKEN", True), ("SESSION", True), ("SESSION", False)):
        key = rsa.generate_private_key(65537, 2048)
        numbers = key.private_numbers()
        named = {CKA.MODULUS: numbers.public_numbers.n, CKA.PRIVATE_EXPONENT: numbers.d, CKA.PUBLIC_EXPONENT: 65537}
        if full:
            named |= {
                CKA.PRIME_1: numbers.p,
                CKA.PRIME_2: numbers.q,
                CKA.EXPONENT_1: numbers.dmp1,
                CKA.EXPONENT_2: numbers.dmq1,
                CKA.COEFFICIENT: numbers.iqmp,
            }
        values = {int(kind): value.to_bytes((value.bit_length() + 7) // 8, "big") for kind, value in named.items()}
        attributes = {int(CKA.CLASS): int(CKO.PRIVATE_KEY), int(CKA.KEY_TYPE): 0, **values}
        handle = host.call(Module.create, session, {**attributes, CKA.SIGN: b"\1", **probes.WHERE[where]})
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        key.public_key().verify(host.call(probes.sign, session, handle), b"data", PKCS1v15(), SHA256())


def test_wrong_key_sizes_and_curves(writer: tuple[Any, int]) -> None:
    """The standard's code for each."""
    host, session = writer
    cases: list[tuple[int, dict[int, Any], int]] = [
        (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 512}, CKR.ATTRIBUTE_VALUE_INVALID),
        (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2**63}, CKR.ATTRIBUTE_VALUE_INVALID),
        (CKM.RSA_PKCS_KEY_PAIR_GEN, {}, CKR.TEMPLATE_INCOMPLETE),
        (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: b"\4"}, CKR.TEMPLATE_INCONSISTENT),
        (CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06052b81040009")}, CKR.CURVE_NOT_SUPPORTED),
        (CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: b"rubbish"}, CKR.DOMAIN_PARAMS_INVALID),
        (CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: PARAMETERS["Ed25519"]}, CKR.TEMPLATE_INCONSISTENT),
        (CKM.EC_KEY_PAIR_GEN, {}, CKR.TEMPLATE_INCOMPLETE),
        (CKM.ECDSA, {CKA.EC_PARAMS: PARAMETERS["P-256"]}, CKR.MECHANISM_INVALID),
    ]
    for where in ("TOKEN", "SESSION"):
        for mechanism, public, expected in cases:
            place = probes.WHERE[where]
            value = host.rv(Module.generate_pair, session, mechanism, {**public, **place}, place)
            assert value == expected, (mechanism, public)
    assert host.call(probes.objects, session) == []


def test_two_applications_share_a_key(writer: tuple[Any, int], bare_simulator: Simulator, new_host: NewHost) -> None:
    """What one makes the other uses."""
    host, session = writer
    other = new_host(bare_simulator)
    theirs = other.call(probes.user_session)
    host.call(probes.ec_pair, session, b"shared")
    found = other.call(lambda m: m.find(theirs, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.LABEL: b"shared"})[0])
    assert len(other.call(probes.ecdsa, theirs, found)) == 64

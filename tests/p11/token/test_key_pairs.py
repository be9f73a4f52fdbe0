# SPDX-License-Identifier: MIT
"""Key pairs: generated and imported, on the card and in the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR
from cryptography.hazmat.primitives.asymmetric import rsa

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
    call = f"m.generate_pair(s, k, {{**t, **{where}}}, {{CKA.LABEL: b'x', **{where}}})"
    first, second = host.eval(call, s=session, k=int(mechanism), t=public, deadline=60)
    for handle in (first, second):
        assert host.eval("m.attribute(s, h, CKA.LOCAL)", s=session, h=handle) == b"\1"
        assert int.from_bytes(host.eval("m.attribute(s, h, CKA.KEY_TYPE)", s=session, h=handle), "little") == key_type
        assert (
            int.from_bytes(host.eval("m.attribute(s, h, CKA.KEY_GEN_MECHANISM)", s=session, h=handle), "little")
            == mechanism
        )
        for attribute, value in public.items():
            if attribute in (CKA.EC_PARAMS, CKA.PUBLIC_EXPONENT):
                assert host.eval("m.attribute(s, h, a)", s=session, h=handle, a=int(attribute)) == value
    identities = {host.eval("m.attribute(s, h, CKA.ID)", s=session, h=handle) for handle in (first, second)}
    assert len(identities) == 1
    assert len(identities.pop()) == 20
    secret = int(CKA.PRIVATE_EXPONENT if key_type == CKK.RSA else CKA.VALUE)
    assert host.eval("rv(lambda: m.attribute(s, h, a))", s=session, h=second, a=secret) == CKR.ATTRIBUTE_SENSITIVE


@pytest.mark.parametrize("where", ["TOKEN", "SESSION"])
def test_generated_pair_signs_and_verifies(writer: tuple[Any, int], where: str) -> None:
    """The halves belong together."""
    host, session = writer
    public, private = host.eval(f"ec_pair(m, s, b'x', {where})", s=session)
    signature = host.eval("ecdsa(m, s, h)", s=session, h=private)
    assert host.eval("verifies(m, s, h, g)", s=session, h=public, g=signature) == CKR.OK
    assert host.eval("verifies(m, s, h, g)", s=session, h=public, g=signature[::-1]) == CKR.SIGNATURE_INVALID


@pytest.mark.parametrize("kind", [*WEIERSTRASS, "Ed25519", "Ed448"])
def test_imported_keys_on_curves(bare_simulator: Simulator, writer: tuple[Any, int], kind: str) -> None:
    """Imported into a key slot: they sign there, also when the card has been away."""
    host, session = writer
    mechanism, public, _ = KINDS[kind]
    signs = int(CKM.EDDSA if kind.startswith("Ed") else CKM.ECDSA_SHA256)
    call = "m.generate_pair(s, k, t, {**SESSION, CKA.SENSITIVE: b'\\0', CKA.EXTRACTABLE: b'\\1'})"
    verifying, readable = host.eval(call, s=session, k=int(mechanism), t=public)
    values = {int(kind): host.eval("m.attribute(s, h, a)", s=session, h=readable, a=int(kind)) for kind in IMPORTED}
    host.eval("m.create(s, {**t, **TOKEN, CKA.LABEL: b'x', CKA.SIGN: b'\\1'})", s=session, t=values)
    parameter = NO_CONTEXT if kind == "Ed448" else b""
    sign = "(m.sign_init(s, h, c, p), m.sign(s, b'data'))[1]"
    verify = f"verified(m, s, c, p, k, b'data', {sign})"
    find = "m.find(s, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.LABEL: b'x'})[0]"
    on_card = host.eval(find, s=session)
    assert host.eval(verify, s=session, c=signs, p=parameter, k=verifying, h=on_card) == CKR.OK
    point = host.eval("m.attribute(s, h, CKA.EC_POINT)", s=session, h=verifying)
    bare_simulator.remove("front")
    assert host.eval(f"rv(lambda: {sign})", s=session, c=signs, p=parameter, h=on_card) in GONE
    bare_simulator.insert("front", CardRequest(profile="blank"))
    session = host.eval("user_session(m, read_write=True)")
    again = "m.create(s, {**t, CKA.CLASS: CKO.PUBLIC_KEY, CKA.EC_POINT: p, CKA.VERIFY: b'\\1'})"
    told = {int(CKA.KEY_TYPE): values[int(CKA.KEY_TYPE)], int(CKA.EC_PARAMS): values[int(CKA.EC_PARAMS)]}
    verifying = host.eval(again, s=session, t=told, p=point)
    assert host.eval(verify, s=session, c=signs, p=parameter, k=verifying, h=host.eval(find, s=session)) == CKR.OK


def test_chosen_slot_and_free_slot(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """A CKA_ID of one byte names a key slot; when it is taken, or none is named, a free one does."""
    host, session = writer
    for identity in (b"\3", b"\7", b"\7", b"any"):
        host.eval("ec_pair(m, s, b'x', ID=i)", s=session, i=identity)
    card = bare_simulator.testbed.reader("front").insertion.card  # type: ignore[union-attr]
    slots = {slot for slot in card.store.state.keys if slot != 0x9B}  # type: ignore[attr-defined]
    assert slots == {0x9D, 0x84, 0x9A, 0x9C}


def test_twenty_four_keys_and_no_more(writer: tuple[Any, int]) -> None:
    """Then the card is full; a destroyed key makes room."""
    host, session = writer
    handles = host.eval("[ec_pair(m, s, b'%d' % n) for n in range(24)]", s=session)
    assert host.eval("rv(lambda: ec_pair(m, s, b'one more'))", s=session) == CKR.DEVICE_MEMORY
    assert len(host.eval("objects(m, s)", s=session)) == 48
    for handle in handles[5]:
        host.eval("m.destroy(s, h)", s=session, h=handle)
    host.eval("ec_pair(m, s, b'one more')", s=session)


def test_halves_are_destroyed_one_by_one(bare_simulator: Simulator, writer: tuple[Any, int]) -> None:
    """Whichever goes first, the other stays, also when the card comes back."""
    host, session = writer
    for goes, stays in ((0, 1), (1, 0)):
        pair = host.eval("ec_pair(m, s, b'x')", s=session)
        host.eval("m.destroy(s, h)", s=session, h=pair[goes])
        left = [(CKO.PRIVATE_KEY if stays else CKO.PUBLIC_KEY, b"x")]
        assert host.eval("objects(m, s)", s=session) == left
        bare_simulator.remove("front")
        bare_simulator.insert("front", CardRequest(profile="blank"))
        session = host.eval("user_session(m, read_write=True)")
        assert host.eval("objects(m, s)", s=session) == left
        host.eval("m.destroy(s, m.find(s, {CKA.LABEL: b'x'})[0])", s=session)
        assert host.eval("objects(m, s)", s=session) == []


def test_key_that_asks_for_the_pin_each_time(writer: tuple[Any, int]) -> None:
    """CKA_ALWAYS_AUTHENTICATE is the card's own policy."""
    host, session = writer
    _, private = host.eval("ec_pair(m, s, b'x', ALWAYS_AUTHENTICATE=b'\\1')", s=session)
    assert host.eval("rv(lambda: ecdsa(m, s, h))", s=session, h=private) == CKR.USER_NOT_LOGGED_IN
    host.eval("(m.sign_init(s, h, CKM.ECDSA), m.login(s, '123456', 2), m.sign(s, bytes(32)))", s=session, h=private)


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
        handle = host.eval(f"m.create(s, {{**t, CKA.SIGN: b'\\1', **{where}}})", s=session, t=attributes)
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        key.public_key().verify(host.eval("sign(m, s, h)", s=session, h=handle), b"data", PKCS1v15(), SHA256())


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
            call = f"rv(lambda: m.generate_pair(s, k, {{**t, **{where}}}, {where}))"
            assert host.eval(call, s=session, k=int(mechanism), t=public) == expected, (mechanism, public)
    assert host.eval("objects(m, s)", s=session) == []


def test_two_applications_share_a_key(
    writer: tuple[Any, int], bare_simulator: Simulator, new_host: Callable[..., Any]
) -> None:
    """What one makes the other uses."""
    host, session = writer
    other = new_host(bare_simulator)
    theirs = other.eval("user_session(m)")
    host.eval("ec_pair(m, s, b'shared')", s=session)
    found = other.eval("m.find(s, {CKA.CLASS: CKO.PRIVATE_KEY, CKA.LABEL: b'shared'})[0]", s=theirs)
    assert len(other.eval("ecdsa(m, s, h)", s=theirs, h=found)) == 64

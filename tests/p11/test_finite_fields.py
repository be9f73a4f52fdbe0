# SPDX-License-Identifier: MIT
"""DSA and Diffie-Hellman as session keys of a token for old test suites (PKCS #11 3.1, 2.2 and 2.4)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.token_traits import Traits
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKD, CKK, CKM, CKO, CKR
from cardtear.p11.finite_fields import KEY_TYPES
from cardtear.p11.mechanisms import MECHANISMS, Scheme
from cardtear.p11.operations import derivation
from cardtear.p11.token_mechanisms import token_mechanisms
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

YES, NO = b"\1", b"\0"
# A domain of 1024 and 160 bits, made for these tests.
PRIME = bytes.fromhex(
    "e8ffc44082facb68d7d4a4003e48f640a5fcf20024afddc0ebf4ca8448f9de2bdac8097bc250728e28fe66522117e868b27e"
    "403adcff654eb08f353329275925c960b57c817f187ba079224ebb4228dc75b53e12110d377f4e41de0ab1f84b43bbba1a98"
    "bb3647140b065f0321a7e5b2860b2ba11d9cb65e39af2a9542d5b557"
)
SUBPRIME = bytes.fromhex("b3cd1bba5d52c7b18c26d062084f23d938d0553f")
BASE = bytes.fromhex(
    "79ecf4ea02833f9a6fcbc22cda98375a4310b23adc540d1624566fa7e0bdeeae67529860142ef68ca11e2db10cb3ab8900a8"
    "d8274a72b28e772be1339fb111ad30acec5e8ef1bf4baaf75ae68937e0a4452584b28bc581879140c298bcb4b8ee737472b5"
    "f1e8432f4422e162703f191c4773cee1669984484233b840f2ab38fb"
)
DSA_DOMAIN = {CKA.PRIME: PRIME, CKA.SUBPRIME: SUBPRIME, CKA.BASE: BASE}
DH_DOMAIN = {CKA.PRIME: PRIME, CKA.BASE: BASE}
PLAIN = {CKA.SENSITIVE: NO, CKA.EXTRACTABLE: YES}
AGREEMENTS: list[tuple[CKM, CKM, dict[CKA, Any]]] = [
    (CKM.DH_PKCS_KEY_PAIR_GEN, CKM.DH_PKCS_DERIVE, DH_DOMAIN),
    (CKM.X9_42_DH_KEY_PAIR_GEN, CKM.X9_42_DH_DERIVE, DSA_DOMAIN),
]
P, Q, G = (int.from_bytes(each, "big") for each in (PRIME, SUBPRIME, BASE))
DSA_MECHANISMS = [each for each in MECHANISMS.values() if each.scheme is Scheme.DSA]


def integer(value: bytes) -> int:
    return int.from_bytes(value, "big")


@pytest.fixture
def session(m: Any) -> int:
    return int(m.open_session(0))


@pytest.fixture
def pair(m: Any, session: int) -> tuple[int, int]:
    """A DSA key pair of the session."""
    made: tuple[int, int] = m.generate_pair(session, CKM.DSA_KEY_PAIR_GEN, DSA_DOMAIN, {CKA.PRIVATE: NO, **PLAIN})
    return made


def sign(m: Any, session: int, key: int, mechanism: CKM, data: bytes) -> bytes:
    m.sign_init(session, key, mechanism)
    return bytes(m.sign(session, data))


def verify(m: Any, session: int, key: int, mechanism: CKM, data: bytes, signature: bytes) -> CKR:
    built, _kept = m.mechanism(mechanism)
    m.check("C_VerifyInit", session, built, key)
    return CKR(m.call("C_Verify", session, data, len(data), signature, len(signature)))


@pytest.mark.parametrize("rule", DSA_MECHANISMS, ids=lambda rule: rule.type.name)
def test_sign_and_verify(m: Any, session: int, pair: tuple[int, int], rule: Any) -> None:
    """The library takes the signature, too; a wrong one is refused."""
    data = b"some data" if rule.digest else hashlib.sha1(b"some data").digest()
    signature = sign(m, session, pair[1], rule.type, data)
    assert len(signature) == 40
    assert verify(m, session, pair[0], rule.type, data, signature) is CKR.OK
    assert verify(m, session, pair[0], rule.type, data, bytes(40)) is CKR.SIGNATURE_INVALID
    assert verify(m, session, pair[0], rule.type, data, bytes(39)) is CKR.SIGNATURE_LEN_RANGE
    public = dsa.DSAPublicNumbers(integer(m.attribute(session, pair[0], CKA.VALUE)), dsa.DSAParameterNumbers(P, Q, G))
    digest = hashlib.new(rule.digest, data).digest() if rule.digest else data
    der = encode_dss_signature(integer(signature[:20]), integer(signature[20:]))
    public.public_key().verify(der, digest[:20], Prehashed(hashes.SHA1()))


@pytest.mark.parametrize("length", [1, 8, 24, 1000])
def test_no_mechanism_has_a_parameter(m: Any, session: int, pair: tuple[int, int], length: int) -> None:
    for rule in DSA_MECHANISMS:
        built, _kept = m.mechanism(rule.type, bytes(length))
        for function, key in (("C_SignInit", pair[1]), ("C_VerifyInit", pair[0])):
            assert m.call(function, session, built, key) == CKR.MECHANISM_PARAM_INVALID


def test_what_is_told_of_a_pair(m: Any, session: int, pair: tuple[int, int]) -> None:
    for handle in pair:
        for kind, value in DSA_DOMAIN.items():
            assert m.attribute(session, handle, kind) == value
    x, y = (integer(m.attribute(session, handle, CKA.VALUE)) for handle in (pair[1], pair[0]))
    assert pow(G, x, P) == y
    assert 1 < x < Q


def test_keys_from_outside(m: Any, session: int, pair: tuple[int, int]) -> None:
    """A private key and its public half, each made of its numbers."""
    value = m.attribute(session, pair[1], CKA.VALUE)
    kind = {CKA.KEY_TYPE: CKK.DSA, **DSA_DOMAIN}
    private = m.create(session, {CKA.CLASS: CKO.PRIVATE_KEY, **kind, CKA.VALUE: value, CKA.PRIVATE: NO})
    public = m.create(session, {CKA.CLASS: CKO.PUBLIC_KEY, **kind, CKA.VALUE: m.attribute(session, pair[0], CKA.VALUE)})
    signature = sign(m, session, private, CKM.DSA_SHA256, b"data")
    assert verify(m, session, public, CKM.DSA_SHA256, b"data", signature) is CKR.OK


@pytest.mark.parametrize(("generation", "derivation", "domain"), AGREEMENTS, ids=["PKCS", "X9.42"])
def test_agreement(m: Any, session: int, generation: CKM, derivation: CKM, domain: dict[CKA, Any]) -> None:
    """Both sides get the same secret, the one that the numbers make; shorter ones are its end."""
    private = {CKA.PRIVATE: NO, CKA.VALUE_BITS: 150, **PLAIN}
    pairs = [m.generate_pair(session, generation, domain, private) for _ in range(2)]
    values = [m.attribute(session, public, CKA.VALUE) for public, _ in pairs]
    x = integer(m.attribute(session, pairs[0][1], CKA.VALUE))
    assert x.bit_length() == 150
    wanted = pow(integer(values[1]), x, P).to_bytes(128, "big")
    for mine, other in ((pairs[0], values[1]), (pairs[1], values[0])):
        assert derived(m, session, derivation, mine[1], other) == wanted
        assert derived(m, session, derivation, mine[1], other, 20) == wanted[-20:]


def derived(
    m: Any, session: int, mechanism: CKM, key: int, other: bytes, length: int | None = None, **more: Any
) -> Any:
    """The secret, or why there is none."""
    ffi = m.ffi
    given = ffi.new("unsigned char[]", other)
    parameter, size = given, len(other)
    if mechanism == CKM.X9_42_DH_DERIVE:
        info = more.get("info", b"")
        told = ffi.new("unsigned char[]", info)
        fields = (more.get("kdf", CKD.NULL), len(info), told, len(other), given)
        parameter = ffi.new("CK_X9_42_DH1_DERIVE_PARAMS *", fields)
        size = ffi.sizeof("CK_X9_42_DH1_DERIVE_PARAMS")
    template = {CKA.KEY_TYPE: CKK.GENERIC_SECRET, **PLAIN} | ({CKA.VALUE_LEN: length} if length is not None else {})
    attributes, _kept = m.template(template)
    handle = ffi.new("CK_ULONG *")
    built = ffi.new("CK_MECHANISM *", (mechanism, parameter, size))
    value = m.call("C_DeriveKey", session, built, key, attributes, len(template), handle)
    return CKR(value) if value else m.attribute(session, handle[0], CKA.VALUE)


@pytest.mark.parametrize(("generation", "derivation", "domain"), AGREEMENTS, ids=["PKCS", "X9.42"])
@pytest.mark.parametrize("other", [b"", b"\0", b"\1", PRIME, b"\xff" * 200], ids=["none", "0", "1", "p", "more"])
def test_no_agreement(
    m: Any, session: int, generation: CKM, derivation: CKM, domain: dict[CKA, Any], other: bytes
) -> None:
    _, private = m.generate_pair(session, generation, domain, {CKA.PRIVATE: NO})
    assert derived(m, session, derivation, private, other) is CKR.MECHANISM_PARAM_INVALID
    assert derived(m, session, derivation, private, BASE, 129) is CKR.KEY_SIZE_RANGE


# The first example of RFC 2631, 2.1.2: the data, and the key of its secret of twenty bytes.
OTHER_INFO = bytes.fromhex("301d301306 0b2a864886f70d01091003060404 00000001a2060404 000000c0".replace(" ", ""))
WANTED = bytes.fromhex("a09661392376f7044d9052a397883246b67f5f1ef63eb5fb")


def test_function_in_asn1() -> None:
    assert derivation.in_asn1("sha1", bytes(range(20)), OTHER_INFO, 24) == WANTED


@pytest.mark.parametrize("length", [None, 16, 20, 24, 128, 300])
def test_functions_over_a_secret(m: Any, session: int, length: int | None) -> None:
    """Hashes of secret, counter and data, by the definitions of X9.42."""
    _, private = m.generate_pair(session, CKM.X9_42_DH_KEY_PAIR_GEN, DSA_DOMAIN, {CKA.PRIVATE: NO})
    secret = derived(m, session, CKM.X9_42_DH_DERIVE, private, BASE)
    counters = [each.to_bytes(4, "big") for each in range(1, 17)]
    in_order = [secret + each + b"data" for each in counters]
    within = [secret + OTHER_INFO.replace(counters[0], each, 1) for each in counters]
    for kdf, info, blocks in (
        (CKD.SHA1_KDF_CONCATENATE, b"data", in_order),
        (CKD.SHA1_KDF_ASN1, OTHER_INFO, within),
    ):
        stream = b"".join(hashlib.sha1(block).digest() for block in blocks)
        found = derived(m, session, CKM.X9_42_DH_DERIVE, private, BASE, length, kdf=kdf, info=info)
        assert found == stream[: length or 20]


@pytest.mark.parametrize(
    "more",
    [
        {"kdf": CKD.SHA1_KDF},
        {"kdf": 99},
        {"info": b"x"},
        {"kdf": CKD.SHA1_KDF_ASN1},
        *({"kdf": CKD.SHA1_KDF_ASN1, "info": OTHER_INFO[:end]} for end in range(1, len(OTHER_INFO), 7)),
        {"kdf": CKD.SHA1_KDF_ASN1, "info": OTHER_INFO + b"\0"},
    ],
    ids=str,
)
def test_no_function_over_a_secret(m: Any, session: int, more: dict[str, Any]) -> None:
    _, private = m.generate_pair(session, CKM.X9_42_DH_KEY_PAIR_GEN, DSA_DOMAIN, {CKA.PRIVATE: NO})
    assert derived(m, session, CKM.X9_42_DH_DERIVE, private, BASE, **more) is CKR.MECHANISM_PARAM_INVALID


@pytest.mark.parametrize("generation", [CKM.DSA_KEY_PAIR_GEN, CKM.DH_PKCS_KEY_PAIR_GEN, CKM.X9_42_DH_KEY_PAIR_GEN])
@pytest.mark.parametrize(
    ("changed", "reasons"),
    [
        ({CKA.PRIME: None}, [CKR.TEMPLATE_INCOMPLETE]),
        ({CKA.BASE: None}, [CKR.TEMPLATE_INCOMPLETE]),
        ({CKA.PRIME: b"\7"}, [CKR.KEY_SIZE_RANGE, CKR.ATTRIBUTE_VALUE_INVALID]),
        ({CKA.PRIME: b"\xff" * 5000}, [CKR.KEY_SIZE_RANGE, CKR.ATTRIBUTE_VALUE_INVALID]),
        ({CKA.BASE: b"\1"}, [CKR.ATTRIBUTE_VALUE_INVALID]),
        ({CKA.BASE: b"\0"}, [CKR.ATTRIBUTE_VALUE_INVALID]),
        ({CKA.BASE: PRIME}, [CKR.ATTRIBUTE_VALUE_INVALID]),
    ],
    ids=["no prime", "no base", "7", "40000 bits", "base 1", "base 0", "base p"],
)
def test_no_domain(m: Any, session: int, generation: CKM, changed: dict[CKA, Any], reasons: list[CKR]) -> None:
    domain = DH_DOMAIN if generation is CKM.DH_PKCS_KEY_PAIR_GEN else DSA_DOMAIN
    template = {kind: value for kind, value in {**domain, **changed}.items() if value is not None}
    with pytest.raises(Failed) as caught:
        m.generate_pair(session, generation, template, {CKA.PRIVATE: NO})
    assert caught.value.value in reasons


def test_they_go_with_the_card(module: tuple[Simulator, Any], pair: tuple[int, int], session: int) -> None:
    simulator, m = module
    m.sign_init(session, pair[1], CKM.DSA_SHA1)
    simulator.remove("front")
    try:
        with pytest.raises(Failed) as caught:
            m.sign(session, b"data")
        assert caught.value.value == CKR.SESSION_HANDLE_INVALID
    finally:
        simulator.insert("front")
        m.login(m.open_session(0, read_write=True))


def test_only_for_old_suites() -> None:
    """Whoever did not ask for them is offered none."""
    old = {number for number, rule in MECHANISMS.items() if rule.key_types and rule.key_types[0] in KEY_TYPES}
    assert old.isdisjoint(token_mechanisms(Traits()))
    assert old <= set(token_mechanisms(Traits(legacy=True)))
    assert CardRequest().legacy is False

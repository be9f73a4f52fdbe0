# SPDX-License-Identifier: MIT
"""What the template of each mechanism and each kind of key must have, and must not: one row each (PKCS #11 3.2, 6).

The footnotes of table 13 are the columns: what has to be there is CKR_TEMPLATE_INCOMPLETE when it is missing, what must
not be there CKR_ATTRIBUTE_READ_ONLY, what belongs to other objects CKR_TEMPLATE_INCONSISTENT.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKO, CKP, CKR
from cardtear.p11.mechanisms import MECHANISMS

YES, NO = b"\1", b"\0"
P256 = bytes.fromhex("06082a8648ce3d030107")
ED25519, X25519 = bytes.fromhex("06032b6570"), bytes.fromhex("06032b656e")
POINT = bytes.fromhex(
    "0441046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
MODULUS = b"\xc3" * 127 + b"\x01"
Template = dict[CKA, Any]

# What no template may have of any key, and of those with secrets in them.
_HISTORY = {CKA.LOCAL: YES, CKA.KEY_GEN_MECHANISM: 0, CKA.UNIQUE_ID: b"x"}
_SECRET_HISTORY = {**_HISTORY, CKA.ALWAYS_SENSITIVE: YES, CKA.NEVER_EXTRACTABLE: YES}
_RSA_NUMBERS = ("PRIVATE_EXPONENT", "PRIME_1", "PRIME_2", "EXPONENT_1", "EXPONENT_2", "COEFFICIENT")
_RSA_SECRETS = {CKA.MODULUS: b"\1", CKA.PUBLIC_EXPONENT: b"\3", **{CKA[name]: b"\1" for name in _RSA_NUMBERS}}


class Row(NamedTuple):
    """Attributes that are needed, those that must not be there, and those that belong elsewhere; each with a value."""

    needed: Template
    barred: Template
    foreign: Template


_EC = {CKA.EC_PARAMS: P256}
_EC_SECRETS = {**_SECRET_HISTORY, **_EC, CKA.VALUE: b"\1"}
_LATTICE_SECRETS = {**_SECRET_HISTORY, CKA.PARAMETER_SET: 2, CKA.VALUE: b"\1", CKA.SEED: b"\1"}
_NOT_OF_SECRETS = {
    CKA.MODULUS: b"\1",
    CKA.EC_PARAMS: P256,
    CKA.SUBJECT: b"x",
    CKA.CERTIFICATE_TYPE: 0,
    CKA.SIGN_RECOVER: YES,
}

GENERATE: dict[CKM, Row] = {
    **{
        mechanism: Row(needed, {**_SECRET_HISTORY, CKA.VALUE: bytes(16)}, _NOT_OF_SECRETS)
        for mechanism, needed in (
            (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16}),
            (CKM.GENERIC_SECRET_KEY_GEN, {CKA.VALUE_LEN: 16}),
            (CKM.HKDF_KEY_GEN, {CKA.VALUE_LEN: 16}),
            (CKM.DES3_KEY_GEN, {}),
            (CKM.DES2_KEY_GEN, {}),
            (CKM.DES_KEY_GEN, {}),
            (CKM.CHACHA20_KEY_GEN, {}),
        )
    },
    **{
        mechanism: Row(
            needed,
            {CKA.LOCAL: YES, CKA.UNIQUE_ID: b"x", CKA.PRIME: b"\7", CKA.BASE: b"\2"},
            {CKA.MODULUS: b"\1", CKA.SENSITIVE: YES, CKA.ID: b"x", CKA.VALUE: b"x", CKA.KEY_GEN_MECHANISM: 0},
        )
        for mechanism, needed in (
            (CKM.DSA_PARAMETER_GEN, {CKA.PRIME_BITS: 1024}),
            (CKM.DH_PKCS_PARAMETER_GEN, {CKA.PRIME_BITS: 512}),
            (CKM.X9_42_DH_PARAMETER_GEN, {CKA.PRIME_BITS: 512, CKA.SUBPRIME_BITS: 160}),
        )
    },
}
_NOT_OF_PUBLIC = {CKA.SENSITIVE: YES, CKA.DECRYPT: YES, CKA.SIGN: YES, CKA.VALUE_LEN: 1, CKA.PRIME_1: b"\1"}
_NOT_OF_PRIVATE = {CKA.ENCRYPT: YES, CKA.VERIFY: YES, CKA.MODULUS_BITS: 1024, CKA.VALUE_LEN: 1, CKA.TRUSTED: NO}

GENERATE_PAIR: dict[CKM, tuple[Row, Row]] = {
    CKM.RSA_PKCS_KEY_PAIR_GEN: (
        Row({CKA.MODULUS_BITS: 1024}, {**_HISTORY, CKA.MODULUS: b"\1"}, {**_NOT_OF_PUBLIC, **_EC}),
        Row({}, {**_SECRET_HISTORY, **_RSA_SECRETS}, {**_NOT_OF_PRIVATE, **_EC}),
    ),
    **{
        mechanism: (
            Row({CKA.EC_PARAMS: curve}, {**_HISTORY, CKA.EC_POINT: b"\1"}, {**_NOT_OF_PUBLIC, CKA.MODULUS: b"\1"}),
            Row({}, _EC_SECRETS, {**_NOT_OF_PRIVATE, CKA.MODULUS: b"\1"}),
        )
        for mechanism, curve in (
            (CKM.EC_KEY_PAIR_GEN, P256),
            (CKM.EC_EDWARDS_KEY_PAIR_GEN, ED25519),
            (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, X25519),
        )
    },
    **{
        mechanism: (
            Row({CKA.PARAMETER_SET: kind}, {**_HISTORY, CKA.VALUE: b"\1"}, {**_NOT_OF_PUBLIC, **_EC}),
            Row({}, _LATTICE_SECRETS, {**_NOT_OF_PRIVATE, **_EC}),
        )
        for mechanism, kind in ((CKM.ML_DSA_KEY_PAIR_GEN, CKP.ML_DSA_44), (CKM.ML_KEM_KEY_PAIR_GEN, CKP.ML_KEM_768))
    },
}

_SECRET_ROW = {CKA.CLASS: CKO.SECRET_KEY}
_PUBLIC_ROW, _PRIVATE_ROW = {CKA.CLASS: CKO.PUBLIC_KEY}, {CKA.CLASS: CKO.PRIVATE_KEY}
CREATE: dict[str, Row] = {
    **{
        kind.name: Row(
            {**_SECRET_ROW, CKA.KEY_TYPE: kind, CKA.VALUE: bytes(length)},
            {**_SECRET_HISTORY, CKA.VALUE_LEN: length},
            _NOT_OF_SECRETS,
        )
        for kind, length in (
            (CKK.AES, 16),
            (CKK.DES, 8),
            (CKK.DES2, 16),
            (CKK.DES3, 24),
            (CKK.CHACHA20, 32),
            (CKK.GENERIC_SECRET, 7),
            (CKK.HKDF, 7),
            (CKK.SHA256_HMAC, 7),
        )
    },
    "RSA public": Row(
        {**_PUBLIC_ROW, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: MODULUS, CKA.PUBLIC_EXPONENT: b"\3"},
        {**_HISTORY, CKA.MODULUS_BITS: 1024},
        {**_NOT_OF_PUBLIC, **_EC},
    ),
    "EC public": Row(
        {**_PUBLIC_ROW, CKA.KEY_TYPE: CKK.EC, **_EC, CKA.EC_POINT: POINT},
        _HISTORY,
        {**_NOT_OF_PUBLIC, CKA.MODULUS: b"\1"},
    ),
    "EC private": Row(
        {**_PRIVATE_ROW, CKA.KEY_TYPE: CKK.EC, **_EC, CKA.VALUE: bytes(31) + b"\1"},
        _SECRET_HISTORY,
        {**_NOT_OF_PRIVATE, CKA.MODULUS: b"\1"},
    ),
    "Edwards private": Row(
        {**_PRIVATE_ROW, CKA.KEY_TYPE: CKK.EC_EDWARDS, CKA.EC_PARAMS: ED25519, CKA.VALUE: bytes(32)},
        _SECRET_HISTORY,
        {**_NOT_OF_PRIVATE, CKA.MODULUS: b"\1"},
    ),
    "Montgomery private": Row(
        {**_PRIVATE_ROW, CKA.KEY_TYPE: CKK.EC_MONTGOMERY, CKA.EC_PARAMS: X25519, CKA.VALUE: bytes(32)},
        _SECRET_HISTORY,
        {**_NOT_OF_PRIVATE, CKA.MODULUS: b"\1"},
    ),
    "ML-DSA private": Row(
        {**_PRIVATE_ROW, CKA.KEY_TYPE: CKK.ML_DSA, CKA.PARAMETER_SET: CKP.ML_DSA_44, CKA.SEED: bytes(32)},
        _SECRET_HISTORY,
        {**_NOT_OF_PRIVATE, **_EC},
    ),
    "DH domain": Row(
        {CKA.CLASS: CKO.DOMAIN_PARAMETERS, CKA.KEY_TYPE: CKK.DH, CKA.PRIME: MODULUS, CKA.BASE: b"\2"},
        {CKA.LOCAL: YES, CKA.UNIQUE_ID: b"x", CKA.PRIME_BITS: 1024},
        {CKA.SUBPRIME: b"\7", CKA.SENSITIVE: YES, CKA.VALUE: b"x"},
    ),
    "data": Row({CKA.CLASS: CKO.DATA}, {CKA.UNIQUE_ID: b"x"}, {CKA.KEY_TYPE: 0, CKA.SENSITIVE: YES, CKA.ID: b"x"}),
}  # fmt: skip


class Maker:
    """A session, and what makes keys in it; each call answers its CK_RV."""

    def __init__(self, m: Any) -> None:
        self.m, self.session = m, m.open_session(0)
        self.handle = m.ffi.new("CK_ULONG *")

    def generate(self, mechanism: CKM, template: Template) -> int:
        (built, _one), (given, _two) = self.m.mechanism(mechanism), self.m.template(template)
        return int(self.m.call("C_GenerateKey", self.session, built, given, len(template), self.handle))

    def generate_pair(self, mechanism: CKM, public: Template, private: Template) -> int:
        return self._value(self.m.generate_pair, mechanism, public, {CKA.PRIVATE: NO, **private})

    def create(self, template: Template) -> int:
        return self._value(self.m.create, template)

    def secret(self, kind: CKK, value: bytes) -> int:
        usages = {CKA.DERIVE: YES, CKA.WRAP: YES, CKA.UNWRAP: YES}
        return int(self.m.create(self.session, {**_SECRET_ROW, CKA.KEY_TYPE: kind, CKA.VALUE: value, **usages}))

    def _value(self, function: Any, *arguments: Any) -> int:
        try:
            function(self.session, *arguments)
        except Failed as failure:
            return failure.value
        return int(CKR.OK)


@pytest.fixture
def maker(module: tuple[Simulator, Any]) -> Any:
    live = Maker(module[1])
    yield live
    live.m.close_session(live.session)


def require(make: Any, row: Row) -> None:
    """Hold what `make` says of templates to a row."""
    assert make(row.needed) == CKR.OK
    for kind in row.needed:
        without = {each: value for each, value in row.needed.items() if each is not kind}
        assert make(without) == CKR.TEMPLATE_INCOMPLETE, f"without {kind.name}"
    for kind, value in row.barred.items():
        assert make({**row.needed, kind: value}) == CKR.ATTRIBUTE_READ_ONLY, f"with {kind.name}"
    for kind, value in row.foreign.items():
        assert make({**row.needed, kind: value}) == CKR.TEMPLATE_INCONSISTENT, f"with {kind.name}"
    nobodys: Any = 0x80001234
    assert make({**row.needed, nobodys: b"x"}) == CKR.ATTRIBUTE_TYPE_INVALID
    assert make({**row.needed, CKA.TOKEN: b"12"}) == CKR.ATTRIBUTE_VALUE_INVALID
    other_class = CKO.CERTIFICATE if CKA.CLASS not in row.needed else None
    if other_class is not None:
        assert make({**row.needed, CKA.CLASS: other_class}) == CKR.TEMPLATE_INCONSISTENT
        assert make({**row.needed, CKA.KEY_TYPE: CKK.BLOWFISH}) == CKR.TEMPLATE_INCONSISTENT


@pytest.mark.parametrize("mechanism", GENERATE)
def test_generate(maker: Maker, mechanism: CKM) -> None:
    require(lambda template: maker.generate(mechanism, template), GENERATE[mechanism])


@pytest.mark.parametrize("mechanism", GENERATE_PAIR)
@pytest.mark.parametrize("half", [0, 1])
def test_generate_pair(maker: Maker, mechanism: CKM, half: int) -> None:
    if mechanism not in maker.m.mechanisms(0):
        pytest.skip("not in the installed cryptography")
    rows = GENERATE_PAIR[mechanism]

    def make(template: Template) -> int:
        halves = [row.needed for row in rows]
        halves[half] = template
        return maker.generate_pair(mechanism, *halves)

    require(make, rows[half])


@pytest.mark.parametrize("name", CREATE)
def test_create(maker: Maker, name: str) -> None:
    if name.startswith("ML-") and CKM.ML_DSA not in maker.m.mechanisms(0):
        pytest.skip("not in the installed cryptography")
    require(maker.create, CREATE[name])


def test_every_mechanism_that_makes_keys_has_a_row() -> None:
    """A new one is written into the tables above, with what its chapter says."""
    with_parameters = {CKM.PKCS5_PBKD2}  # test_kdf.py
    in_domains = {CKM.DSA_KEY_PAIR_GEN, CKM.DH_PKCS_KEY_PAIR_GEN, CKM.X9_42_DH_KEY_PAIR_GEN}  # test_finite_fields.py
    assert {row.type for row in MECHANISMS.values() if row.flags & CKF.GENERATE} <= {*GENERATE, *with_parameters}
    pairs = {row.type for row in MECHANISMS.values() if row.flags & CKF.GENERATE_KEY_PAIR}
    assert pairs <= {*GENERATE_PAIR, *in_domains}


@pytest.mark.parametrize("kind", [CKO.PROFILE, CKO.MECHANISM, CKO.HW_FEATURE, 4711])
def test_what_nobody_creates(maker: Maker, kind: int) -> None:
    """Objects that are built in, and those of unknown classes (4.1.1)."""
    assert maker.create({CKA.CLASS: kind}) == CKR.ATTRIBUTE_VALUE_INVALID


UNWRAP_SECRET = Row(
    {CKA.KEY_TYPE: CKK.GENERIC_SECRET},
    {**_SECRET_HISTORY, CKA.VALUE: bytes(16)},
    {CKA.MODULUS: b"\1", CKA.EC_PARAMS: P256, CKA.SUBJECT: b"x"},
)
UNWRAP_PRIVATE = {
    CKK.EC: Row(
        {**_PRIVATE_ROW, CKA.KEY_TYPE: CKK.EC},
        {**_SECRET_HISTORY, CKA.VALUE: b"\1", CKA.EC_PARAMS: P256},
        {**_NOT_OF_PRIVATE, CKA.MODULUS: b"\1"},
    ),
    CKK.RSA: Row(
        {**_PRIVATE_ROW, CKA.KEY_TYPE: CKK.RSA},
        {**_SECRET_HISTORY, **_RSA_SECRETS},
        {**_NOT_OF_PRIVATE, **_EC},
    ),
}  # fmt: skip


def _unwrapped(maker: Maker, wrapping: int, wrapped: bytes, template: Template, mechanism: CKM) -> int:
    (built, _one), (given, _two) = maker.m.mechanism(mechanism), maker.m.template(template)
    arguments = built, wrapping, wrapped, len(wrapped), given, len(template), maker.handle
    return int(maker.m.call("C_UnwrapKey", maker.session, *arguments))


def _wrapped(maker: Maker, wrapping: int, key: int, mechanism: CKM) -> bytes:
    built, _kept = maker.m.mechanism(mechanism)
    return bytes(maker.m._output("C_WrapKey", maker.session, built, wrapping, key, room=4096))


@pytest.mark.parametrize("mechanism", [CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD, CKM.AES_KEY_WRAP_KWP, CKM.AES_ECB])
def test_unwrap_a_secret(maker: Maker, mechanism: CKM) -> None:
    wrapping = maker.secret(CKK.AES, bytes(16))
    wrapped = _wrapped(maker, wrapping, maker.secret(CKK.GENERIC_SECRET, bytes(16)), mechanism)

    def make(template: Template) -> int:
        return _unwrapped(maker, wrapping, wrapped, template, mechanism)

    assert make(UNWRAP_SECRET.needed) == CKR.OK
    assert maker.m.attribute(maker.session, maker.handle[0], CKA.EXTRACTABLE) == YES  # 5.18.4
    for kind in (CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL):
        assert maker.m.attribute(maker.session, maker.handle[0], kind) == NO
    _require_without_class(make, UNWRAP_SECRET)


@pytest.mark.parametrize("kind", UNWRAP_PRIVATE)
def test_unwrap_a_private_key(maker: Maker, kind: CKK) -> None:
    wrapping = maker.secret(CKK.AES, bytes(16))
    public, mechanism = (_EC, CKM.EC_KEY_PAIR_GEN) if kind is CKK.EC else (
        {CKA.MODULUS_BITS: 1024}, CKM.RSA_PKCS_KEY_PAIR_GEN
    )  # fmt: skip
    open_key = {CKA.PRIVATE: NO, CKA.EXTRACTABLE: YES}
    _, private = maker.m.generate_pair(maker.session, mechanism, public, open_key)
    wrapped = _wrapped(maker, wrapping, private, CKM.AES_KEY_WRAP_PAD)
    row = UNWRAP_PRIVATE[kind]

    def make(template: Template) -> int:
        return _unwrapped(maker, wrapping, wrapped, {CKA.PRIVATE: NO, **template}, CKM.AES_KEY_WRAP_PAD)

    assert make(row.needed) == CKR.OK
    _require_without_class(make, row)
    assert make({**row.needed, CKA.KEY_TYPE: CKK.RSA if kind is CKK.EC else CKK.EC}) == CKR.TEMPLATE_INCONSISTENT


def _require_without_class(make: Any, row: Row) -> None:
    """As require(), for a function that takes its class for granted."""
    assert (
        make({kind: each for kind, each in row.needed.items() if kind is not CKA.KEY_TYPE}) == CKR.TEMPLATE_INCOMPLETE
    )
    for kind, value in row.barred.items():
        assert make({**row.needed, kind: value}) == CKR.ATTRIBUTE_READ_ONLY, f"with {kind.name}"
    for kind, value in row.foreign.items():
        assert make({**row.needed, kind: value}) == CKR.TEMPLATE_INCONSISTENT, f"with {kind.name}"


DERIVE: dict[str, tuple[CKM, CKK, bytes]] = {
    "SHA256_KEY_DERIVATION": (CKM.SHA256_KEY_DERIVATION, CKK.GENERIC_SECRET, b""),
    "EXTRACT_KEY_FROM_KEY": (CKM.EXTRACT_KEY_FROM_KEY, CKK.GENERIC_SECRET, bytes(8)),
    "XOR_BASE_AND_DATA": (CKM.XOR_BASE_AND_DATA, CKK.GENERIC_SECRET, b"data"),
    "CONCATENATE_BASE_AND_DATA": (CKM.CONCATENATE_BASE_AND_DATA, CKK.GENERIC_SECRET, b"data"),
    "CONCATENATE_DATA_AND_BASE": (CKM.CONCATENATE_DATA_AND_BASE, CKK.GENERIC_SECRET, b"data"),
    "AES_ECB_ENCRYPT_DATA": (CKM.AES_ECB_ENCRYPT_DATA, CKK.AES, b"data"),
}


@pytest.mark.parametrize("name", DERIVE)
def test_derive(maker: Maker, name: str) -> None:
    """Type and length: neither, either or both; and what no template has (6.31.2, 6.43)."""
    m = maker.m
    ffi, (mechanism, base_type, parameter) = m.ffi, DERIVE[name]
    base = maker.secret(base_type, bytes(range(32)))
    data = ffi.new("unsigned char[]", bytes(range(32)))
    string = ffi.new("CK_KEY_DERIVATION_STRING_DATA *", (data, 32))
    built, _kept = m.mechanism(mechanism, parameter)
    if parameter == b"data":
        built = ffi.new("CK_MECHANISM *", (mechanism, string, ffi.sizeof("CK_KEY_DERIVATION_STRING_DATA")))

    def make(template: Template) -> int:
        given, _two = m.template(template)
        return int(m.call("C_DeriveKey", maker.session, built, base, given, len(template), maker.handle))

    generic, aes = {CKA.KEY_TYPE: CKK.GENERIC_SECRET}, {CKA.KEY_TYPE: CKK.AES}
    for template, value in (
        ({}, CKR.OK),
        ({CKA.VALUE_LEN: 5}, CKR.OK),
        ({CKA.KEY_TYPE: CKK.DES2}, CKR.OK),
        ({CKA.KEY_TYPE: CKK.DES2, CKA.VALUE_LEN: 16}, CKR.OK),
        ({**generic, CKA.VALUE_LEN: 5}, CKR.OK),
        ({**aes, CKA.VALUE_LEN: 16}, CKR.OK),
        (generic, CKR.TEMPLATE_INCOMPLETE),
        (aes, CKR.TEMPLATE_INCOMPLETE),
        ({CKA.KEY_TYPE: CKK.DES2, CKA.VALUE_LEN: 24}, CKR.KEY_SIZE_RANGE),
        ({**aes, CKA.VALUE_LEN: 15}, CKR.KEY_SIZE_RANGE),
        ({CKA.VALUE_LEN: 0}, CKR.KEY_SIZE_RANGE),
        ({CKA.KEY_TYPE: CKK.RSA}, CKR.ATTRIBUTE_VALUE_INVALID),
        ({CKA.CLASS: CKO.PUBLIC_KEY}, CKR.TEMPLATE_INCONSISTENT),
        *(({kind: each}, CKR.ATTRIBUTE_READ_ONLY) for kind, each in {**_SECRET_HISTORY, CKA.VALUE: b"x"}.items()),
        *(({kind: each}, CKR.TEMPLATE_INCONSISTENT) for kind, each in _NOT_OF_SECRETS.items()),
    ):
        assert make(template) == value, template  # type: ignore[arg-type]
    too_long = CKR.MECHANISM_PARAM_INVALID if base_type is CKK.AES else CKR.KEY_SIZE_RANGE
    assert make({CKA.VALUE_LEN: 65}) == too_long

# SPDX-License-Identifier: MIT
"""HKDF in all its ways: keys and data out of keys and data (PKCS #11 3.2, 6.62; RFC 5869, appendix A)."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.control.simulator import Simulator
from cardtear.p11.constants import CKA, CKF, CKK, CKM, CKO, CKR

YES, NO = b"\1", b"\0"
# RFC 5869, A.1
SECRET, SALT = b"\x0b" * 22, bytes(range(13))
INFO = bytes(range(0xF0, 0xFA))
PRK = bytes.fromhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
OKM = bytes.fromhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
PLAIN = {CKA.SENSITIVE: NO, CKA.EXTRACTABLE: YES}


class Hkdf:
    """A session, and C_DeriveKey with HKDF in it."""

    def __init__(self, m: Any) -> None:
        self.m, self.session = m, m.open_session(0)

    def secret(self, value: bytes, kind: CKK = CKK.HKDF, **more: bytes) -> int:
        """A base key."""
        named = {CKA[name]: each for name, each in more.items()}
        template = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value, CKA.DERIVE: YES}
        return int(self.m.create(self.session, {**template, **named}))

    def derive(
        self,
        mechanism: CKM,
        base: int,
        template: dict[CKA, Any],
        *,
        extract: bool = True,
        expand: bool = True,
        salt: bytes | int | None = SALT,
        info: bytes = INFO,
        salt_type: int | None = None,
    ) -> bytes | CKR:
        """The value of what comes of it, or why nothing does. A number as salt is the handle of a key."""
        ffi = self.m.ffi
        kind = {bytes: CKF.HKDF_SALT_DATA, int: CKF.HKDF_SALT_KEY}.get(type(salt), CKF.HKDF_SALT_NULL)
        kind = kind if salt_type is None else salt_type
        given, told = (ffi.new("unsigned char[]", each or b"\0") for each in (salt if kind == 2 else b"", info))
        length, key = (len(salt) if isinstance(salt, bytes) else 0), (salt if isinstance(salt, int) else 0)
        fields = (extract, expand, CKM.SHA256, kind, given, length, key, told, len(info))
        parameter = ffi.new("CK_HKDF_PARAMS *", fields)
        built = ffi.new("CK_MECHANISM *", (mechanism, parameter, ffi.sizeof("CK_HKDF_PARAMS")))
        attributes, _kept = self.m.template(template)
        handle = ffi.new("CK_ULONG *")
        value = self.m.call("C_DeriveKey", self.session, built, base, attributes, len(template), handle)
        return CKR(value) if value else bytes(self.m.attribute(self.session, handle[0], CKA.VALUE))


@pytest.fixture
def hkdf(module: tuple[Simulator, Any]) -> Hkdf:
    return Hkdf(module[1])


KEY: dict[CKA, Any] = {CKA.KEY_TYPE: CKK.GENERIC_SECRET, **PLAIN}
BOTH: list[tuple[CKM, dict[CKA, Any]]] = [(CKM.HKDF_DERIVE, KEY), (CKM.HKDF_DATA, {CKA.CLASS: CKO.DATA})]


@pytest.mark.parametrize(("mechanism", "template"), BOTH)
@pytest.mark.parametrize("kind", [CKK.HKDF, CKK.GENERIC_SECRET])
def test_vector(hkdf: Hkdf, mechanism: CKM, template: dict[CKA, Any], kind: CKK) -> None:
    """Whole, its first and its second half; the salt as bytes and as a key."""
    base, prk = hkdf.secret(SECRET, kind), hkdf.secret(PRK, kind)
    whole = {**template, CKA.VALUE_LEN: 42}
    assert hkdf.derive(mechanism, base, whole) == OKM
    assert hkdf.derive(mechanism, base, whole, salt=hkdf.secret(SALT)) == OKM
    assert hkdf.derive(mechanism, base, template, expand=False) == PRK
    assert hkdf.derive(mechanism, base, {**template, CKA.VALUE_LEN: 32}, expand=False) == PRK
    assert hkdf.derive(mechanism, prk, whole, extract=False, salt=None) == OKM
    assert hkdf.derive(mechanism, prk, whole, extract=False, salt=4711) == OKM  # the salt is ignored
    assert hkdf.derive(mechanism, prk, whole, extract=False, salt_type=0) == OKM  # so pkcs11-provider asks
    assert hkdf.derive(mechanism, base, template, salt_type=0) is CKR.MECHANISM_PARAM_INVALID
    assert hkdf.derive(mechanism, base, template) == OKM[:32]


@pytest.mark.parametrize(("mechanism", "template"), BOTH)
def test_what_it_does_not_take(hkdf: Hkdf, mechanism: CKM, template: dict[CKA, Any]) -> None:
    """Neither half, more than there is, keys of another kind or without the right, a salt that is no key."""
    base = hkdf.secret(SECRET)
    assert hkdf.derive(mechanism, base, template, extract=False, expand=False) is CKR.MECHANISM_PARAM_INVALID
    for length in (0, 255 * 32 + 1):
        assert hkdf.derive(mechanism, base, {**template, CKA.VALUE_LEN: length}) is CKR.KEY_SIZE_RANGE
    assert hkdf.derive(mechanism, hkdf.secret(bytes(16), CKK.AES), template) is CKR.KEY_TYPE_INCONSISTENT
    assert hkdf.derive(mechanism, hkdf.secret(SECRET, DERIVE=NO), template) is CKR.KEY_TYPE_INCONSISTENT
    assert hkdf.derive(mechanism, base, template, salt=4711) is CKR.KEY_HANDLE_INVALID
    assert hkdf.derive(mechanism, 4711, template) is CKR.KEY_HANDLE_INVALID
    wrong = {CKA.VALUE: b"x"}
    assert hkdf.derive(mechanism, base, {**template, **wrong}) is CKR.ATTRIBUTE_READ_ONLY


def test_data(hkdf: Hkdf) -> None:
    """A data object is what it is said to be; one of the hash's length is a base itself, with a salt."""
    base = hkdf.secret(SECRET)
    named = {CKA.CLASS: CKO.DATA, CKA.LABEL: b"derived", CKA.VALUE_LEN: 32}
    assert hkdf.derive(CKM.HKDF_DATA, base, named, expand=False) == PRK
    (found,) = hkdf.m.find(hkdf.session, {CKA.CLASS: CKO.DATA, CKA.LABEL: b"derived"})
    assert hkdf.derive(CKM.HKDF_DATA, base, {CKA.CLASS: CKO.SECRET_KEY}) is CKR.TEMPLATE_INCONSISTENT
    assert hkdf.derive(CKM.HKDF_DERIVE, base, {CKA.CLASS: CKO.DATA}) is CKR.TEMPLATE_INCONSISTENT
    again = hkdf.derive(CKM.HKDF_DERIVE, found, {**KEY, CKA.VALUE_LEN: 32})
    assert again == hkdf.derive(CKM.HKDF_DERIVE, hkdf.secret(PRK), {**KEY, CKA.VALUE_LEN: 32})
    assert hkdf.derive(CKM.HKDF_DERIVE, found, KEY, salt=None) is CKR.MECHANISM_PARAM_INVALID
    assert hkdf.derive(CKM.HKDF_DERIVE, found, KEY, extract=False) is CKR.MECHANISM_PARAM_INVALID
    short = hkdf.m.create(hkdf.session, {CKA.CLASS: CKO.DATA, CKA.VALUE: b"short"})
    assert hkdf.derive(CKM.HKDF_DERIVE, short, KEY) is CKR.KEY_SIZE_RANGE
    assert hkdf.derive(CKM.SHA256_KEY_DERIVATION, found, KEY) is CKR.KEY_HANDLE_INVALID


def test_key_generation(hkdf: Hkdf) -> None:
    """CKM_HKDF_KEY_GEN wants a length."""
    m, handle = hkdf.m, hkdf.m.ffi.new("CK_ULONG *")
    mechanism, _kept = m.mechanism(CKM.HKDF_KEY_GEN)
    template, _kept_too = m.template({CKA.VALUE_LEN: 48, **PLAIN})
    assert m.call("C_GenerateKey", hkdf.session, mechanism, template, 3, handle) == CKR.OK
    assert len(m.attribute(hkdf.session, handle[0], CKA.VALUE)) == 48
    assert m.attribute(hkdf.session, handle[0], CKA.KEY_TYPE) == int(CKK.HKDF).to_bytes(8, "little")
    assert m.attribute(hkdf.session, handle[0], CKA.DERIVE) == YES
    assert m.call("C_GenerateKey", hkdf.session, mechanism, m.ffi.NULL, 0, handle) == CKR.TEMPLATE_INCOMPLETE

# SPDX-License-Identifier: MIT
"""What a host process can be asked to do with keys that no card has. Runs inside the host."""

from __future__ import annotations

from functools import partial
from typing import Any

from cardtear.lab.client import Failed, Module
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR

# RFC 5114, 2.1: a group of 1024 bits with a subgroup of 160.
DSA_GROUP = {
    CKA.PRIME: bytes.fromhex(
        "b10b8f96a080e01dde92de5eae5d54ec52c99fbcfb06a3c69a6a9dca52d23b616073e28675a23d189838ef1e2ee652c0"
        "13ecb4aea906112324975c3cd49b83bfaccbdd7d90c4bd7098488e9c219a73724effd6fae5644738faa31a4ff55bccc0"
        "a151af5f0dc8b4bd45bf37df365c1a65e68cfda76d4da708df1fb2bc2e4a4371"
    ),
    CKA.SUBPRIME: bytes.fromhex("f518aa8781a8df278aba4e7d64b7cb9d49462353"),
    CKA.BASE: bytes.fromhex(
        "a4d1cbd5c3fd34126765a442efb99905f8104dd258ac507fd6406cff14266d31266fea1e5c41564b777e690f5504f213"
        "160217b4b01b886a5e91547f9e2749f4d7fbd7d3b9a92ee1909d0d2263f80a76a6a24c087a091f531dbf0a0169b6a28a"
        "d662a4d18e73afa32d779d5918d08bc8858f4dcef97c2a24855e6eeb22b3b2e5"
    ),
}


def verified(m: Module, session: int, mechanism: int, parameter: bytes, key: int, data: bytes, signature: bytes) -> int:
    """The CK_RV of C_VerifyInit, or of C_Verify."""
    built, _kept = m.mechanism(mechanism, parameter)
    value = m.call("C_VerifyInit", session, built, key)
    return value or m.call("C_Verify", session, data, len(data), signature, len(signature))


_NUMBERS = "CLASS", "KEY_TYPE", "EC_PARAMS", "EC_POINT", "PRIME", "SUBPRIME", "BASE", "PARAMETER_SET", "SEED", "VALUE"


def made_anew(m: Module, session: int, key: int) -> int:
    """Another object of the session, made from what the key tells of its numbers."""
    template = {}
    for name in _NUMBERS:
        try:
            template[CKA[name]] = m.attribute(session, key, CKA[name])
        except Failed:
            continue
    if int.from_bytes(template[CKA.CLASS], "little") == CKO.PRIVATE_KEY:
        template.pop(CKA.EC_POINT, None)
    return m.create(session, template)


def new_group(m: Module, session: int, bits: int) -> dict[str, bytes] | int:
    """Domain parameters for DSA, or the CK_RV as a negative number."""
    built, _kept = m.mechanism(CKM.DSA_PARAMETER_GEN)
    template, _more = m.template({CKA.PRIME_BITS: bits})
    handle = m.ffi.new("CK_ULONG *")
    value = m.call("C_GenerateKey", session, built, template, 1, handle)
    if value != CKR.OK:
        return -value
    return {name: m.attribute(session, handle[0], CKA[name]) for name in ("PRIME", "SUBPRIME", "BASE")}


_READABLE = {CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.SENSITIVE: b"\0", CKA.EXTRACTABLE: b"\1"}


def _newest(m: Module) -> Any:
    """The functions of PKCS #11 3.2."""
    interface, version = m.ffi.new("CK_INTERFACE **"), m.ffi.new("CK_VERSION *", (3, 2))
    assert m.library.C_GetInterface(m.ffi.NULL, version, interface, 0) == CKR.OK
    return m.ffi.cast("CK_FUNCTION_LIST_3_2 *", interface[0].pFunctionList)


def encapsulated(m: Module, session: int, key: int) -> tuple[bytes, bytes] | int:
    """C_EncapsulateKey with the length asked for first: the ciphertext and the secret; or minus the CK_RV."""
    built, _kept = m.mechanism(CKM.ML_KEM)
    template, _more = m.template(_READABLE)
    length, handle = m.ffi.new("CK_ULONG *"), m.ffi.new("CK_ULONG *")
    before = len(m.find(session))
    call = partial(_newest(m).C_EncapsulateKey, session, built, key, template, len(_READABLE))
    if (value := call(m.ffi.NULL, length, handle)) != CKR.OK:
        return -int(value)
    said, length[0] = length[0], 1
    assert call(m.ffi.new("unsigned char[]", said), length, handle) == CKR.BUFFER_TOO_SMALL
    assert (length[0], len(m.find(session))) == (said, before)
    buffer = m.ffi.new("unsigned char[]", said)
    assert call(buffer, length, handle) == CKR.OK
    return bytes(m.ffi.buffer(buffer, length[0])), m.attribute(session, handle[0], CKA.VALUE)


def decapsulated(m: Module, session: int, key: int, ciphertext: bytes) -> bytes | int:
    """C_DecapsulateKey: the secret, or the CK_RV as a negative number."""
    built, _kept = m.mechanism(CKM.ML_KEM)
    template, _more = m.template(_READABLE)
    handle = m.ffi.new("CK_ULONG *")
    value = _newest(m).C_DecapsulateKey(
        session, built, key, template, len(_READABLE), ciphertext, len(ciphertext), handle
    )
    return m.attribute(session, handle[0], CKA.VALUE) if value == CKR.OK else -value


def key_of_password(m: Module, session: int, parameter: bytes, length: int) -> bytes | int:
    """C_GenerateKey with PBKDF2: the value, or the CK_RV as a negative number."""
    built, _kept = m.mechanism(CKM.PKCS5_PBKD2, parameter)
    readable = {**_READABLE, CKA.CLASS: CKO.SECRET_KEY, CKA.VALUE_LEN: length}
    template, _more = m.template(readable)
    handle = m.ffi.new("CK_ULONG *")
    value = m.call("C_GenerateKey", session, built, template, len(readable), handle)
    return m.attribute(session, handle[0], CKA.VALUE) if value == CKR.OK else -value


def null_given(m: Module, session: int, begun: str, function: str, key: int, what: str) -> list[int]:
    """An operation is begun and continued with a NULL pointer: that call's CK_RV, and that of the next Init."""
    built, _kept = m.mechanism(CKM.SHA256 if begun == "C_DigestInit" else CKM.AES_ECB, b"")
    rest = () if begun == "C_DigestInit" else (key,)
    assert m.call(begun, session, built, *rest) == CKR.OK
    data = (m.ffi.NULL, 16) if what == "data" else (bytes(16), 16)
    out = (m.ffi.new("unsigned char[]", 64), m.ffi.NULL if what == "length" else m.ffi.new("CK_ULONG *", 64))
    arguments = out if function.endswith("Final") else data if function == "C_DigestUpdate" else (*data, *out)
    values = [m.call(function, session, *arguments), m.call(begun, session, built, *rest)]
    m.call(begun, session, m.ffi.NULL, *rest)
    return values

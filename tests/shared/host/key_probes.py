# SPDX-License-Identifier: MIT
"""What a host process can be asked to do with keys that no card has. Runs inside the host."""

from __future__ import annotations

from functools import partial
from typing import Any

from cardtear.lab.clients.pkcs11 import Failed, Module
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR


def verified(
    m: Module, /, session: int, mechanism: int, parameter: bytes, key: int, data: bytes, signature: bytes
) -> int:
    """The CK_RV of C_VerifyInit, or of C_Verify."""
    built, _kept = m.mechanism(mechanism, parameter)
    value = m.call("C_VerifyInit", session, built, key)
    return value or m.call("C_Verify", session, data, len(data), signature, len(signature))


_NUMBERS = "CLASS", "KEY_TYPE", "EC_PARAMS", "EC_POINT", "PARAMETER_SET", "SEED", "VALUE"


def made_anew(m: Module, /, session: int, key: int) -> int:
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


_READABLE = {CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.SENSITIVE: b"\0", CKA.EXTRACTABLE: b"\1"}


def _newest(m: Module) -> Any:
    """The functions of PKCS #11 3.2."""
    interface, version = m.ffi.new("CK_INTERFACE **"), m.ffi.new("CK_VERSION *", (3, 2))
    assert m.library.C_GetInterface(m.ffi.NULL, version, interface, 0) == CKR.OK
    return m.ffi.cast("CK_FUNCTION_LIST_3_2 *", interface[0].pFunctionList)


def encapsulated(m: Module, /, session: int, key: int) -> tuple[bytes, bytes] | int:
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


def decapsulated(m: Module, /, session: int, key: int, ciphertext: bytes) -> bytes | int:
    """C_DecapsulateKey: the secret, or the CK_RV as a negative number."""
    built, _kept = m.mechanism(CKM.ML_KEM)
    template, _more = m.template(_READABLE)
    handle = m.ffi.new("CK_ULONG *")
    value = _newest(m).C_DecapsulateKey(
        session, built, key, template, len(_READABLE), ciphertext, len(ciphertext), handle
    )
    return m.attribute(session, handle[0], CKA.VALUE) if value == CKR.OK else -value


def null_given(m: Module, /, session: int, begun: str, function: str, key: int, what: str) -> list[int]:
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


def mixed(m: Module, /, session: int, way: str, key: int, more: str) -> list[int]:
    """The CK_RVs of asking for the result in one part, of a function for parts, and of one part again."""
    built, _kept = m.mechanism({"Digest": CKM.SHA256, "Sign": CKM.SHA256_HMAC}.get(way, CKM.AES_ECB))
    m.check(f"C_{way}Init", session, built, *(() if way == "Digest" else (key,)))
    out, length = m.ffi.new("unsigned char[]", 64), m.ffi.new("CK_ULONG *")
    whole = partial(m.call, f"C_{way}", session, bytes(16), 16)
    values = [whole(m.ffi.NULL, length)]
    length[0] = 64
    data = () if more == "Final" else (bytes(16), 16)
    room = () if (more, way) in (("Update", "Digest"), ("Update", "Sign")) else (out, length)
    values.append(m.call(f"C_{way}{more}", session, *data, *room))
    length[0] = 64
    return [*values, whole(out, length)]


def cancelled(m: Module, /, session: int, begun: str, mechanism: int, key: int) -> list[int]:
    """The CK_RVs of an Init function with a NULL mechanism: with nothing under way, with something, and once more."""
    built, _kept = m.mechanism(mechanism)
    rest = () if begun == "C_DigestInit" else (key,)
    values = [m.call(begun, session, m.ffi.NULL, *rest)]
    m.check(begun, session, built, *rest)
    return values + [m.call(begun, session, m.ffi.NULL, *rest) for _ in range(2)]


def generated_key(m: Module, /, session: int, attributes: dict[int, bytes]) -> int:
    """A DES key of the session."""
    built, _kept = m.mechanism(CKM.DES_KEY_GEN)
    template, _more = m.template(attributes)
    handle = m.ffi.new("CK_ULONG *")
    m.check("C_GenerateKey", session, built, template, len(attributes), handle)
    return int(handle[0])


def array_attribute(m: Module, /, session: int, handle: int, kind: int) -> dict[int, bytes]:
    """A template in an attribute, read in the standard's three steps."""
    query = m.ffi.new("CK_ATTRIBUTE *", {"type": kind})
    m.check("C_GetAttributeValue", session, handle, query, 1)
    inner = m.ffi.new("CK_ATTRIBUTE[]", query.ulValueLen // m.ffi.sizeof("CK_ATTRIBUTE"))
    query.pValue = inner
    m.check("C_GetAttributeValue", session, handle, query, 1)
    values = [m.ffi.new("unsigned char[]", each.ulValueLen) for each in inner]
    for each, value in zip(inner, values, strict=True):
        each.pValue = value
    m.check("C_GetAttributeValue", session, handle, query, 1)
    return {each.type: bytes(value) for each, value in zip(inner, values, strict=True)}


def length_only(
    m: Module, /, session: int, begun: str, key: int, mechanism: int, parameter: bytes, size: int
) -> list[int]:
    """What the length of a result is answered with, and whether the operation goes on."""
    made, _kept = m.mechanism(mechanism, parameter)
    m.check(begun, session, made, key)
    length = m.ffi.new("CK_ULONG *")
    ask = (begun.removesuffix("Init"), session, bytes(size), size, m.ffi.NULL, length)
    return [m.call(*ask), m.call(*ask)]

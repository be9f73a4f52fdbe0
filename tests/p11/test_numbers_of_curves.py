# SPDX-License-Identifier: MIT
"""A number beyond the order of its curve makes no private key, whichever way it comes and whatever the library."""

from __future__ import annotations

from typing import Any

import pytest
from asn1crypto import keys as asn1
from cardtear.card.crypto import curve_orders
from cardtear.card.crypto.curves import BY_NAME, Curve
from cardtear.lab.clients.pkcs11 import Failed
from cardtear.p11 import curves
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

YES, NO = b"\1", b"\0"
ORDERS = {
    curves.named(row.parameters, CKK.EC): curve_orders._ORDERS[name]
    for name, row in BY_NAME.items()
    if name in curve_orders._ORDERS
}
CURVES = pytest.mark.parametrize("curve", ORDERS, ids=lambda curve: curve.name)


def wrong(curve: Curve) -> list[int]:
    order = ORDERS[curve]
    return [0, order, order + 1, order + 7, (1 << 8 * curve.size) - 1]


def created(m: Any, session: int, curve: Curve, number: int) -> CKR:
    value = number.to_bytes(curve.size, "big")
    kind = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: curve.parameters, CKA.PRIVATE: NO}
    try:
        m.create(session, {**kind, CKA.VALUE: value})
    except Failed as refused:
        return CKR(refused.value)
    return CKR.OK


@CURVES
def test_created(m: Any, curve: Curve) -> None:
    session = m.open_session(0)
    assert created(m, session, curve, ORDERS[curve] - 1) is CKR.OK
    assert created(m, session, curve, 1) is CKR.OK
    for number in wrong(curve):
        assert created(m, session, curve, number) is CKR.ATTRIBUTE_VALUE_INVALID


@CURVES
def test_unwrapped(m: Any, curve: Curve) -> None:
    session = m.open_session(0)
    aes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16), CKA.UNWRAP: YES}
    key = m.create(session, aes)
    template = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.PRIVATE: NO}
    made, _kept = m.template(template)
    handle = m.ffi.new("CK_ULONG *")
    for number, expected in ((1, CKR.OK), *((number, CKR.WRAPPED_KEY_INVALID) for number in wrong(curve))):
        wrapped = aes_key_wrap_with_padding(bytes(16), pkcs8(curve, number))
        mechanism, _kept_too = m.mechanism(CKM.AES_KEY_WRAP_PAD)
        value = m.call("C_UnwrapKey", session, mechanism, key, wrapped, len(wrapped), made, len(template), handle)
        assert value == expected, number


def pkcs8(curve: Curve, number: int) -> bytes:
    """PKCS #8 of a number, right or wrong; the public key in it is another's."""
    der = ec.derive_private_key(2, curve.group).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    info = asn1.PrivateKeyInfo.load(der)
    key = info["private_key"].parsed
    bare = asn1.ECPrivateKey({"version": 1, "private_key": number})
    bare["private_key"].set_encoded_width(curve.size)
    assert key["private_key"].native == 2
    algorithm = {"algorithm": "ec", "parameters": info["private_key_algorithm"]["parameters"]}
    return bytes(asn1.PrivateKeyInfo({"version": 0, "private_key_algorithm": algorithm, "private_key": bare}).dump())

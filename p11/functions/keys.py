# SPDX-License-Identifier: MIT
"""Key management (5.18): key agreement with a key on the card."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.asymmetric import rsa

from ...card import tlv
from ..application import follow_card
from ..attributes import FALSE, as_boolean, as_ulong, ulong
from ..caller import Caller
from ..constants import CKA, CKD, CKK, CKO, CKR, CKU
from ..errors import P11Error
from ..mechanisms import MECHANISMS, Scheme
from ..objects import CardKey, secret_key
from ..wire import Mechanism, Template

_ECDH1_PARAMS = struct.Struct("@5L")
_EXPONENTIATION = 0x85
_BOOLEANS = frozenset(
    {
        CKA.PRIVATE,
        CKA.MODIFIABLE,
        CKA.COPYABLE,
        CKA.DESTROYABLE,
        CKA.SENSITIVE,
        CKA.EXTRACTABLE,
        CKA.ENCRYPT,
        CKA.DECRYPT,
        CKA.SIGN,
        CKA.VERIFY,
        CKA.WRAP,
        CKA.UNWRAP,
        CKA.DERIVE,
        CKA.TOKEN,
        CKA.WRAP_WITH_TRUSTED,
    }
)
_AES_LENGTHS = (16, 24, 32)
_STRINGS = frozenset({CKA.LABEL, CKA.ID, CKA.START_DATE, CKA.END_DATE})


def C_DeriveKey(caller: Caller, session: int, mechanism: Mechanism, base: int, template: Template) -> int:
    """ECDH1 without a key derivation function: the shared x coordinate, cut from the left to CKA_VALUE_LEN."""
    application = caller.application
    live = application.session(session)
    rule = MECHANISMS.get(mechanism.type)
    if rule is None or rule.scheme is not Scheme.ECDH:
        raise P11Error(CKR.MECHANISM_INVALID)
    item = application.object(live, base, CKR.KEY_HANDLE_INVALID)
    key = item.key
    if not isinstance(key, CardKey):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    if isinstance(key.public, rsa.RSAPublicKey):
        raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
    if not item.allows(CKA.DERIVE):
        raise P11Error(CKR.KEY_FUNCTION_NOT_PERMITTED)
    if item.is_private and live.role is not CKU.USER:
        raise P11Error(CKR.USER_NOT_LOGGED_IN)
    size = (key.public.key_size + 7) // 8
    point = _peer_point(mechanism, size)
    attributes, length = _secret_template(template, size)
    try:
        secret = live.token.piv.use_key(key.slot, key.algorithm, point, _EXPONENTIATION)
    except P11Error as error:
        if error.value is CKR.USER_NOT_LOGGED_IN:
            follow_card(live.token)
        # A point that is not on the curve is the parameter's fault, and the only thing the card complains of.
        raise P11Error(CKR.MECHANISM_PARAM_INVALID) if error.value is CKR.DATA_INVALID else error from None
    return application.add_session_object(live, secret_key(secret[len(secret) - length :], attributes))


def _peer_point(mechanism: Mechanism, size: int) -> bytes:
    """The other side's point, bare or as a DER OCTET STRING; its coordinates have `size` bytes."""
    try:
        kdf, *_ = _ECDH1_PARAMS.unpack(mechanism.parameter)
        shared, point = mechanism.pointers
    except (struct.error, ValueError):
        raise P11Error(CKR.MECHANISM_PARAM_INVALID) from None
    lengths = (1 + 2 * size, 1 + size)  # uncompressed, compressed: no DER of one is as long as the other
    if point[:1] == b"\4" and len(point) not in lengths:
        try:
            _, point, end = tlv.read(outer := point)
        except tlv.TlvError:
            raise P11Error(CKR.MECHANISM_PARAM_INVALID) from None
        if end != len(outer):
            raise P11Error(CKR.MECHANISM_PARAM_INVALID)
    if kdf != CKD.NULL or shared or len(point) not in lengths:
        raise P11Error(CKR.MECHANISM_PARAM_INVALID)
    return point


def _secret_template(template: Template, most: int) -> tuple[dict[int, bytes], int]:
    """The attributes of the new key, checked, and its length in bytes."""
    attributes: dict[int, bytes] = {}
    length = most
    for kind, value in template:
        if kind in attributes and attributes[kind] != value:
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
        if kind == CKA.CLASS:
            if as_ulong(value) != CKO.SECRET_KEY:
                raise P11Error(CKR.TEMPLATE_INCONSISTENT)
        elif kind == CKA.KEY_TYPE:
            if as_ulong(value) not in (CKK.GENERIC_SECRET, CKK.AES):
                raise P11Error(CKR.TEMPLATE_INCONSISTENT)
            attributes[kind] = value
        elif kind == CKA.VALUE_LEN:
            length = as_ulong(value)
        elif kind in _BOOLEANS:
            as_boolean(value)
            attributes[kind] = value
        elif kind in _STRINGS:
            attributes[kind] = value
        elif kind == CKA.VALUE:
            raise P11Error(CKR.ATTRIBUTE_READ_ONLY)
        else:
            raise P11Error(CKR.ATTRIBUTE_TYPE_INVALID)
    if attributes.get(CKA.TOKEN, FALSE) != FALSE:
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    if not 1 <= length <= most or (attributes.get(CKA.KEY_TYPE) == ulong(CKK.AES) and length not in _AES_LENGTHS):
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return attributes, length

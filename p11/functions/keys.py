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
from ..keys import CardKey
from .making import add
from ..templates import compose
from ..attributes import On
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
    attributes = compose(On.DERIVE, template, object_class=CKO.SECRET_KEY, logged_in=live.role is CKU.USER)
    length = as_ulong(attributes.pop(CKA.VALUE_LEN, ulong(size)))
    secret = key.agree(point)
    attributes[CKA.VALUE] = secret[len(secret) - length :]
    return add(caller, live, attributes)


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

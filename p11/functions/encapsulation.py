# SPDX-License-Identifier: MIT
"""Key encapsulation (PKCS #11 3.2, 5.18.9 and 5.18.10)."""

from __future__ import annotations

from ..attribute_rules import On
from ..attributes import TRUE
from ..caller import Caller
from ..constants import CKA, CKF, CKO, CKR
from ..errors import P11Error
from ..keys import SessionKey
from ..operations import parameters
from ..post_quantum import DecapsulationKey, EncapsulationKey, output_length
from ..sessions import Session
from ..wire import Mechanism, Template
from .create_object import new_object, require_creatable
from .multipart import key_for, rule_for
from .secrets import complete_secret, composed


def C_EncapsulateKey(
    caller: Caller, session: Session, mechanism: Mechanism, handle: int, template: Template, room: int | None
) -> tuple[bytes | int, int]:
    """Create a secret key, and the ciphertext for the holder of the private key; asked for the length, create none."""
    rule = rule_for(session, CKF.ENCAPSULATE, mechanism)
    parameters.none(mechanism)
    item = key_for(caller, session, CKA.ENCAPSULATE, rule, handle)
    if not isinstance(item.key, EncapsulationKey):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    length = output_length(item.key)
    if room is None:
        return length, 0
    if room < length:
        raise P11Error(CKR.BUFFER_TOO_SMALL, length, 0)
    secret, ciphertext = item.key.encapsulate()
    return ciphertext, _made(caller, session, template, secret)


def C_DecapsulateKey(
    caller: Caller, session: Session, mechanism: Mechanism, handle: int, template: Template, ciphertext: bytes
) -> int:
    """Create the secret key of a ciphertext; a wrong one of the right length gives another key (FIPS 203, 7.3)."""
    rule = rule_for(session, CKF.DECAPSULATE, mechanism)
    parameters.none(mechanism)
    item = key_for(caller, session, CKA.DECAPSULATE, rule, handle)
    if not isinstance(item.key, SessionKey) or not isinstance(item.key.private, DecapsulationKey):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    try:
        secret = item.key.private.decapsulate(ciphertext)
    except ValueError:
        raise P11Error(CKR.WRAPPED_KEY_LEN_RANGE) from None
    return _made(caller, session, template, secret)


def _made(caller: Caller, session: Session, template: Template, secret: bytes) -> int:
    attributes = composed(session, On.DERIVE, template, CKO.SECRET_KEY, None)
    if CKA.EXTRACTABLE not in dict(template):
        attributes[CKA.EXTRACTABLE] = TRUE
    require_creatable(session, attributes)
    return new_object(caller, session, complete_secret(attributes, secret))

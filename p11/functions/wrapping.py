# SPDX-License-Identifier: MIT
"""Wrapping and unwrapping of keys (5.18.3, 5.18.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from ...card.certificate_reader import NO_KEY
from ...card.crypto import curve_orders
from .. import keys
from ..attribute_rules import On
from ..attributes import Attributes, as_ulong, ulong
from ..caller import Caller
from ..constants import CKA, CKF, CKK, CKO, CKR
from ..errors import P11Error
from ..finite_fields import AgreementKey
from ..key_kinds import SoftKey
from ..keys import PublicKey, SessionKey
from ..mechanisms import MechanismRule, Scheme
from ..objects import P11Object
from ..sessions import Session
from ..templates import folded, require
from ..wire import Mechanism, Template
from .create_object import new_object, require_creatable
from .crypt import decryption, encryption
from .multipart import key_for, require_login, rule_for
from .secrets import AES_LENGTHS, composed, secret_length


def C_WrapKey(
    caller: Caller, session: Session, mechanism: Mechanism, wrapping: int, handle: int, room: int | None
) -> bytes | int:
    """Wrap a secret key's value, or a session's private key as PKCS #8. The card's keys cannot be wrapped."""
    application = caller.application
    rule = rule_for(session, CKF.WRAP, mechanism)
    with _at_fault(CKR.WRAPPING_KEY_HANDLE_INVALID, CKR.WRAPPING_KEY_TYPE_INCONSISTENT):
        wrapping_key = key_for(caller, session, CKA.WRAP, rule, wrapping)
        operation = encryption(wrapping_key, rule, mechanism)
    item = application.object(session, handle, CKR.KEY_HANDLE_INVALID)
    payload = _payload(item)
    if not isinstance(item.key, bytes) and rule.scheme in _FOR_SECRETS:
        raise P11Error(CKR.KEY_NOT_WRAPPABLE)
    if not item.allows(CKA.EXTRACTABLE):
        raise P11Error(CKR.KEY_UNEXTRACTABLE)
    if item.allows(CKA.WRAP_WITH_TRUSTED) and not wrapping_key.allows(CKA.TRUSTED):
        raise P11Error(CKR.KEY_NOT_WRAPPABLE)
    demanded = wrapping_key.attributes.get(CKA.WRAP_TEMPLATE)
    if demanded and any(item.attributes.get(kind) != value for kind, value in demanded):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    payload += bytes(-len(payload) % _padded_to(rule))
    try:
        if room is None:
            return operation.output_length(len(payload), True)
        wrapped = operation.update(payload) + operation.finish()
    except P11Error as error:
        raise P11Error(CKR.KEY_SIZE_RANGE) if error.value is CKR.DATA_LEN_RANGE else error from None
    if room < len(wrapped):
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(wrapped))
    return wrapped


def C_UnwrapKey(
    caller: Caller, session: Session, mechanism: Mechanism, unwrapping: int, wrapped: bytes, template: Template
) -> int:
    """Create a key from a wrapped one, also by the card's RSA key."""
    rule = rule_for(session, CKF.UNWRAP, mechanism)
    with _at_fault(CKR.UNWRAPPING_KEY_HANDLE_INVALID, CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT):
        item = key_for(caller, session, CKA.UNWRAP, rule, unwrapping)
        operation = decryption(item, rule, mechanism)
    given = folded(template)
    object_class = as_ulong(given.get(CKA.CLASS, ulong(CKO.SECRET_KEY)))
    if object_class not in (CKO.SECRET_KEY, CKO.PRIVATE_KEY):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    demanded = item.attributes.get(CKA.UNWRAP_TEMPLATE) or []
    require({**dict(demanded), **given}, demanded)
    attributes = composed(session, On.UNWRAP, [*demanded, *template], CKO(object_class), None)
    require_creatable(session, attributes)
    try:
        with session.token.following():
            require_login(session, operation)
            value = operation.update(wrapped) + operation.finish()
    except P11Error as error:
        raise P11Error(_UNWRAPPING.get(error.value, error.value)) from None
    if object_class == CKO.PRIVATE_KEY:
        attributes |= _private_numbers(value, as_ulong(attributes[CKA.KEY_TYPE]))
    else:
        attributes[CKA.VALUE] = _cut(value, attributes, rule)
    return new_object(caller, session, attributes)


def _payload(item: P11Object) -> bytes:
    if isinstance(item.key, bytes):
        return item.key
    if isinstance(item.key, SessionKey):
        if isinstance(item.key.private, AgreementKey):
            raise P11Error(CKR.KEY_NOT_WRAPPABLE)
        return item.key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if item.key is None:
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    raise P11Error(CKR.KEY_NOT_WRAPPABLE if isinstance(item.key, PublicKey) else CKR.KEY_UNEXTRACTABLE)


def _private_numbers(value: bytes, key_type: int) -> Attributes:
    try:
        key = load_der_private_key(value, None)
        curve_orders.require_in_range(key)
    except NO_KEY:
        raise P11Error(CKR.WRAPPED_KEY_INVALID) from None
    if not isinstance(key, SoftKey):
        raise P11Error(CKR.WRAPPED_KEY_INVALID)
    numbers = keys.private_attributes(key)
    if numbers[CKA.KEY_TYPE] != ulong(key_type):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    return numbers


def _padded_to(rule: MechanismRule) -> int:
    """Return the block to which a key is filled up with zeros, in ciphers that take whole blocks only (6.13.4)."""
    if rule.scheme not in (Scheme.ECB, Scheme.CBC):
        return 1
    return rule.block


def _cut(value: bytes, attributes: Attributes, rule: MechanismRule) -> bytes:
    """Return the key without the zeros behind it, or before it where it is a number (RSA_X_509)."""
    key_type = as_ulong(attributes[CKA.KEY_TYPE])
    told = CKA.VALUE_LEN in attributes
    length = secret_length(attributes, len(value))
    if rule.scheme is Scheme.RSA_RAW:
        value = value[max(len(value) - length, 0) :]
    elif 0 < len(value) - length < _padded_to(rule):
        value = value[:length]
    if len(value) != length or not value:
        raise P11Error(CKR.WRAPPED_KEY_LEN_RANGE if not told else CKR.TEMPLATE_INCONSISTENT)
    if key_type == CKK.AES and length not in AES_LENGTHS:
        raise P11Error(CKR.WRAPPED_KEY_LEN_RANGE)
    return value


_FOR_SECRETS = (Scheme.ECB, Scheme.CBC, Scheme.RSA_PKCS, Scheme.RSA_RAW, Scheme.RSA_OAEP)
"""Mechanisms that wrap secret keys only: others are too long for them, or would have no end."""

_UNWRAPPING: dict[CKR, CKR] = {
    CKR.ENCRYPTED_DATA_INVALID: CKR.WRAPPED_KEY_INVALID,
    CKR.ENCRYPTED_DATA_LEN_RANGE: CKR.WRAPPED_KEY_LEN_RANGE,
    CKR.DATA_LEN_RANGE: CKR.WRAPPED_KEY_LEN_RANGE,
}


@contextlib.contextmanager
def _at_fault(handle_invalid: CKR, type_inconsistent: CKR) -> Iterator[None]:
    """Give errors about the wrapping key the return values for it, within the block."""
    names = {CKR.KEY_HANDLE_INVALID: handle_invalid, CKR.KEY_TYPE_INCONSISTENT: type_inconsistent}
    try:
        yield
    except P11Error as error:
        raise P11Error(names.get(error.value, error.value)) from None

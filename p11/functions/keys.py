# SPDX-License-Identifier: MIT
"""Key management (5.18): secret keys generated, wrapped, unwrapped and derived."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from .. import keys
from ..attributes import FALSE, TRUE, Attributes, On, as_ulong, boolean, ulong
from ..caller import Caller
from ..constants import CKA, CKF, CKK, CKO, CKR, CKU
from ..errors import P11Error
from ..keys import PublicKey, SessionKey, SoftKey
from ..mechanisms import MechanismRule, Scheme
from ..objects import P11Object
from ..operations import derivation, parameters
from ..sessions import Session
from ..templates import compose, folded, require
from ..wire import Mechanism, Template
from .crypt import decryption, encryption
from .making import add, check_place
from .parts import key_for, require_login, rule_for

_LONGEST_SECRET = 4096
_FIXED_LENGTHS = {CKK.DES3: 24}
_AES_LENGTHS = (16, 24, 32)


def C_GenerateKey(caller: Caller, session: int, mechanism: Mechanism, template: Template) -> int:
    """A secret key, by the operating system's random numbers."""
    live = caller.application.session(session)
    rule = rule_for(live, CKF.GENERATE, mechanism)
    parameters.none(mechanism)
    attributes = _composed(live, On.GENERATE, template, CKO.SECRET_KEY, rule.key_type)
    length = _length(attributes, None)
    attributes[CKA.VALUE] = _with_parity(os.urandom(length), attributes)
    attributes[CKA.KEY_GEN_MECHANISM] = ulong(mechanism.type)
    return add(caller, live, attributes)


def C_WrapKey(
    caller: Caller, session: int, mechanism: Mechanism, wrapping: int, handle: int, room: int | None
) -> bytes | int:
    """A secret key's value, or a session's private key as PKCS #8, enciphered. The card's keys never leave it."""
    application = caller.application
    live = application.session(session)
    rule = rule_for(live, CKF.WRAP, mechanism)
    with _at_fault(CKR.WRAPPING_KEY_HANDLE_INVALID, CKR.WRAPPING_KEY_TYPE_INCONSISTENT):
        wrapping_key = key_for(caller, live, CKA.WRAP, rule, wrapping)
        operation = encryption(wrapping_key, rule, mechanism)
    item = application.object(live, handle, CKR.KEY_HANDLE_INVALID)
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
    if room is None:
        return operation.output_length(len(payload), True)
    try:
        wrapped = operation.update(payload) + operation.finish()
    except P11Error as error:
        raise P11Error(CKR.KEY_SIZE_RANGE) if error.value is CKR.DATA_LEN_RANGE else error from None
    if room < len(wrapped):
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(wrapped))
    return wrapped


def C_UnwrapKey(
    caller: Caller, session: int, mechanism: Mechanism, unwrapping: int, wrapped: bytes, template: Template
) -> int:
    """A key from an enciphered one; the card's RSA key can decipher it, and it is the session's then."""
    live = caller.application.session(session)
    rule = rule_for(live, CKF.UNWRAP, mechanism)
    with _at_fault(CKR.UNWRAPPING_KEY_HANDLE_INVALID, CKR.UNWRAPPING_KEY_TYPE_INCONSISTENT):
        item = key_for(caller, live, CKA.UNWRAP, rule, unwrapping)
        operation = decryption(item, rule, mechanism)
    given = folded(template)
    object_class = as_ulong(given.get(CKA.CLASS, ulong(CKO.SECRET_KEY)))
    if object_class not in (CKO.SECRET_KEY, CKO.PRIVATE_KEY):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    demanded = item.attributes.get(CKA.UNWRAP_TEMPLATE) or []
    require({**dict(demanded), **given}, demanded)
    attributes = _composed(live, On.UNWRAP, [*demanded, *template], CKO(object_class), None)
    check_place(live, attributes)
    try:
        with live.token.following():
            require_login(live, operation)
            value = operation.update(wrapped) + operation.finish()
    except P11Error as error:
        raise P11Error(_UNWRAPPING.get(error.value, error.value)) from None
    if object_class == CKO.PRIVATE_KEY:
        attributes |= _private_numbers(value, as_ulong(attributes[CKA.KEY_TYPE]))
    else:
        attributes[CKA.VALUE] = _cut(value, attributes, rule)
    return add(caller, live, attributes)


def C_DeriveKey(caller: Caller, session: int, mechanism: Mechanism, base: int, template: Template) -> int:
    """Key agreement with a key on the card or in the session, and secrets out of secrets."""
    live = caller.application.session(session)
    rule = rule_for(live, CKF.DERIVE, mechanism)
    item = key_for(caller, live, CKA.DERIVE, rule, base)
    demanded = item.attributes.get(CKA.DERIVE_TEMPLATE) or []
    given = folded(template)
    require({**dict(demanded), **given}, demanded)
    key_type = None if CKA.KEY_TYPE in given else CKK.GENERIC_SECRET
    attributes = _composed(live, On.DERIVE, [*demanded, *template], CKO.SECRET_KEY, key_type)
    check_place(live, attributes)
    wanted = _length(attributes, 0) or None
    others: list[P11Object] = []
    if rule.scheme is Scheme.ECDH:
        value = _agreed(live, item, mechanism, wanted)
    else:
        others = _other_keys(caller, live, rule.scheme, mechanism)
        value = _derived(rule, mechanism, item, others, wanted)
    if wanted is not None and len(value) < wanted:
        data_is_short = rule.scheme is Scheme.ENCRYPT_DATA
        raise P11Error(CKR.MECHANISM_PARAM_INVALID if data_is_short else CKR.KEY_SIZE_RANGE)
    if wanted is not None and rule.scheme is not Scheme.ECDH:
        value = value[:wanted]
    if as_ulong(attributes[CKA.KEY_TYPE]) == CKK.AES and len(value) not in _AES_LENGTHS:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    attributes[CKA.VALUE] = _with_parity(value, attributes)
    _inherit(attributes, {**dict(demanded), **given}, [item, *others], rule.scheme in _READABLE)
    return add(caller, live, attributes)


def _composed(live: Session, on: On, template: Template, kind: CKO, key_type: int | None) -> Attributes:
    role = live.role
    return compose(on, template, object_class=kind, key_type=key_type, logged_in=role is CKU.USER, by_so=role is CKU.SO)


def _length(attributes: Attributes, default: int | None) -> int:
    """CKA_VALUE_LEN, taken out of the attributes. Raises P11Error: TEMPLATE_INCOMPLETE, KEY_SIZE_RANGE."""
    key_type = as_ulong(attributes[CKA.KEY_TYPE])
    told = attributes.pop(CKA.VALUE_LEN, None)
    fixed = _FIXED_LENGTHS.get(CKK(key_type))
    if told is None:
        if fixed is None and default is None:
            raise P11Error(CKR.TEMPLATE_INCOMPLETE)
        return fixed if fixed is not None else int(default or 0)
    length = as_ulong(told)
    in_range = length in _AES_LENGTHS if key_type == CKK.AES else 1 <= length <= _LONGEST_SECRET
    if not in_range or (fixed is not None and length != fixed):
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return length


def _with_parity(value: bytes, attributes: Attributes) -> bytes:
    """Of a triple DES key each byte has an odd number of ones."""
    if as_ulong(attributes[CKA.KEY_TYPE]) != CKK.DES3:
        return value
    return bytes(each if each.bit_count() % 2 else each ^ 1 for each in value)


def _payload(item: P11Object) -> bytes:
    if isinstance(item.key, bytes):
        return item.key
    if isinstance(item.key, SessionKey):
        return item.key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if item.key is None:
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    raise P11Error(CKR.KEY_NOT_WRAPPABLE if isinstance(item.key, PublicKey) else CKR.KEY_UNEXTRACTABLE)


def _private_numbers(value: bytes, key_type: int) -> Attributes:
    try:
        key = load_der_private_key(value, None)
    except Exception:  # whatever the parser does not like
        raise P11Error(CKR.WRAPPED_KEY_INVALID) from None
    if not isinstance(key, SoftKey):
        raise P11Error(CKR.WRAPPED_KEY_INVALID)
    numbers = keys.private_attributes(key)
    if numbers[CKA.KEY_TYPE] != ulong(key_type):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    return numbers


def _padded_to(rule: MechanismRule) -> int:
    """Ciphers that take whole blocks only wrap a key with zeros behind it (6.13.4)."""
    if rule.scheme not in (Scheme.ECB, Scheme.CBC):
        return 1
    return 8 if rule.key_type is CKK.DES3 else 16


def _cut(value: bytes, attributes: Attributes, rule: MechanismRule) -> bytes:
    """The key in what was unwrapped: there may be zeros behind it, or before it where it is a number (RSA_X_509)."""
    key_type = as_ulong(attributes[CKA.KEY_TYPE])
    told = CKA.VALUE_LEN in attributes
    length = _length(attributes, len(value))
    if rule.scheme is Scheme.RSA_RAW:
        value = value[max(len(value) - length, 0) :]
    elif 0 < len(value) - length < _padded_to(rule):
        value = value[:length]
    if len(value) != length or not value:
        raise P11Error(CKR.WRAPPED_KEY_LEN_RANGE if not told else CKR.TEMPLATE_INCONSISTENT)
    if key_type == CKK.AES and length not in _AES_LENGTHS:
        raise P11Error(CKR.WRAPPED_KEY_LEN_RANGE)
    return value


def _agreed(live: Session, item: P11Object, mechanism: Mechanism, wanted: int | None) -> bytes:
    key = item.key
    if key is None or isinstance(key, bytes | PublicKey):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    with live.token.following():
        return derivation.agreed(key, mechanism, wanted)


def _other_keys(caller: Caller, live: Session, scheme: Scheme, mechanism: Mechanism) -> list[P11Object]:
    """The second key of a derivation that has one."""
    handle: int | None = None
    if scheme is Scheme.CONCATENATE_KEY:
        handle = parameters.ulong(mechanism)
    elif scheme is Scheme.HKDF:
        handle = derivation.hkdf_salt_handle(mechanism)
    if handle is None:
        return []
    item = caller.application.object(live, handle, CKR.KEY_HANDLE_INVALID)
    if not isinstance(item.key, bytes):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    return [item]


def _derived(
    rule: MechanismRule, mechanism: Mechanism, item: P11Object, others: list[P11Object], wanted: int | None
) -> bytes:
    base = item.key
    other = others[0].key if others else b""
    if not isinstance(base, bytes) or not isinstance(other, bytes):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    if rule.scheme is Scheme.HKDF:
        return derivation.hkdf(mechanism, base, other, wanted or 32)
    if rule.scheme is Scheme.EXTRACT:
        return derivation.extracted(base, parameters.ulong(mechanism), wanted or len(base))
    return derivation.combined(rule, mechanism, base, other)


def _inherit(attributes: Attributes, given: Attributes, sources: list[P11Object], readable: bool) -> None:
    """A derived key is as secret as what it comes from has been (6.3.17, 6.31).

    Where that could be read off from it, it has to stay so. Raises P11Error(TEMPLATE_INCONSISTENT).
    """
    for kind, secret in ((CKA.SENSITIVE, TRUE), (CKA.EXTRACTABLE, FALSE)):
        if readable and any(source.attributes.get(kind) == secret for source in sources):
            if kind in given and attributes[kind] != secret:
                raise P11Error(CKR.TEMPLATE_INCONSISTENT)
            attributes[kind] = secret
    always = all(source.allows(CKA.ALWAYS_SENSITIVE) for source in sources)
    never = all(source.allows(CKA.NEVER_EXTRACTABLE) for source in sources)
    attributes[CKA.ALWAYS_SENSITIVE] = boolean(always and attributes[CKA.SENSITIVE] == TRUE)
    attributes[CKA.NEVER_EXTRACTABLE] = boolean(never and attributes[CKA.EXTRACTABLE] == FALSE)


_READABLE = (Scheme.CONCATENATE_KEY, Scheme.CONCATENATE_DATA, Scheme.PREPEND_DATA, Scheme.XOR_DATA, Scheme.EXTRACT)
"""Derivations that leave the base key as it is, or nearly so (6.43)."""

_FOR_SECRETS = (Scheme.ECB, Scheme.CBC, Scheme.RSA_PKCS, Scheme.RSA_RAW, Scheme.RSA_OAEP)
"""Mechanisms that wrap secret keys only: others are too long for them, or would have no end."""

_UNWRAPPING: dict[CKR, CKR] = {
    CKR.ENCRYPTED_DATA_INVALID: CKR.WRAPPED_KEY_INVALID,
    CKR.ENCRYPTED_DATA_LEN_RANGE: CKR.WRAPPED_KEY_LEN_RANGE,
    CKR.DATA_LEN_RANGE: CKR.WRAPPED_KEY_LEN_RANGE,
}


@contextlib.contextmanager
def _at_fault(handle_invalid: CKR, type_inconsistent: CKR) -> Iterator[None]:
    """Around what concerns the wrapping key: its errors have names of their own."""
    names = {CKR.KEY_HANDLE_INVALID: handle_invalid, CKR.KEY_TYPE_INCONSISTENT: type_inconsistent}
    try:
        yield
    except P11Error as error:
        raise P11Error(names.get(error.value, error.value)) from None

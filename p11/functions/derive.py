# SPDX-License-Identifier: MIT
"""Key derivation (5.18.5): key agreement, and derivation from secret keys."""

from __future__ import annotations

from ..attribute_rules import On
from ..attributes import FALSE, TRUE, Attributes, as_ulong, boolean
from ..caller import Caller
from ..constants import CKA, CKF, CKK, CKM, CKO, CKR
from ..errors import P11Error
from ..keys import PublicKey
from ..mechanisms import MechanismRule, Scheme
from ..objects import P11Object
from ..operations import derivation, kbkdf, parameters
from ..sessions import Session
from ..templates import folded, require
from ..wire import Mechanism, Template
from .create_object import new_object, require_creatable
from .multipart import key_for, rule_for
from .secrets import AES_LENGTHS, composed, secret_length, with_parity


def C_DeriveKey(caller: Caller, session: Session, mechanism: Mechanism, base: int, template: Template) -> int:
    """Derive a key, by key agreement with a private key or from a secret key."""
    rule = rule_for(session, CKF.DERIVE, mechanism)
    item = _base(caller, session, rule, base)
    demanded = item.attributes.get(CKA.DERIVE_TEMPLATE) or []
    given = folded(template)
    require({**dict(demanded), **given}, demanded)
    if rule.type == CKM.HKDF_DATA:
        return _data(caller, session, rule, mechanism, item, given)
    key_type = None if CKA.KEY_TYPE in given else CKK.GENERIC_SECRET
    attributes = composed(session, On.DERIVE, [*demanded, *template], CKO.SECRET_KEY, key_type)
    require_creatable(session, attributes)
    wanted = secret_length(attributes, None if key_type is None and rule.scheme in _OF_TYPE_AND_LENGTH else 0) or None
    others: list[P11Object] = []
    if rule.scheme in _AGREEMENTS:
        value = _agreed(session, rule, item, mechanism, wanted)
    else:
        others = _other_keys(caller, session, rule.scheme, mechanism)
        value = _derived(rule, mechanism, item, others, wanted)
    if wanted is not None and len(value) < wanted:
        data_is_short = rule.scheme is Scheme.ENCRYPT_DATA
        raise P11Error(CKR.MECHANISM_PARAM_INVALID if data_is_short else CKR.KEY_SIZE_RANGE)
    if wanted is not None and rule.scheme not in _AGREEMENTS:
        value = value[:wanted]
    if as_ulong(attributes[CKA.KEY_TYPE]) == CKK.AES and len(value) not in AES_LENGTHS:
        raise P11Error(CKR.KEY_SIZE_RANGE)
    attributes[CKA.VALUE] = with_parity(value, attributes)
    _inherit(attributes, {**dict(demanded), **given}, [item, *others], rule.scheme in _READABLE)
    return new_object(caller, session, attributes)


def _base(caller: Caller, session: Session, rule: MechanismRule, handle: int) -> P11Object:
    """Return the base key; for HKDF it may be a data object with the secret (6.62.3)."""
    if rule.scheme is Scheme.HKDF:
        item = caller.application.object(session, handle, CKR.KEY_HANDLE_INVALID)
        if item.object_class == CKO.DATA:
            return item
    return key_for(caller, session, CKA.DERIVE, rule, handle)


def _data(
    caller: Caller, session: Session, rule: MechanismRule, mechanism: Mechanism, item: P11Object, given: Attributes
) -> int:
    """Create a data object with the derived bytes (HKDF_DATA); CKA_VALUE_LEN sets their number (6.62.4)."""
    told = given.pop(CKA.VALUE_LEN, None)
    wanted = None if told is None else as_ulong(told)
    attributes = composed(session, On.DERIVE, list(given.items()), CKO.DATA, None)
    require_creatable(session, attributes)
    value = _derived(rule, mechanism, item, _other_keys(caller, session, rule.scheme, mechanism), wanted)
    if wanted is not None and not 1 <= wanted <= len(value):
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return new_object(caller, session, {**attributes, CKA.VALUE: value[:wanted]})


def _agreed(session: Session, rule: MechanismRule, item: P11Object, mechanism: Mechanism, wanted: int | None) -> bytes:
    key = item.key
    if key is None or isinstance(key, bytes | PublicKey):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    with session.token.following():
        if rule.scheme is Scheme.DH:
            return derivation.agreed_in_field(key, rule, mechanism, wanted)
        return derivation.agreed(key, mechanism, wanted)


def _other_keys(caller: Caller, session: Session, scheme: Scheme, mechanism: Mechanism) -> list[P11Object]:
    """Return the second key, for a derivation that has one."""
    handle: int | None = None
    if scheme is Scheme.CONCATENATE_KEY:
        handle = parameters.ulong(mechanism)
    elif scheme is Scheme.HKDF:
        handle = derivation.hkdf_salt_handle(mechanism)
    if handle is None:
        return []
    item = caller.application.object(session, handle, CKR.KEY_HANDLE_INVALID)
    if not isinstance(item.key, bytes):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    return [item]


def _derived(
    rule: MechanismRule, mechanism: Mechanism, item: P11Object, others: list[P11Object], wanted: int | None
) -> bytes:
    base = item.key if item.object_class != CKO.DATA else item.attributes[CKA.VALUE]
    other = others[0].key if others else b""
    if not isinstance(base, bytes) or not isinstance(other, bytes):
        raise P11Error(CKR.KEY_HANDLE_INVALID)
    if rule.scheme is Scheme.HKDF:
        if item.object_class == CKO.DATA:
            derivation.require_data(mechanism, base)
        return derivation.hkdf(mechanism, base, other, wanted)
    if rule.scheme is Scheme.KBKDF:
        if item.key_type not in kbkdf.key_types(mechanism):
            raise P11Error(CKR.KEY_TYPE_INCONSISTENT)
        return kbkdf.derived(mechanism, base, wanted)
    if rule.scheme is Scheme.EXTRACT:
        return derivation.extracted(base, parameters.ulong(mechanism), wanted or len(base))
    return derivation.combined(rule, mechanism, base, other)


def _inherit(attributes: Attributes, given: Attributes, sources: list[P11Object], readable: bool) -> None:
    """Set what a derived key inherits from its base keys: sensitive, extractable and their history (6.3.17, 6.31).

    Where the base key could be read off the derived key, a secret that it protects stays protected. Raises
    P11Error(TEMPLATE_INCONSISTENT).
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


_OF_TYPE_AND_LENGTH = (
    Scheme.HASH_KEY,
    Scheme.ENCRYPT_DATA,
    Scheme.CONCATENATE_KEY,
    Scheme.CONCATENATE_DATA,
    Scheme.PREPEND_DATA,
    Scheme.XOR_DATA,
    Scheme.EXTRACT,
)
"""Derivations that need a length for a key type that has several (6.31, 6.43)."""

_AGREEMENTS = (Scheme.ECDH, Scheme.DH)
_READABLE = (Scheme.CONCATENATE_KEY, Scheme.CONCATENATE_DATA, Scheme.PREPEND_DATA, Scheme.XOR_DATA, Scheme.EXTRACT)
"""Derivations from whose result the base key can be read off, at least in part (6.43)."""

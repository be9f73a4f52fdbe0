# SPDX-License-Identifier: MIT
"""Templates: the checks on attributes of objects that an application creates, copies or changes.

The order of the checks is that of the standard (PKCS #11 3.1, 4.1.1 to 4.1.3): the attribute, its value, whether it may
be given at all, whether one is missing, whether all are consistent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .attribute_rules import HMAC_KEYS, AttributeForm, AttributeRule, On, checked, rules
from .attributes import FALSE, TRUE, Attributes, as_ulong, boolean, ulong
from .constants import CKA, CKK, CKO, CKR
from .errors import P11Error
from .wire import Template

_STANDARD = frozenset(CKA)
_CLASS, _NONE = CKA.CLASS, frozenset[int]()
_WITH_SECRETS = frozenset({ulong(CKO.PRIVATE_KEY), ulong(CKO.SECRET_KEY)})
_KEYS = (CKO.PUBLIC_KEY, CKO.PRIVATE_KEY, CKO.SECRET_KEY)
_OF_KEY_TYPE = (*_KEYS, CKO.DOMAIN_PARAMETERS)
_STORED = (CKO.DATA, CKO.CERTIFICATE, *_OF_KEY_TYPE)
"""The classes of objects that applications make; those of others are built in (4.1.1)."""

# Attributes of NSS's own store, which it sends along to every token; they say nothing that is not said elsewhere.
_IGNORED = frozenset({0xD5A0DB00})

_CIPHER = (CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP)
_USAGES: dict[int, tuple[CKA, ...]] = {
    CKK.RSA: (
        CKA.ENCRYPT,
        CKA.DECRYPT,
        CKA.SIGN,
        CKA.VERIFY,
        CKA.SIGN_RECOVER,
        CKA.VERIFY_RECOVER,
        CKA.WRAP,
        CKA.UNWRAP,
    ),
    CKK.EC: (CKA.SIGN, CKA.VERIFY, CKA.DERIVE),
    CKK.EC_EDWARDS: (CKA.SIGN, CKA.VERIFY),
    CKK.EC_MONTGOMERY: (CKA.DERIVE,),
    CKK.ML_DSA: (CKA.SIGN, CKA.VERIFY),
    CKK.ML_KEM: (CKA.ENCAPSULATE, CKA.DECAPSULATE),
    CKK.HKDF: (CKA.DERIVE,),
    CKK.DSA: (CKA.SIGN, CKA.VERIFY),
    CKK.DH: (CKA.DERIVE,),
    CKK.X9_42_DH: (CKA.DERIVE,),
    **dict.fromkeys(HMAC_KEYS, (CKA.SIGN, CKA.VERIFY)),
}
"""What a key may be used for if its template does not say: what its kind can do. Secret keys can do everything but be
derived from, which is said to be off by default (4.7); curves for agreement would be of no use without."""

USAGES = frozenset({*_CIPHER, CKA.DERIVE, CKA.SIGN_RECOVER, CKA.VERIFY_RECOVER, CKA.ENCAPSULATE, CKA.DECAPSULATE})


def folded(template: Template) -> Attributes:
    """Return the attributes by type. Raises P11Error(TEMPLATE_INCONSISTENT) for one given twice with two values."""
    given: Attributes = {}
    for kind, value in template:
        if kind in given and given[kind] != value:
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
        if kind not in _IGNORED:
            given[kind] = value
    return given


def compose(
    on: On,
    template: Template,
    *,
    object_class: CKO | None = None,
    key_type: int | None = None,
    logged_in: bool,
    by_so: bool = False,
) -> Attributes:
    """Return the attributes of a new object that the template and the defaults give.

    `object_class` and `key_type` are those that the function makes, if it makes only one; the template may repeat them.
    Raises P11Error.
    """
    given = folded(template)
    for kind in given:
        if kind not in _STANDARD:
            raise P11Error(CKR.ATTRIBUTE_TYPE_INVALID)
    kind_of_object = _decided(given, CKA.CLASS, object_class)
    if kind_of_object not in _STORED:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    kind_of_key = _decided(given, CKA.KEY_TYPE, key_type) if kind_of_object in _OF_KEY_TYPE else None
    table = rules(kind_of_object, kind_of_key)
    if table is None:
        raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
    attributes = _accepted(on, given, table.get, by_so)
    if any(rule.needed & on and rule.type not in attributes for rule in table.values()):
        raise P11Error(CKR.TEMPLATE_INCOMPLETE)
    attributes[CKA.CLASS] = ulong(kind_of_object)
    if kind_of_key is not None:
        attributes[CKA.KEY_TYPE] = ulong(kind_of_key)
    if kind_of_object == CKO.PRIVATE_KEY and attributes.get(CKA.TOKEN) == TRUE:
        attributes.setdefault(CKA.COPYABLE, FALSE)
    for rule in table.values():
        if rule.default is not None:
            attributes.setdefault(rule.type, rule.default)
    attributes.setdefault(CKA.PRIVATE, boolean(logged_in and kind_of_object in (CKO.PRIVATE_KEY, CKO.SECRET_KEY)))
    if kind_of_object == CKO.DOMAIN_PARAMETERS:
        attributes[CKA.LOCAL] = boolean(on is On.GENERATE)
    elif kind_of_key is not None:
        _complete_key(on, attributes, kind_of_object, kind_of_key, table)
    return attributes


def changed(on: On, current: Attributes, template: Template, by_so: bool = False) -> Attributes:
    """Return the attributes after C_CopyObject or C_SetAttributeValue. Raises P11Error."""
    given = folded(template)
    object_class = as_ulong(current[CKA.CLASS])
    key_type = as_ulong(current[CKA.KEY_TYPE]) if CKA.KEY_TYPE in current else None
    table = rules(object_class, key_type) or {}
    result = dict(current)
    for kind, value in given.items():
        rule = table.get(kind)
        if rule is None:
            raise P11Error(CKR.ATTRIBUTE_TYPE_INVALID)
        value = checked(rule, value)
        erased = rule.erasable and not value
        if (rule.barred & on and not erased) or (rule.so_only and value == TRUE and not by_so):
            raise P11Error(CKR.ATTRIBUTE_READ_ONLY)
        if rule.one_way is not None and current.get(kind) == rule.one_way and (on is On.SET or value != rule.one_way):
            raise P11Error(CKR.ATTRIBUTE_READ_ONLY)
        result[kind] = value
    return result


def secret_attributes(attributes: Attributes) -> frozenset[int]:
    """Return the attributes that may not be read now (4.9, 4.10: sensitive, or not extractable)."""
    if attributes[_CLASS] not in _WITH_SECRETS:
        return _NONE
    if attributes.get(CKA.SENSITIVE) == FALSE and attributes.get(CKA.EXTRACTABLE) == TRUE:
        return _NONE
    table = rules(as_ulong(attributes[_CLASS]), as_ulong(attributes[CKA.KEY_TYPE])) or {}
    return frozenset(kind for kind, rule in table.items() if rule.secret)


def require(attributes: Attributes, demanded: Iterable[tuple[int, Any]]) -> None:
    """Check a new key against the template of its unwrapping or base key. Raises P11Error(TEMPLATE_INCONSISTENT)."""
    if any(attributes.get(kind) != value for kind, value in demanded):
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)


def _decided(given: Attributes, kind: CKA, made: int | None) -> int:
    """Return the class or key type, from the function or the template, which have to agree."""
    told = as_ulong(given[kind]) if kind in given else None
    if told is None and made is None:
        raise P11Error(CKR.TEMPLATE_INCOMPLETE)
    if told is not None and made is not None and told != made:
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    return told if told is not None else int(made or 0)


def _accepted(on: On, given: Attributes, rule_of: Any, by_so: bool) -> Attributes:
    attributes: Attributes = {}
    for kind, value in given.items():
        rule: AttributeRule | None = rule_of(kind)
        if rule is None:  # an attribute of the standard, but of other objects
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
        if (rule.form is AttributeForm.TEMPLATE) != isinstance(value, list):
            raise P11Error(CKR.ATTRIBUTE_VALUE_INVALID)
        attributes[kind] = checked(rule, value)
        if rule.barred & on or (rule.so_only and attributes[kind] == TRUE and not by_so):
            raise P11Error(CKR.ATTRIBUTE_READ_ONLY)
    return attributes


def _complete_key(on: On, attributes: Attributes, object_class: int, key_type: int, table: Any) -> None:
    """Add a key's defaults that depend on other attributes, and its history."""
    usual = _USAGES.get(key_type, _CIPHER)
    for usage in USAGES:
        if usage in table:
            attributes.setdefault(usage, boolean(usage in usual))
    attributes.setdefault(CKA.ID, b"")
    attributes[CKA.LOCAL] = boolean(on is On.GENERATE)
    if object_class == CKO.PUBLIC_KEY:
        return
    attributes.setdefault(CKA.SENSITIVE, boolean(object_class == CKO.PRIVATE_KEY))
    on_card = object_class == CKO.PRIVATE_KEY and attributes[CKA.TOKEN] == TRUE
    open_secret = object_class == CKO.SECRET_KEY and attributes[CKA.SENSITIVE] == FALSE
    # A sensitive key is extractable only if the template says so, an unwrapped one by default (5.18.4).
    attributes.setdefault(CKA.EXTRACTABLE, boolean(open_secret or (on is On.UNWRAP and not on_card)))
    generated = on is On.GENERATE
    attributes[CKA.ALWAYS_SENSITIVE] = boolean(generated and attributes[CKA.SENSITIVE] == TRUE)
    attributes[CKA.NEVER_EXTRACTABLE] = boolean(generated and attributes[CKA.EXTRACTABLE] == FALSE)

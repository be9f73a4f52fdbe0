# SPDX-License-Identifier: MIT
"""Generation of secret keys and domain parameters (5.18.1), and the rules for all new secret keys."""

from __future__ import annotations

import os

from ..attribute_rules import On
from ..attributes import Attributes, as_ulong, ulong
from ..caller import Caller
from ..constants import CKA, CKF, CKK, CKO, CKR, CKU
from ..errors import P11Error
from ..finite_fields import new_domain
from ..long_work import calculated
from ..mechanisms import Scheme
from ..objects import FIXED_LENGTHS
from ..operations import parameters
from ..sessions import Session
from ..templates import compose, folded
from ..wire import Mechanism, Template
from .create_object import new_object, require_creatable
from .multipart import rule_for

_LONGEST_SECRET = 4096
_WITH_PARITY = (CKK.DES, CKK.DES2, CKK.DES3)
AES_LENGTHS = (16, 24, 32)


def C_GenerateKey(caller: Caller, session: Session, mechanism: Mechanism, template: Template) -> int:
    """Generate a secret key, at random or from a password, or domain parameters."""
    rule = rule_for(session, CKF.GENERATE, mechanism)
    if rule.scheme is Scheme.GENERATE_DOMAIN:
        parameters.none(mechanism)
        attributes = composed(session, On.GENERATE, template, CKO.DOMAIN_PARAMETERS, rule.key_type)
        require_creatable(session, attributes)
        make = new_domain(attributes, as_ulong(attributes[CKA.KEY_TYPE]))
        return new_object(caller, session, {**attributes, **calculated(caller, session, make)})
    if rule.scheme is Scheme.PBKDF2:
        password = parameters.password(mechanism)
        key_type = None if CKA.KEY_TYPE in folded(template) else CKK.GENERIC_SECRET
        attributes = composed(session, On.GENERATE, template, CKO.SECRET_KEY, key_type)
        length = secret_length(attributes, None)
        password.require_bounded(length)
        value = calculated(caller, session, lambda _: password.stretched(length))
    else:
        parameters.none(mechanism)
        attributes = composed(session, On.GENERATE, template, CKO.SECRET_KEY, rule.key_type)
        value = os.urandom(secret_length(attributes, None))
    attributes[CKA.VALUE] = with_parity(value, attributes)
    attributes[CKA.KEY_GEN_MECHANISM] = ulong(mechanism.type)
    return new_object(caller, session, attributes)


def composed(session: Session, on: On, template: Template, kind: CKO, key_type: int | None) -> Attributes:
    role = session.role
    return compose(on, template, object_class=kind, key_type=key_type, logged_in=role is CKU.USER, by_so=role is CKU.SO)


def secret_length(attributes: Attributes, default: int | None) -> int:
    """Remove CKA_VALUE_LEN from the attributes and return it. Raises P11Error: TEMPLATE_INCOMPLETE, KEY_SIZE_RANGE."""
    key_type = as_ulong(attributes[CKA.KEY_TYPE])
    told = attributes.pop(CKA.VALUE_LEN, None)
    fixed = FIXED_LENGTHS.get(key_type)
    if told is None:
        if fixed is None and default is None:
            raise P11Error(CKR.TEMPLATE_INCOMPLETE)
        return fixed if fixed is not None else int(default or 0)
    length = as_ulong(told)
    in_range = length in AES_LENGTHS if key_type == CKK.AES else 1 <= length <= _LONGEST_SECRET
    if not in_range or (fixed is not None and length != fixed):
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return length


def with_parity(value: bytes, attributes: Attributes) -> bytes:
    """Return the value of a DES key with an odd number of ones in each byte, that of others as it is."""
    if as_ulong(attributes[CKA.KEY_TYPE]) not in _WITH_PARITY:
        return value
    return bytes(each if each.bit_count() % 2 else each ^ 1 for each in value)


def complete_secret(attributes: Attributes, value: bytes) -> Attributes:
    """Add the key, the first CKA_VALUE_LEN bytes of a shared secret. Raises P11Error(KEY_SIZE_RANGE)."""
    wanted = secret_length(attributes, len(value))
    if wanted > len(value) or (as_ulong(attributes[CKA.KEY_TYPE]) == CKK.AES and wanted not in AES_LENGTHS):
        raise P11Error(CKR.KEY_SIZE_RANGE)
    return {**attributes, CKA.VALUE: with_parity(value[:wanted], attributes)}

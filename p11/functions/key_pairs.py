# SPDX-License-Identifier: MIT
"""Key pair generation (5.18.2): by the card in one of its key slots, or in the session."""

from __future__ import annotations

from .. import curves, key_kinds, keys
from ..attribute_rules import On
from ..attributes import TRUE, Attributes, boolean, ulong
from ..caller import Caller
from ..constants import CKA, CKF, CKO, CKR, CKU
from ..errors import P11Error
from ..objects import P11Object
from ..sessions import Session
from ..templates import compose, folded
from ..wire import Mechanism, Template
from .create_object import require_creatable

_CARD_EXPONENT = 65537
_EXPONENTS = (3, _CARD_EXPONENT)  # those that the library makes


def C_GenerateKeyPair(
    caller: Caller, session: Session, mechanism: Mechanism, public: Template, private: Template
) -> tuple[int, int]:
    """Generate a key pair on the card or in the session; a CKA_ID not in the templates is derived from the key."""
    application = caller.application
    rule = session.token.mechanism(mechanism.type)
    key_type = rule.key_type
    if key_type is None or not rule.flags & CKF.GENERATE_KEY_PAIR:
        raise P11Error(CKR.MECHANISM_INVALID)
    if mechanism.parameter:
        raise P11Error(CKR.MECHANISM_PARAM_INVALID)
    as_user, by_so = session.role is CKU.USER, session.role is CKU.SO
    halves = [
        compose(On.GENERATE, template, object_class=object_class, key_type=key_type, logged_in=as_user, by_so=by_so)
        for template, object_class in ((public, CKO.PUBLIC_KEY), (private, CKO.PRIVATE_KEY))
    ]
    public_half, private_half = halves
    kind = key_kinds.kind_of({**private_half, **public_half}, key_type)
    if CKA.EC_PARAMS in public_half:
        public_half[CKA.EC_PARAMS] = curves.well_formed(public_half[CKA.EC_PARAMS])
        private_half[CKA.EC_PARAMS] = public_half[CKA.EC_PARAMS]  # in the application's own spelling
    exponent = int.from_bytes(public_half.get(CKA.PUBLIC_EXPONENT) or b"\1\0\1", "big")
    on_card = private_half[CKA.TOKEN] == TRUE
    if on_card != (public_half[CKA.TOKEN] == TRUE) and CKA.TOKEN not in folded(public):
        public_half[CKA.TOKEN] = private_half[CKA.TOKEN]
    for half in halves:
        half[CKA.KEY_GEN_MECHANISM] = ulong(mechanism.type)
        require_creatable(session, half)
    if on_card:
        if exponent != _CARD_EXPONENT:
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)  # 6.1.4
        for half in halves:
            if not half[CKA.ID]:
                del half[CKA.ID]  # the card's objects have one made from the key
        pair = session.token.generate(key_kinds.card_kind(kind), public_half, private_half, session.right)
        if public_half[CKA.TOKEN] == TRUE:
            return application.handle(session, pair[0]), application.handle(session, pair[1])
        session_half = P11Object({**pair[0].attributes, CKA.TOKEN: boolean(False)}, pair[0].key)
        return application.add_session_object(session, session_half), application.handle(session, pair[1])
    if exponent not in _EXPONENTS:
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    key = key_kinds.generate(kind, exponent)
    made_public = P11Object(
        {**keys.public_attributes(key.public_key()), **public_half, **_identified(public_half, key)}, key.public_key()
    )
    made_private = P11Object(
        {**keys.private_attributes(key), **private_half, **_identified(private_half, key)},
        keys.SessionKey(key, private_half[CKA.ALWAYS_AUTHENTICATE] == TRUE),
    )
    if public_half[CKA.TOKEN] == TRUE:
        handle = application.handle(session, session.token.create(made_public, session.right))
    else:
        handle = application.add_session_object(session, made_public)
    return handle, application.add_session_object(session, made_private)


def _identified(half: Attributes, key: key_kinds.SoftKey) -> Attributes:
    return {CKA.ID: half[CKA.ID] or keys.identity(key.public_key())}

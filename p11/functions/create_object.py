# SPDX-License-Identifier: MIT
"""How a new object comes into being, whichever function makes it: in the session, or on the card."""

from __future__ import annotations

from ..attributes import TRUE, Attributes, ulong
from ..caller import Caller
from ..constants import CKA, CKO, CKR, CKU
from ..errors import P11Error
from ..objects import finished
from ..sessions import Session
from ..slot_objects import ON_CARD

_PRIVATE_KEY = ulong(CKO.PRIVATE_KEY)


def new_object(caller: Caller, session: Session, attributes: Attributes) -> int:
    """The handle of a new object with these attributes, complete as templates.compose leaves them.

    Raises P11Error: SESSION_READ_ONLY, USER_NOT_LOGGED_IN, what finished() says of the material, DEVICE_MEMORY.
    """
    require_creatable(session, attributes)
    item = finished(attributes)
    if attributes[CKA.TOKEN] == TRUE:
        item = session.token.create(item, session.right)
        return caller.application.handle(session, item)
    return caller.application.add_session_object(session, item)


def require_creatable(session: Session, attributes: Attributes) -> None:
    """Whether this session may make such an object: on the token only read/write, private ones only as the user.

    And whether the token can: a template that asks for a private key that can be had from the card is
    CKR_TEMPLATE_INCONSISTENT, for it violates a requirement of the token (4.1.1).
    """
    if attributes[CKA.TOKEN] == TRUE:
        if not session.read_write:
            raise P11Error(CKR.SESSION_READ_ONLY)
        session.token.require_writable()
        if attributes[CKA.CLASS] == _PRIVATE_KEY and any(attributes[kind] != ON_CARD[kind] for kind in ON_CARD):
            raise P11Error(CKR.TEMPLATE_INCONSISTENT)
    if attributes.get(CKA.ALWAYS_AUTHENTICATE) == TRUE and attributes[CKA.PRIVATE] != TRUE:
        raise P11Error(CKR.TEMPLATE_INCONSISTENT)  # 4.9
    if attributes[CKA.PRIVATE] == TRUE and session.role is not CKU.USER:
        raise P11Error(CKR.USER_NOT_LOGGED_IN)

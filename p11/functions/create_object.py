# SPDX-License-Identifier: MIT
"""Create an object from complete attributes, in the session or on the card."""

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
    """Create an object and return its handle; the attributes are complete, as templates.compose leaves them.

    Raises P11Error: SESSION_READ_ONLY, USER_NOT_LOGGED_IN, DEVICE_MEMORY, those of objects.finished; CardRemoved.
    """
    require_creatable(session, attributes)
    item = finished(attributes)
    if attributes[CKA.TOKEN] == TRUE:
        item = session.token.create(item, session.right)
        return caller.application.handle(session, item)
    return caller.application.add_session_object(session, item)


def require_creatable(session: Session, attributes: Attributes) -> None:
    """Raise P11Error if the session may not create an object: on the token only read/write, private only as the user.

    A template for an extractable private key on the card is CKR_TEMPLATE_INCONSISTENT: the token does not support it
    (4.1.1).
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

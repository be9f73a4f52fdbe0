# SPDX-License-Identifier: MIT
"""Object management (5.7)."""

from __future__ import annotations

from ..attribute_rules import On
from ..attributes import FALSE, TRUE, Attributes, query, ulong
from ..caller import Caller
from ..constants import CKA, CKO, CKR, CKU
from ..errors import P11Error
from ..objects import P11Object
from ..sessions import Session
from ..templates import changed, compose
from ..wire import Query, QueryResult, Template
from .create_object import new_object, require_creatable

_FOUND_BY_CLASS = (ulong(CKO.HW_FEATURE), ulong(CKO.MECHANISM))
"""Classes whose objects are found only when the template names the class (4.4.1, 4.12)."""

_PROFILE = ulong(CKO.PROFILE)
"""The class of profile objects, which are found only when the template names it or CKA_PROFILE_ID."""


def C_CreateObject(caller: Caller, session: Session, template: Template) -> int:
    """Create an object in the session or on the card: keys in key slots, certificates beside them, others as data."""
    role = session.role
    return new_object(caller, session, compose(On.CREATE, template, logged_in=role is CKU.USER, by_so=role is CKU.SO))


def C_CopyObject(caller: Caller, session: Session, handle: int, template: Template) -> int:
    """Copy an object, with the attributes of the template; a key on the card cannot be copied."""
    application = caller.application
    item = application.object(session, handle)
    if item.attributes.get(CKA.COPYABLE, TRUE) == FALSE:
        raise P11Error(CKR.ACTION_PROHIBITED)
    attributes = changed(On.COPY, item.attributes, template, session.role is CKU.SO)
    attributes.pop(CKA.UNIQUE_ID, None)
    if attributes[CKA.TOKEN] == TRUE and item.object_class == CKO.PRIVATE_KEY and CKA.COPYABLE not in dict(template):
        attributes[CKA.COPYABLE] = FALSE  # on the card it stays so
    require_creatable(session, attributes)
    copy = P11Object(attributes, item.key)
    if attributes[CKA.TOKEN] == TRUE:
        return application.handle(session, session.token.create(copy, session.right))
    return application.add_session_object(session, copy)


def C_DestroyObject(caller: Caller, session: Session, handle: int) -> None:
    """Delete an object from the session or from the card."""
    application = caller.application
    item = application.object(session, handle)
    if item.attributes.get(CKA.DESTROYABLE, TRUE) == FALSE:
        raise P11Error(CKR.ACTION_PROHIBITED)
    if item.location is not None:
        _require_read_write(session)
        try:
            session.token.destroy(item, session.right)
        except P11Error as error:
            if error.value is CKR.USER_NOT_LOGGED_IN and not item.is_private:
                raise P11Error(CKR.ACTION_PROHIBITED) from None  # visible to the login, but not deletable
            raise
    application.forget_object(handle)


def C_GetObjectSize(caller: Caller, session: Session, handle: int) -> int:
    """Return the bytes of all attribute values."""
    application = caller.application
    item = application.object(session, handle)
    return sum(len(value) for value in item.attributes.values() if isinstance(value, bytes))


def C_GetAttributeValue(caller: Caller, session: Session, handle: int, wanted: Query) -> list[QueryResult]:
    """Return the values of attributes; each is looked up, whatever is wrong with another (5.7.5)."""
    application = caller.application
    item = application.object(session, handle)
    return query(item.attributes, item.hidden, wanted)


def C_SetAttributeValue(caller: Caller, session: Session, handle: int, template: Template) -> None:
    """Change all attributes of the template, or none."""
    application = caller.application
    item = application.object(session, handle)
    if item.attributes.get(CKA.TOKEN) == TRUE:
        _require_read_write(session)
    if item.attributes.get(CKA.MODIFIABLE, TRUE) == FALSE:
        raise P11Error(CKR.ACTION_PROHIBITED)
    by_so = session.role is CKU.SO

    def change(attributes: Attributes) -> Attributes:
        return changed(On.SET, attributes, template, by_so)

    if item.location is not None:
        session.token.change(item, change, session.right)
    else:
        with application.testbed.lock:
            item.become(change(item.attributes))


def C_FindObjectsInit(caller: Caller, session: Session, template: Template) -> None:
    """Search for objects; C_FindObjects returns the result of now."""
    application = caller.application
    with session.lock:
        if session.found is not None:
            raise P11Error(CKR.OPERATION_ACTIVE)
        given = dict(template)
        wanted = given.get(CKA.CLASS)
        candidates = session.token.features() if wanted in _FOUND_BY_CLASS else application.visible_objects(session)
        if wanted != _PROFILE and CKA.PROFILE_ID not in given:
            candidates = [item for item in candidates if item.attributes[CKA.CLASS] != _PROFILE]
        session.found = application.handles_of(session, [item for item in candidates if item.matches(template)])


def C_FindObjects(caller: Caller, session: Session, room: int) -> list[int]:
    """Return the next handles, as many as there is room for."""
    with session.lock:
        if session.found is None:
            raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
        given, session.found = session.found[:room], session.found[room:]
        return given


def C_FindObjectsFinal(caller: Caller, session: Session) -> None:
    """End the search."""
    with session.lock:
        if session.found is None:
            raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
        session.found = None


def _require_read_write(session: Session) -> None:
    if not session.read_write:
        raise P11Error(CKR.SESSION_READ_ONLY)
    session.token.require_writable()

# SPDX-License-Identifier: MIT
"""Object management (5.7)."""

from __future__ import annotations

from ..attributes import query
from ..caller import Caller
from ..constants import CKA, CKR
from ..errors import P11Error
from ..wire import Template


def C_GetObjectSize(caller: Caller, session: int, handle: int) -> int:
    """Bytes of all attribute values."""
    application = caller.application
    item = application.object(application.session(session), handle)
    return sum(len(value) for value in item.attributes.values())


def C_GetAttributeValue(
    caller: Caller, session: int, handle: int, wanted: list[tuple[int, int | None]]
) -> list[bytes | int]:
    """All attributes are looked at, whatever is wrong with one of them."""
    application = caller.application
    item = application.object(application.session(session), handle)
    return query(item.attributes, item.hidden, wanted)


def C_DestroyObject(caller: Caller, session: int, handle: int) -> None:
    """Session objects only: what is on the card stays there."""
    application = caller.application
    live = application.session(session)
    item = application.object(live, handle)
    if item.attributes[CKA.DESTROYABLE] != b"\1":
        raise P11Error(CKR.ACTION_PROHIBITED)
    application.forget_object(handle)


def C_FindObjectsInit(caller: Caller, session: int, template: Template) -> None:
    """The search is made here, at once; C_FindObjects hands it out."""
    application = caller.application
    live = application.session(session)
    with live.lock:
        if live.found is not None:
            raise P11Error(CKR.OPERATION_ACTIVE)
        matching = [item for item in application.visible_objects(live) if item.matches(template)]
        live.found = [application.handle(live, item) for item in matching]


def C_FindObjects(caller: Caller, session: int, room: int) -> list[int]:
    """The next handles, as many as there is room for."""
    live = caller.application.session(session)
    with live.lock:
        if live.found is None:
            raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
        given, live.found = live.found[:room], live.found[room:]
        return given


def C_FindObjectsFinal(caller: Caller, session: int) -> None:
    """The search is over."""
    live = caller.application.session(session)
    with live.lock:
        if live.found is None:
            raise P11Error(CKR.OPERATION_NOT_INITIALIZED)
        live.found = None

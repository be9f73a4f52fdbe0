# SPDX-License-Identifier: MIT
"""Slot and token management (5.5)."""

from __future__ import annotations

from .. import abi
from ..caller import Caller
from ..constants import CKF, CKR, CKU
from ..errors import P11Error
from ..sessions import Session
from .pin_entry import given_or_pad


def C_GetSlotList(caller: Caller, token_present: int, room: int | None) -> list[int] | int:
    """Return the slots; new ones appear when the length is asked for, so that the second call has room for them."""
    application = caller.application
    with application.testbed.lock:
        slots = application.list_slots(room is None, bool(token_present))
        numbers = [slot.number for slot in slots]
    if room is None:
        return len(numbers)
    if room < len(numbers):
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(numbers))
    return numbers


def C_GetSlotInfo(caller: Caller, slot_id: int) -> bytes:
    """Return the slot info from memory; sends no APDU."""
    return caller.application.slot(slot_id).info


def C_GetTokenInfo(caller: Caller, slot_id: int) -> bytes:
    """Return the token info: label, serial number and retry counters are the card's."""
    application = caller.application
    token = application.token(slot_id)
    label, serial = token.names()
    flags = token.flags()
    most = token.traits().most_sessions
    with application.testbed.lock:
        sessions = [each for each in application.sessions.values() if each.token is token]
    read_write = sum(each.read_write for each in sessions)
    return abi.token_info(label, "PIV", serial, flags, len(sessions), read_write, token.pin_lengths(), most)


def C_WaitForSlotEvent(caller: Caller, flags: int) -> int:
    """Return a slot with an event and clear its flag; C_Finalize and the application's end end the wait."""
    application = caller.application
    lock = application.testbed.lock
    with caller.woken_by_application():
        while True:
            with lock:
                if application.finalized:
                    raise P11Error(CKR.CRYPTOKI_NOT_INITIALIZED)
                number = application.take_event()
            if number is not None:
                return number
            if flags & CKF.DONT_BLOCK:
                raise P11Error(CKR.NO_EVENT)
            caller.wait()


def C_GetMechanismList(caller: Caller, slot_id: int, room: int | None) -> list[int] | int:
    """Return the token's mechanisms."""
    mechanisms = caller.application.token(slot_id).mechanisms()
    if room is not None and room < len(mechanisms):
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(mechanisms))
    return list(mechanisms)


def C_GetMechanismInfo(caller: Caller, slot_id: int, mechanism: int) -> bytes:
    """Return key sizes, in the unit of the mechanism, and flags."""
    rule = caller.application.token(slot_id).mechanism(mechanism)
    return abi.mechanism_info(*rule.sizes, rule.flags)


def C_InitToken(caller: Caller, slot_id: int, pin: bytes | None, label: bytes) -> None:
    """Erase the token by the SO's PIN; the user has no PIN afterwards (5.5.7)."""
    application = caller.application
    token = application.token(slot_id)
    token.require_recognised()
    with application.testbed.lock:
        if token.sessions:
            raise P11Error(CKR.SESSION_EXISTS)
    try:
        name = label.partition(b"\0")[0].decode("utf-8").rstrip(" ")  # padded with blanks; some applications end it
    except UnicodeDecodeError:
        raise P11Error(CKR.ARGUMENTS_BAD) from None
    token.initialise(given_or_pad(caller, token, pin), name)


def C_InitPIN(caller: Caller, session: Session, pin: bytes | None) -> None:
    """Set the user's PIN as the SO (5.5.8)."""
    if session.role is not CKU.SO:
        raise P11Error(CKR.USER_NOT_LOGGED_IN)
    pin = given_or_pad(caller, session.token, pin)
    try:
        session.token.initialise_pin(session.right, pin)
    except P11Error as error:
        if error.value in (CKR.PIN_INCORRECT, CKR.PIN_LOCKED):  # the PUK that the SO has given is good no longer
            caller.application.log_out(session)
        raise


def C_SetPIN(caller: Caller, session: Session, old: bytes | None, new: bytes | None) -> None:
    """Change the PUK as the SO, else the PIN, by CHANGE REFERENCE DATA (5.5.9)."""
    application = caller.application
    if not session.token.traits().change_pin:
        raise P11Error(CKR.FUNCTION_NOT_SUPPORTED)
    if not session.read_write:
        raise P11Error(CKR.SESSION_READ_ONLY)
    old, new = given_or_pad(caller, session.token, old), given_or_pad(caller, session.token, new)
    try:
        right = session.token.change_pin(session.right, old, new)
    except P11Error:
        session.token.follow_card()
        raise
    if right is not session.right and session.role is CKU.SO:
        application.log_in(session, right)

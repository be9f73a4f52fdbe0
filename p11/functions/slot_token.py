# SPDX-License-Identifier: MIT
"""Slot and token management (5.5)."""

from __future__ import annotations

from ...card.tables import PIN, PUK
from .. import abi
from ..application import follow_card
from ..caller import Caller
from ..constants import CKF, CKR, CKU
from ..errors import P11Error
from ..mechanisms import MECHANISMS
from ..token import PIN_LENGTHS


def C_GetSlotList(caller: Caller, token_present: int, room: int | None) -> list[int] | int:
    """New slots appear when the length is asked for, so that the answer to the second call fits."""
    application = caller.application
    with application.bench.lock:
        slots = application.slots.values()
        if room is None:
            for slot in slots:
                slot.listed = True
        numbers = [slot.number for slot in slots if slot.listed and (slot.token or not token_present)]
    if room is None:
        return len(numbers)
    if room < len(numbers):
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(numbers))
    return numbers


def C_GetSlotInfo(caller: Caller, slot: int) -> bytes:
    """What is known at this instant; the card is not asked."""
    return caller.application.slot(slot).info


def C_GetTokenInfo(caller: Caller, slot: int) -> bytes:
    """Label and serial number are the card's own, the PIN flags its counter's."""
    application = caller.application
    token = application.token(slot)
    label, serial = token.names()
    flags = token.flags()
    with application.bench.lock:
        sessions = [each for each in application.sessions.values() if each.token is token]
    read_write = sum(each.read_write for each in sessions)
    return abi.token_info(label, "PIV", serial, flags, len(sessions), read_write, PIN_LENGTHS)


def C_WaitForSlotEvent(caller: Caller, flags: int) -> int:
    """Takes one slot's event flag. A waiter holds no lock; C_Finalize and the application's end release it."""
    application = caller.application
    lock = application.bench.lock
    caller.prepare_to_wait()
    with lock:
        application.waiters.add(caller)
    try:
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
    finally:
        with lock:
            application.waiters.discard(caller)


def C_GetMechanismList(caller: Caller, slot: int, room: int | None) -> list[int] | int:
    """The mechanisms of the card's keys and the digests."""
    caller.application.token(slot).require_recognised()
    if room is not None and room < len(MECHANISMS):
        raise P11Error(CKR.BUFFER_TOO_SMALL, len(MECHANISMS))
    return list(MECHANISMS)


def C_GetMechanismInfo(caller: Caller, slot: int, mechanism: int) -> bytes:
    """Key sizes in bits."""
    caller.application.token(slot).require_recognised()
    rule = MECHANISMS.get(mechanism)
    if rule is None:
        raise P11Error(CKR.MECHANISM_INVALID)
    return abi.mechanism_info(*rule.sizes, rule.flags)


def C_SetPIN(caller: Caller, session: int, old: bytes | None, new: bytes | None) -> None:
    """CHANGE REFERENCE DATA: of the PUK for an SO, of the PIN for everybody else."""
    application = caller.application
    live = application.session(session)
    if old is None or new is None:
        raise P11Error(CKR.ARGUMENTS_BAD)
    if not live.read_write:
        raise P11Error(CKR.SESSION_READ_ONLY)
    token = live.token
    reference = PUK if live.role is CKU.SO else PIN
    with token.insertion.lock:
        try:
            token.piv.change(reference, old, new)
        except P11Error:
            follow_card(token)
            raise
        if reference == PIN:
            token.pin_was_right()
            if not token.users:
                token.piv.give_up_verification()

# SPDX-License-Identifier: MIT
"""PIN and PUK: VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (SP 800-73-5 part 2, 3.2.1 to 3.2.3).

A try is counted in the image before the values are compared, so that nobody learns anything by stopping the card in
between; a right one is given back. Each command makes one change besides.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from ..image.state import Reference
from ..status import SW, CardError, tries_left
from ..tables import PIN, PUK
from .commands import ChangeReferenceData, QueryVerification, ResetRetryCounter, ResetVerification, Verify
from .context import Context
from .security import PIN_LENGTH

DEFAULTS = {PIN: b"123456\xff\xff", PUK: b"12345678"}
"""Those of a new card."""


def verify(context: Context, command: Verify) -> bytes:
    """A malformed PIN costs no try and leaves the status as it is; a wrong one does neither."""
    number = command.reference
    _open(context, number)
    _check_given(context, number, command.value)
    _compare(context, number, command.value, None, costs=number)
    context.status.was_right(number)
    return b""


def query_verification(context: Context, command: QueryVerification) -> bytes:
    """Succeeds while the PIN is verified, otherwise the status word tells the tries that are left."""
    reference = _open(context, command.reference)
    if command.reference not in context.status.verified:
        raise CardError(tries_left(reference.tries))
    return b""


def reset_verification(context: Context, command: ResetVerification) -> bytes:
    """Leaves the counter as it is."""
    _held(context, command.reference)
    context.status.forget(command.reference)
    return b""


def change_reference_data(context: Context, command: ChangeReferenceData) -> bytes:
    """A new PIN counts as verified."""
    number = command.reference
    reference = _open(context, number)
    _check_given(context, number, command.old)
    _exchange(context, number, command.old, {number: _fresh(reference, command.new)}, wanted=number)
    if number != PUK:
        context.status.verified |= {number}
    return b""


def reset_retry_counter(context: Context, command: ResetRetryCounter) -> bytes:
    """PIN and PUK get all their tries back; whether the PIN is verified stays as it is."""
    puk = _open(context, PUK)
    pin = context.store.state.references[PIN]
    _exchange(context, PUK, command.puk, {PIN: _fresh(pin, command.pin), PUK: _fresh(puk, puk.value)}, wanted=PIN)
    return b""


def _check_given(context: Context, number: int, value: bytes) -> None:
    """Raises CardError(6A80) for what cannot be right, on a make of card that does not count that as a try."""
    fits = context.store.state.pin_rules.accept(number, value)
    if len(value) != PIN_LENGTH or (context.make.is_strict and not fits):
        raise CardError(SW.INCORRECT_DATA)


def _exchange(context: Context, given: int, value: bytes, new: Mapping[int, Reference], wanted: int) -> None:
    """One reference entitles to a new value of one. Raises CardError: 63Cx, and 6A80 for a value that cannot be.

    That is found before the comparison, which then costs no try, or after it, as the make of the card has it.
    """
    held = context.store.state
    fits = held.pin_rules.accept(wanted, new[wanted].value)
    if fits or not context.make.is_strict:
        _compare(context, given, value, new if fits else None, costs=wanted)
    if not fits:
        raise CardError(SW.INCORRECT_DATA)


def _held(context: Context, number: int) -> Reference:
    """A reference that the card has. Raises CardError(6A88)."""
    reference = context.store.state.references.get(number)
    if reference is None:
        raise CardError(SW.REFERENCE_NOT_FOUND)
    return reference


def _open(context: Context, number: int) -> Reference:
    """One that has tries left. Raises CardError: 6A88, 6983."""
    reference = _held(context, number)
    if reference.tries == 0:
        raise CardError(SW.AUTHENTICATION_METHOD_BLOCKED)
    return reference


def _compare(context: Context, number: int, value: bytes, new: Mapping[int, Reference] | None, costs: int) -> None:
    """Count a try, then compare. If the value is right make the changes `new`, or only give all tries back.

    Raises CardError(63Cx) for a wrong one; then `costs` counts as verified no longer.
    """
    store = context.store
    held, tries, maximum = store.state.references[number]
    left = tries - 1
    with store.together():
        store.count(context, number, left)
        if hmac.compare_digest(held, value):
            if new is None:
                store.count(context, number, maximum)
            else:
                context.commit(references=new)
            return
    context.status.forget(costs)
    raise CardError(tries_left(left))


def _fresh(reference: Reference, value: bytes) -> Reference:
    return Reference(value, reference.maximum, reference.maximum)

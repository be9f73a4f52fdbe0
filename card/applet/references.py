# SPDX-License-Identifier: MIT
"""PIN and PUK: VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (SP 800-73-5 part 2, 3.2.1 to 3.2.3).

The retry counter is decremented in the image before the values are compared, so that stopping the card in between
gains nothing; a right value restores it. Each command makes one change besides.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from ..image.state import Reference
from ..pin_rules import PIN_LENGTH
from ..status import SW, CardError, verification_failed
from ..tables import PIN, PUK
from .commands import ChangeReferenceData, QueryVerification, ResetRetryCounter, ResetVerification, Verify
from .context import CommandContext

DEFAULTS = {PIN: b"123456\xff\xff", PUK: b"12345678"}
"""PIN and PUK of a new card."""


def verify(context: CommandContext, command: Verify) -> bytes:
    """Verify a PIN. A malformed one is not counted and leaves the status; a wrong one is counted and resets it."""
    number = command.reference
    _open(context, number)
    _check_given(context, number, command.value)
    _compare(context, number, command.value, None, costs=number)
    context.status.was_right(number)
    return b""


def query_verification(context: CommandContext, command: QueryVerification) -> bytes:
    """Succeed while the PIN is verified. Raises CardError(63Cx), which tells the retry counter, otherwise."""
    reference = _open(context, command.reference)
    if command.reference not in context.status.verified:
        raise CardError(verification_failed(reference.remaining))
    return b""


def reset_verification(context: CommandContext, command: ResetVerification) -> bytes:
    """Make the PIN not verified; the retry counter stays."""
    _held(context, command.reference)
    context.status.forget(command.reference)
    return b""


def change_reference_data(context: CommandContext, command: ChangeReferenceData) -> bytes:
    """Replace a PIN or PUK; a new PIN counts as verified."""
    number = command.reference
    reference = _open(context, number)
    _check_given(context, number, command.old)
    _exchange(context, number, command.old, {number: _fresh(reference, command.new)}, wanted=number)
    if number != PUK:
        context.status.verified |= {number}
    return b""


def reset_retry_counter(context: CommandContext, command: ResetRetryCounter) -> bytes:
    """Replace the PIN and set both retry counters to their limits; whether the PIN is verified does not change."""
    puk = _open(context, PUK)
    pin = context.store.state.references[PIN]
    _exchange(context, PUK, command.puk, {PIN: _fresh(pin, command.pin), PUK: _fresh(puk, puk.value)}, wanted=PIN)
    return b""


def _check_given(context: CommandContext, number: int, value: bytes) -> None:
    """Raise CardError(6A80) for a value that cannot be right, on a card variant that does not count that as a try."""
    fits = context.store.state.pin_rules.accept(number, value)
    if len(value) != PIN_LENGTH or (context.variant.is_strict and not fits):
        raise CardError(SW.INCORRECT_DATA)


def _exchange(context: CommandContext, given: int, value: bytes, new: Mapping[int, Reference], wanted: int) -> None:
    """Replace references, given the value of one. Raises CardError: 63Cx, and 6A80 for an invalid new value.

    Depending on the card variant, the new value is checked before the comparison, so that no try is counted, or after.
    """
    held = context.store.state
    fits = held.pin_rules.accept(wanted, new[wanted].value)
    if fits or not context.variant.is_strict:
        _compare(context, given, value, new if fits else None, costs=wanted)
    if not fits:
        raise CardError(SW.INCORRECT_DATA)


def _held(context: CommandContext, number: int) -> Reference:
    """Return a reference that the card has. Raises CardError(6A88)."""
    reference = context.store.state.references.get(number)
    if reference is None:
        raise CardError(SW.REFERENCE_NOT_FOUND)
    return reference


def _open(context: CommandContext, number: int) -> Reference:
    """Return a reference that is not blocked. Raises CardError: 6A88, 6983."""
    reference = _held(context, number)
    if reference.remaining == 0:
        raise CardError(SW.AUTHENTICATION_METHOD_BLOCKED)
    return reference


def _compare(
    context: CommandContext, number: int, value: bytes, new: Mapping[int, Reference] | None, costs: int
) -> None:
    """Decrement the retry counter, then compare. If the value is right, commit `new`, or only restore the counter.

    Raises CardError(63Cx) for a wrong value; then `costs` is not verified any more.
    """
    store = context.store
    expected, remaining, maximum = store.state.references[number]
    left = remaining - 1
    with store.together():
        store.count(context, number, left)
        if hmac.compare_digest(expected, value):
            if new is None:
                store.count(context, number, maximum)
            else:
                context.commit(references=new)
            return
    context.status.forget(costs)
    raise CardError(verification_failed(left))


def _fresh(reference: Reference, value: bytes) -> Reference:
    """Return a reference of this value whose retry counter is at its limit."""
    return Reference(value, reference.maximum, reference.maximum)

# SPDX-License-Identifier: MIT
"""PIN and PUK: VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (SP 800-73-4 part 2, 3.2.1 to 3.2.3).

A try is counted in the image before the values are compared, so that nobody learns anything by stopping the card in
between; a right one is given back. Each command makes one change besides.
"""

from __future__ import annotations

import hmac

from .commands import ChangeReferenceData, QueryVerification, ResetRetryCounter, ResetVerification, Verify
from .context import Context
from .state import Reference
from .status import SW, CardError, tries_left
from .tables import PIN, PUK


def verify(context: Context, command: Verify) -> bytes:
    """A malformed PIN costs no try and leaves the status as it is; a wrong one does neither."""
    reference = _open(context, PIN)
    if not context.store.state.pin_rules.accept(PIN, command.value):
        raise CardError(SW.INCORRECT_DATA)
    _compare(context, PIN, reference, command.value)
    context.commit(references={PIN: _fresh(reference, reference.value)})
    context.status.pin_was_right()
    return b""


def query_verification(context: Context, command: QueryVerification) -> bytes:
    """Succeeds while the PIN is verified, otherwise the status word tells the tries that are left."""
    if not context.status.pin_verified:
        raise CardError(tries_left(_open(context, PIN).tries))
    return b""


def reset_verification(context: Context, command: ResetVerification) -> bytes:
    """Leaves the counter as it is."""
    context.status.pin_verified = False
    return b""


def change_reference_data(context: Context, command: ChangeReferenceData) -> bytes:
    """A new PIN counts as verified."""
    number = command.reference
    reference, rules = _open(context, number), context.store.state.pin_rules
    if not (rules.accept(number, command.old) and rules.accept(number, command.new)):
        raise CardError(SW.INCORRECT_DATA)
    _compare(context, number, reference, command.old)
    context.commit(references={number: _fresh(reference, command.new)})
    if number == PIN:
        context.status.pin_verified = True
    return b""


def reset_retry_counter(context: Context, command: ResetRetryCounter) -> bytes:
    """PIN and PUK get all their tries back; whether the PIN is verified stays as it is."""
    puk = _open(context, PUK)
    if not context.store.state.pin_rules.accept(PIN, command.pin):
        raise CardError(SW.INCORRECT_DATA)
    _compare(context, PUK, puk, command.puk)
    pin = context.store.state.references[PIN]
    context.commit(references={PIN: _fresh(pin, command.pin), PUK: _fresh(puk, puk.value)})
    return b""


def _open(context: Context, number: int) -> Reference:
    """A reference that has tries left. Raises CardError(6983)."""
    reference = context.store.state.references[number]
    if reference.tries == 0:
        raise CardError(SW.AUTHENTICATION_METHOD_BLOCKED)
    return reference


def _compare(context: Context, number: int, reference: Reference, value: bytes) -> None:
    """Count a try, then compare. Raises CardError(63Cx) for a wrong value; after a right one the caller commits."""
    left = reference.tries - 1
    context.commit(references={number: Reference(reference.value, left, reference.maximum)})
    if hmac.compare_digest(reference.value, value):
        return
    context.status.pin_verified = False
    raise CardError(tries_left(left))


def _fresh(reference: Reference, value: bytes) -> Reference:
    return Reference(value, reference.maximum, reference.maximum)

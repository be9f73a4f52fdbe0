# SPDX-License-Identifier: MIT
"""Take a PIN from the application or from the reader's PIN pad (CKF_PROTECTED_AUTHENTICATION_PATH)."""

from __future__ import annotations

from time import monotonic

from ...reader.errors import CardRemoved
from ..caller import Caller
from ..constants import CKR
from ..errors import P11Error
from ..token import Token


def given_or_pad(caller: Caller, token: Token, pin: bytes | None) -> bytes:
    """Return the PIN given, or wait for its entry on the PIN pad if none is given and the token has one.

    Raises P11Error: ARGUMENTS_BAD without pad, FUNCTION_CANCELED when the entry is cancelled or takes too long;
    CardRemoved when the card is removed, CallerGone when the application ends.
    """
    traits = token.traits()
    if pin is not None:
        return pin
    if not traits.pin_pad:
        raise P11Error(CKR.ARGUMENTS_BAD)
    pad, application = token.insertion.reader.pin_pad, caller.application
    deadline = monotonic() + traits.pin_pad_timeout
    with caller.woken_by_application():
        with application.testbed.lock:
            pad.askers.add(caller.wake)
        try:
            while True:
                with application.testbed.lock:
                    if not token.is_present:
                        raise CardRemoved(token.insertion.reader.name)
                    if application.finalized:
                        raise P11Error(CKR.CRYPTOKI_NOT_INITIALIZED)
                    entry = pad.take()
                if entry is not None:
                    if entry.cancelled:
                        raise P11Error(CKR.FUNCTION_CANCELED)
                    return entry.pin
                left = deadline - monotonic()
                if left <= 0:
                    raise P11Error(CKR.FUNCTION_CANCELED)
                caller.wait(left)
        finally:
            with application.testbed.lock:
                pad.askers.discard(caller.wake)

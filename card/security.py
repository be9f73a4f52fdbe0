# SPDX-License-Identifier: MIT
"""Who has proved what: the volatile security status of one activation, and the PIN and PUK that it is proved with."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from .status import SW, CardError, tries_left
from .store import Reference, Store, Writer
from .tables import PIN

PIN_LENGTH = 8
"""Bytes of a PIN or PUK on the card edge; a PIN is padded with FF (SP 800-73-4 part 2, 2.4.3)."""


@dataclass(slots=True)
class SecurityStatus:
    """What reset takes away."""

    pin_verified: bool = False
    pin_fresh: bool = False  # the command before this one was a successful VERIFY
    management_authenticated: bool = False
    challenge: tuple[int, bytes] | None = None  # algorithm and what the other side has to answer
    witness: tuple[int, bytes] | None = None


def pin_is_well_formed(reference: int, value: bytes) -> bool:
    """Six to eight digits, padded with FF; a PUK is any eight bytes."""
    if len(value) != PIN_LENGTH:
        return False
    if reference != PIN:
        return True
    digits = value.rstrip(b"\xff")
    return 6 <= len(digits) <= PIN_LENGTH and digits.isdigit()


def check(store: Store, writer: Writer, number: int, value: bytes) -> None:
    """Compare a PIN or PUK. A wrong one is counted before anybody learns that it was wrong.

    Raises CardError: 6983 when no try is left, 63Cx when the value is wrong.
    """
    reference = store.state.references[number]
    if reference.tries == 0:
        raise CardError(SW.AUTHENTICATION_METHOD_BLOCKED)
    if hmac.compare_digest(reference.value, value):
        if reference.tries != reference.maximum:
            set_tries(writer, number, reference, reference.maximum)
        return
    left = reference.tries - 1
    set_tries(writer, number, reference, left)
    raise CardError(tries_left(left))


def set_tries(writer: Writer, number: int, reference: Reference, tries: int) -> None:
    """Keep the value, change the counter."""
    writer.put_reference(number, Reference(reference.value, tries, reference.maximum))


def replace(store: Store, writer: Writer, number: int, value: bytes) -> None:
    """Set a new PIN or PUK, with all tries back. Raises CardError(6A80) for a malformed one."""
    if not pin_is_well_formed(number, value):
        raise CardError(SW.INCORRECT_DATA)
    maximum = store.state.references[number].maximum
    writer.put_reference(number, Reference(value, maximum, maximum))

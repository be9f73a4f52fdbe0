# SPDX-License-Identifier: MIT
"""GENERAL AUTHENTICATE (SP 800-73-4 part 2, 3.2.4): what a private key or the management key is used for."""

from __future__ import annotations

from . import management, tlv
from .commands import GeneralAuthenticate
from .context import Context
from .keys import RsaKey
from .status import SW, CardError
from .tables import MANAGEMENT_KEY, SLOTS

_CHALLENGE, _RESPONSE, _EXPONENTIATION = 0x81, 0x82, 0x85
_TEMPLATE = 0x7C


def general_authenticate(context: Context, command: GeneralAuthenticate) -> bytes:
    """The dynamic authentication template with the result.

    Raises CardError: 6A86 for a key or algorithm that cannot be, 6A88 for a slot without key, 6982 without the PIN.
    """
    number, fields = command.slot, command.fields
    slot = SLOTS.get(number)
    if slot is None and number != MANAGEMENT_KEY:
        raise CardError(SW.INCORRECT_P1P2)
    stored = context.store.state.keys.get(number)
    if stored is None:
        raise CardError(SW.REFERENCE_NOT_FOUND)
    if stored.algorithm != command.algorithm:
        raise CardError(SW.INCORRECT_P1P2)
    if slot is None:
        return management.authenticate(stored, context.status, fields)
    context.status.require_pin(slot.pin_rule)
    if fields.get(_RESPONSE) != b"":
        raise CardError(SW.INCORRECT_DATA)
    key = context.keys.unpack(number, stored)
    if isinstance(key, RsaKey):
        result = key.apply(fields.get(_CHALLENGE, b""))
    elif _EXPONENTIATION in fields:
        result = key.agree(fields[_EXPONENTIATION])
    else:
        result = key.sign(fields.get(_CHALLENGE, b""))
    return tlv.encode(_TEMPLATE, tlv.encode(_RESPONSE, result))

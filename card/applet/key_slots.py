# SPDX-License-Identifier: MIT
"""Key pairs in their slots: GENERATE ASYMMETRIC KEY PAIR (SP 800-73-5 part 2, 3.3.2), Yubico's IMPORT and MOVE KEY."""

from __future__ import annotations

from .. import tlv
from ..image.state import StoredKey
from ..status import SW, CardError
from ..tables import ATTESTATION, Access
from . import keys
from .commands import GenerateKeyPair
from .context import CommandContext
from .extensions import ImportKey, MoveKey

_PUBLIC_KEY = 0x7F49


def generate_key_pair(context: CommandContext, command: GenerateKeyPair) -> bytes:
    """Generate a key pair, replacing the one in the slot, and return the public key. A torn command leaves no new key.

    Raises CardError(6A80) for an algorithm that the card does not have, and for invalid domain parameters.
    """
    _require_slot(context, command.slot)
    if command.algorithm not in context.variant.algorithms:
        raise CardError(SW.INCORRECT_DATA)
    context.status.require(Access.MANAGEMENT)
    value, policy = keys.make(command.algorithm, command.domain), command.policy
    stored = StoredKey(command.algorithm, value, False, policy.pin_rule, policy.touch)
    public = context.keys.unpack(command.slot, stored).public_template()
    context.commit(keys={command.slot: stored})
    return tlv.encode(_PUBLIC_KEY, public)


def import_key(context: CommandContext, command: ImportKey) -> bytes:
    """Store a private key. Raises CardError: 6A80 for invalid numbers, 6A86 for an algorithm the card does not have."""
    _require_slot(context, command.slot)
    if command.algorithm not in context.variant.algorithms:
        raise CardError(SW.INCORRECT_P1P2)
    context.status.require(Access.MANAGEMENT)
    value, policy = keys.assemble(command.algorithm, command.numbers), command.policy
    context.commit(keys={command.slot: StoredKey(command.algorithm, value, True, policy.pin_rule, policy.touch)})
    return b""


def move_key(context: CommandContext, command: MoveKey) -> bytes:
    """Move a key to an empty slot, with its policies but not its certificate, or delete it.

    Raises CardError: 6A88 for an empty slot, 6A80 for a destination that is not empty.
    """
    _require_slot(context, command.source)
    context.status.require(Access.MANAGEMENT)
    held = context.store.state.keys
    key = held.get(command.source)
    if key is None:
        raise CardError(SW.REFERENCE_NOT_FOUND)
    if command.destination is None:
        context.commit(keys={command.source: None})
        return b""
    if command.destination in held:
        raise CardError(SW.INCORRECT_DATA)
    context.commit(keys={command.source: None, command.destination: key})
    return b""


def _require_slot(context: CommandContext, number: int) -> None:
    """Refuse the attestation slot on a card variant that cannot attest. Raises CardError(6A86)."""
    if number == ATTESTATION and not context.variant.attests:
        raise CardError(SW.INCORRECT_P1P2)

# SPDX-License-Identifier: MIT
"""Key pairs in their slots: GENERATE ASYMMETRIC KEY PAIR (SP 800-73-4 part 2, 3.3.2) and Yubico's IMPORT KEY."""

from __future__ import annotations

from . import keys, tlv
from .commands import GenerateKeyPair, ImportKey
from .context import Context
from .store import StoredKey
from .tables import Access

_PUBLIC_KEY = 0x7F49


def generate_key_pair(context: Context, command: GenerateKeyPair) -> bytes:
    """A new key pair in place of the one before; the answer is the public key. Nothing is kept of one that is torn."""
    context.status.require(Access.MANAGEMENT)
    stored = StoredKey(command.algorithm, keys.generate(command.algorithm))
    public = context.keys.unpack(command.slot, stored).public_template()
    context.commit(keys={command.slot: stored})
    return tlv.encode(_PUBLIC_KEY, public)


def import_key(context: Context, command: ImportKey) -> bytes:
    """A private key from outside. Raises CardError(6A80) for numbers that make none."""
    context.status.require(Access.MANAGEMENT)
    value = keys.assemble(command.algorithm, command.numbers)
    context.commit(keys={command.slot: StoredKey(command.algorithm, value, imported=True)})
    return b""

# SPDX-License-Identifier: MIT
"""EdDSA with a context or of a hash: Ed25519ctx, Ed25519ph, Ed448 with a context, Ed448ph (RFC 8032, 5.1 and 5.2).

They are pycryptodome's, for cryptography has only the bare ones; it is loaded (0.1 s) when one of them is wanted. Keys
of a session have them; a card's command takes the message alone, which is neither prefixed nor hashed there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature

from ..curves import EdwardsKey, EdwardsPublicKey

_ED448_BYTES = 57


class Variant(NamedTuple):
    """What is signed beside the message, and whether it is the message's hash that is signed."""

    context: bytes
    prehashed: bool


def sign(key: EdwardsKey, message: bytes, variant: Variant) -> bytes:
    """A signature of 64 or 114 bytes."""
    from Crypto.Signature import eddsa

    raw = key.private_bytes_raw()
    signature: bytes = _scheme(eddsa.import_private_key(raw), variant).sign(_input(message, len(raw), variant))
    return signature


def verify(key: EdwardsPublicKey, signature: bytes, message: bytes, variant: Variant) -> None:
    """Raises InvalidSignature."""
    from Crypto.Signature import eddsa

    raw = key.public_bytes_raw()
    try:
        _scheme(eddsa.import_public_key(raw), variant).verify(_input(message, len(raw), variant), signature)
    except ValueError:
        raise InvalidSignature from None


def _scheme(key: Any, variant: Variant) -> Any:
    from Crypto.Signature import eddsa

    return eddsa.new(key, "rfc8032", variant.context)


def _input(message: bytes, size: int, variant: Variant) -> Any:
    """The message, or what hashes it."""
    if not variant.prehashed:
        return message
    from Crypto.Hash import SHA512, SHAKE256

    return SHAKE256.new(message) if size == _ED448_BYTES else SHA512.new(message)

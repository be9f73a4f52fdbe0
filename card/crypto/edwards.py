# SPDX-License-Identifier: MIT
"""EdDSA with a context or of a hash: Ed25519ctx, Ed25519ph, Ed448 with a context, Ed448ph (RFC 8032, 5.1 and 5.2).

By pycryptodome, for cryptography has only the plain variants; it is loaded (0.1 s) at the first use.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519

_ED448_BYTES = 57
_LONGEST_CONTEXT = 255


class Variant(NamedTuple):
    """A variant of EdDSA: the context that is signed with the message, and whether the message is hashed before."""

    context: bytes
    prehashed: bool

    def encode(self) -> bytes:
        """Encode for a card: a byte that tells of the hash, and the context."""
        return bytes([self.prehashed]) + self.context

    @classmethod
    def decode(cls, data: bytes) -> Variant:
        """Decode what encode() makes. Raises ValueError."""
        if data[:1] not in (b"\0", b"\1") or len(data) > 1 + _LONGEST_CONTEXT:
            raise ValueError("no variant of EdDSA")
        return cls(data[1:], data[0] == 1)


def sign(key: ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey, message: bytes, variant: Variant) -> bytes:
    """Return a signature of 64 or 114 bytes."""
    from Crypto.Signature import eddsa

    raw = key.private_bytes_raw()
    signature: bytes = _scheme(eddsa.import_private_key(raw), variant).sign(_input(message, len(raw), variant))
    return signature


def verify(
    key: ed25519.Ed25519PublicKey | ed448.Ed448PublicKey, signature: bytes, message: bytes, variant: Variant
) -> None:
    """Verify a signature. Raises InvalidSignature."""
    from Crypto.Signature import eddsa

    raw = key.public_bytes_raw()
    try:
        _scheme(eddsa.import_public_key(raw), variant).verify(_input(message, len(raw), variant), signature)
    except ValueError:
        raise InvalidSignature from None


class _Context(bytes):
    """A context that counts as given when it is empty; pycryptodome takes an empty one for plain Ed25519."""

    def __bool__(self) -> bool:
        return True


def _scheme(key: Any, variant: Variant) -> Any:
    """Return the signature scheme of a key under a variant."""
    from Crypto.Signature import eddsa

    return eddsa.new(key, "rfc8032", _Context(variant.context))


def _input(message: bytes, size: int, variant: Variant) -> Any:
    """Return the message, or a hash object that has taken it in."""
    if not variant.prehashed:
        return message
    from Crypto.Hash import SHA512, SHAKE256

    return SHAKE256.new(message) if size == _ED448_BYTES else SHA512.new(message)

# SPDX-License-Identifier: MIT
"""Key derivation by pseudo-random functions (SP 800-108; PKCS #11 3.1, 2.42): counter, feedback, double pipeline.

A derivation makes one secret key; further keys in the parameters (CK_DERIVED_KEY) are not made.
"""

from __future__ import annotations

import hmac
import itertools
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from ..constants import CK, CKK, CKM, CKR
from ..errors import P11Error
from ..mechanisms import MECHANISMS, Scheme
from ..wire import Mechanism
from . import parameters
from .ciphers import block_cipher

_KDF = struct.Struct("@L L P L P")
_FEEDBACK_KDF = struct.Struct("@L L P L P L P")
_DATA_PARAM = struct.Struct("@L P L")
_COUNTER_FORMAT = struct.Struct("@B 7x L")
_LENGTH_FORMAT = struct.Struct("@L B 7x L")
_WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64)

Prf = Callable[[bytes], bytes]


class _Input(NamedTuple):
    """One part of the function's input: its kind, and bytes or a format."""

    kind: int
    value: bytes


class _Number(NamedTuple):
    """The format of a number."""

    is_little: bool
    bits: int

    def write(self, number: int) -> bytes:
        """Return a number as bytes. Raises P11Error(MECHANISM_PARAM_INVALID) for one that is too large."""
        if number >> self.bits:
            raise parameters.invalid()
        return number.to_bytes(self.bits // 8, "little" if self.is_little else "big")


def key_types(mechanism: Mechanism) -> tuple[CKK, ...]:
    """Return the types that the base key may have: the function's own, and generic secrets for HMAC."""
    return MECHANISMS[_function(mechanism)].key_types


def derived(mechanism: Mechanism, base: bytes, wanted: int | None) -> bytes:
    """Derive `wanted` bytes, as many as the function gives if None. Raises P11Error(MECHANISM_PARAM_INVALID)."""
    parts, iv = _parts(mechanism)
    prf = _prf(_function(mechanism), base)
    size = len(prf(b""))
    wanted = size if wanted is None else wanted
    count = -(-wanted // size)
    lengths = {CK.SP800_108_DKM_LENGTH_SUM_OF_KEYS: wanted, CK.SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS: count * size}
    blocks = _BLOCKS[mechanism.type](prf, [_with_length(part, lengths) for part in parts], iv)
    return b"".join(itertools.islice(blocks, count))[:wanted]


def _counter(prf: Prf, parts: list[_Input], _iv: bytes) -> Iterator[bytes]:
    """Yield K(i) = PRF(input with [i] for the iteration variable) (SP 800-108, 4.1)."""
    if any(part.kind == CK.SP800_108_COUNTER for part in parts):
        raise parameters.invalid()
    for number in itertools.count(1):
        yield prf(b"".join(_counted(part, number, CK.SP800_108_ITERATION_VARIABLE) for part in parts))


def _feedback(prf: Prf, parts: list[_Input], iv: bytes) -> Iterator[bytes]:
    """Yield K(i) = PRF(K(i-1), optionally [i], the rest) (4.2)."""
    block = iv
    for number in itertools.count(1):
        block = prf(_pipelined(parts, block, number))
        yield block


def _double_pipeline(prf: Prf, parts: list[_Input], _iv: bytes) -> Iterator[bytes]:
    """Yield K(i) = PRF(A(i), optionally [i], the rest); A(i) = PRF(A(i-1)), A(0) is all constant input (4.3)."""
    kinds = (CK.SP800_108_ITERATION_VARIABLE, CK.SP800_108_COUNTER)
    block = b"".join(part.value for part in parts if part.kind not in kinds)
    for number in itertools.count(1):
        block = prf(block)
        yield prf(_pipelined(parts, block, number))


_BLOCKS: dict[int, Callable[[Prf, list[_Input], bytes], Iterator[bytes]]] = {
    CKM.SP800_108_COUNTER_KDF: _counter,
    CKM.SP800_108_FEEDBACK_KDF: _feedback,
    CKM.SP800_108_DOUBLE_PIPELINE_KDF: _double_pipeline,
}


def _pipelined(parts: list[_Input], block: bytes, number: int) -> bytes:
    """Return the input with the previous block for the iteration variable, which has no format here."""
    written = b""
    for part in parts:
        if part.kind == CK.SP800_108_ITERATION_VARIABLE:
            if part.value:
                raise parameters.invalid()
            written += block
        else:
            written += _counted(part, number, CK.SP800_108_COUNTER)
    return written


def _counted(part: _Input, number: int, kind: int) -> bytes:
    """Return a part with the number of the iteration, if parts of that kind are the counter."""
    if part.kind != kind:
        return part.value
    if len(part.value) != _COUNTER_FORMAT.size:
        raise parameters.invalid()
    return _number(*_COUNTER_FORMAT.unpack(part.value)).write(number)


def _with_length(part: _Input, lengths: dict[CK, int]) -> _Input:
    """Return a part with the length of the derived key, in bits, in its format."""
    if part.kind != CK.SP800_108_DKM_LENGTH:
        return part
    if len(part.value) != _LENGTH_FORMAT.size:
        raise parameters.invalid()
    method, *form = _LENGTH_FORMAT.unpack(part.value)
    if method not in lengths:
        raise parameters.invalid()
    return _Input(CK.SP800_108_BYTE_ARRAY, _number(*form).write(8 * lengths[method]))


def _number(is_little: int, bits: int) -> _Number:
    if bits not in _WIDTHS:
        raise parameters.invalid()
    return _Number(bool(is_little), bits)


def _parts(mechanism: Mechanism) -> tuple[list[_Input], bytes]:
    """Return the parts in their order, and the IV. Raises P11Error(MECHANISM_PARAM_INVALID)."""
    is_feedback = mechanism.type == CKM.SP800_108_FEEDBACK_KDF
    shape = _FEEDBACK_KDF if is_feedback else _KDF
    if len(mechanism.parameter) != shape.size or not mechanism.pointers:
        raise parameters.invalid()
    fields = shape.unpack(mechanism.parameter)
    has_more_keys = fields[5 if is_feedback else 3] != 0
    array, *values = mechanism.pointers
    iv = values.pop() if is_feedback and values else b""
    kinds = [kind for kind, _, _ in _DATA_PARAM.iter_unpack(array)] if len(array) % _DATA_PARAM.size == 0 else []
    parts = [_Input(kind, value) for kind, value in zip(kinds, values, strict=False)]
    known = all(part.kind in _KINDS for part in parts)
    once = all(sum(part.kind == kind for part in parts) <= 1 for kind in _AT_MOST_ONCE)
    has_variable = any(part.kind == CK.SP800_108_ITERATION_VARIABLE for part in parts)
    if has_more_keys or len(parts) != fields[1] or not (known and once and has_variable):
        raise parameters.invalid()
    return parts, iv


_AT_MOST_ONCE = (CK.SP800_108_ITERATION_VARIABLE, CK.SP800_108_COUNTER, CK.SP800_108_DKM_LENGTH)
_KINDS = (*_AT_MOST_ONCE, CK.SP800_108_BYTE_ARRAY)


def _function(mechanism: Mechanism) -> int:
    """Return the pseudo-random function, HMAC or CMAC. Raises P11Error(MECHANISM_PARAM_INVALID)."""
    if len(mechanism.parameter) < struct.calcsize("@L"):
        raise parameters.invalid()
    (kind,) = struct.unpack_from("@L", mechanism.parameter)
    rule = MECHANISMS.get(kind)
    if rule is None or rule.scheme not in (Scheme.HMAC, Scheme.CMAC) or rule.general:
        raise parameters.invalid()
    return int(kind)


def _prf(kind: int, base: bytes) -> Prf:
    rule = MECHANISMS[kind]
    if rule.scheme is Scheme.HMAC:
        return lambda data: hmac.digest(base, data, str(rule.digest))
    try:
        cipher = block_cipher(rule, base)
    except ValueError:
        raise P11Error(CKR.KEY_SIZE_RANGE) from None
    if isinstance(cipher, algorithms.AES) and len(base) not in (16, 24, 32):
        raise P11Error(CKR.KEY_SIZE_RANGE)

    def mac(data: bytes) -> bytes:
        made = CMAC(cipher)
        made.update(data)
        return made.finalize()

    return mac

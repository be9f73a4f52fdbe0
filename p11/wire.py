# SPDX-License-Identifier: MIT
"""Frames between the module and the simulator: bytes to arguments and results to bytes. No I/O.

A request is `u32 length | u16 call | u16 zero | u32 thread | arguments`, a reply `u32 length | u32 zero | u64 CK_RV |
results`; lengths do not count themselves. All numbers are native-endian: both ends are on one machine. csrc/marshal.c
and csrc/parameters.c are the other end; the letters are those of calls.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .calls import CALLS, WireCall
from .constants import CKA, CKF

ULONG_SIZE = 8
FRAME_LIMIT = 64 << 20
NO_LENGTH = 2**64 - 1
NO_BUFFER = 2**64 - 2
"""Sent for the room in a buffer if the application has given no pointer to its length."""

REQUEST_HEADER = struct.Struct("=IHHI")
REPLY_HEADER = struct.Struct("=IIQ")
_BARE_REPLY = REPLY_HEADER.size - 4
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")


class WireError(Exception):
    """The bytes do not follow the call table."""


class NullPointer(Exception):
    """The application has passed a NULL pointer: CKR_ARGUMENTS_BAD, which ends the function's operation."""

    def __init__(self, first: int) -> None:
        self.first = first
        """The call's first argument, which is the session."""
        super().__init__()


class Mechanism(NamedTuple):
    """A CK_MECHANISM: the parameter as in memory, and the memory that its pointers point to, in order.

    Structs pointed to are followed by what they point to; a NULL pointer is empty. There are no pointers where the
    parameter's size is not that of a struct that the mechanism takes.
    """

    type: int
    parameter: bytes = b""
    pointers: tuple[bytes, ...] = ()


class MessageParameter(NamedTuple):
    """The pParameter of a function for messages, likewise; of CK_..._MESSAGE_PARAMS the pointers are IV and tag.

    On encryption both are buffers for the token's use. Their new contents, or None for what stays as it is, are one
    more result behind the others of the function: a tuple in the order of the pointers, none longer than what is there.
    It may be left out. The same holds for C_WrapKey and C_WrapKeyAuthenticated with their Mechanism.
    """

    parameter: bytes = b""
    pointers: tuple[bytes, ...] = ()


MAX_POINTERS = 128
MAX_ATTRIBUTES = 4096
"""Attributes in a template or a query, as in csrc/marshal.c."""

MOST_RANDOM = FRAME_LIMIT // 2
"""Random bytes that one call may ask for."""


class Room(int):
    """The room for a template to be read, in bytes; `inner` are those for the values in it, None for no buffer.

    The result is a list of (type, value) for which the room is needed, ATTRIBUTE_SIZE bytes each; each value is bytes,
    or a length or UNAVAILABLE, as for any attribute.
    """

    inner: tuple[int | None, ...] = ()


ATTRIBUTE_SIZE = 24

Query = list[tuple[int, int | None]]
"""Attributes to be read, each with the room for its value: bytes, a Room for a template, None for no buffer."""

QueryResult = bytes | int | list[tuple[int, bytes | int]]
"""A value, its length, or a template with the same for each attribute."""

Template = list[tuple[int, Any]]
"""Attributes as (type, value); the value of an array attribute is a template in turn, of any other bytes."""

_Decoder = Callable[[bytes, int], tuple[Any, int]]


def _ulong(data: bytes, at: int) -> tuple[int, int]:
    return _U64.unpack_from(data, at)[0], at + 8


def _nullable_string(data: bytes, at: int) -> tuple[bytes | None, int]:
    (length,) = _U64.unpack_from(data, at)
    if length == NO_LENGTH:
        return None, at + 8
    end = at + 8 + length
    if end > len(data):
        raise WireError(f"a string of {length} bytes in {len(data)}")
    return data[at + 8 : end], end


def read_string(data: bytes, at: int) -> tuple[bytes, int]:
    value, at = _nullable_string(data, at)
    return value or b"", at


def _data(data: bytes, at: int) -> tuple[bytes, int]:
    value, at = _nullable_string(data, at)
    if value is None:
        raise NullPointer(_first(data))
    return value, at


def _buffer(data: bytes, at: int) -> tuple[int | None, int]:
    (room,) = _U64.unpack_from(data, at)
    if room < NO_BUFFER:
        return room, at + 8
    if room == NO_BUFFER:
        raise NullPointer(_first(data))
    return None, at + 8


def _first(data: bytes) -> int:
    return int(_U64.unpack_from(data, REQUEST_HEADER.size)[0])


def _room(data: bytes, at: int) -> tuple[int | None, int]:
    (room,) = _U64.unpack_from(data, at)
    return (None if room == NO_LENGTH else room), at + 8


def _length(data: bytes, at: int) -> tuple[int, int]:
    length, at = _ulong(data, at)
    if length > MOST_RANDOM:
        raise WireError(f"a buffer of {length} bytes to be filled")
    return length, at


def _name(data: bytes, at: int) -> tuple[str, int]:
    value, at = read_string(data, at)
    return value.decode("ascii", "replace"), at


def _parameter(data: bytes, at: int) -> tuple[bytes, tuple[bytes, ...], int]:
    parameter, at = read_string(data, at)
    (count,) = _U32.unpack_from(data, at)
    at += 4
    if count > MAX_POINTERS:
        raise WireError(f"a parameter with {count} pointers")
    pointers = []
    for _ in range(count):
        pointed, at = read_string(data, at)
        pointers.append(pointed)
    return parameter, tuple(pointers), at


_NO_PARAMETER = bytes(12)


def _mechanism(data: bytes, at: int) -> tuple[Mechanism | None, int]:
    (present,) = _U32.unpack_from(data, at)
    at += 4
    if not present:
        return None, at
    (kind,) = _U64.unpack_from(data, at)
    if data.startswith(_NO_PARAMETER, at + 8):  # most mechanisms have none
        return Mechanism(kind), at + 20
    parameter, pointers, at = _parameter(data, at + 8)
    return Mechanism(kind, parameter, pointers), at


def _message_parameter(data: bytes, at: int) -> tuple[MessageParameter, int]:
    parameter, pointers, at = _parameter(data, at)
    return MessageParameter(parameter, pointers), at


def _is_template(kind: int) -> bool:
    return bool(kind & CKF.ARRAY_ATTRIBUTE) and kind != CKA.ALLOWED_MECHANISMS


def _template(data: bytes, at: int, depth: int = 0) -> tuple[Template, int]:
    (count,) = _U32.unpack_from(data, at)
    at += 4
    if count > MAX_ATTRIBUTES or depth > 3:
        raise WireError(f"a template of {count} attributes, {depth} deep")
    template: Template = []
    for _ in range(count):
        kind, at = _ulong(data, at)
        value: Any
        if _is_template(kind):
            value, at = _template(data, at, depth + 1)
        else:
            value, at = read_string(data, at)
        template.append((kind, value))
    return template, at


def _query(data: bytes, at: int) -> tuple[list[tuple[int, int | None]], int]:
    (count,) = _U32.unpack_from(data, at)
    at += 4
    if count > MAX_ATTRIBUTES:
        raise WireError(f"a query for {count} attributes")
    query = []
    for _ in range(count):
        kind, at = _ulong(data, at)
        room, at = _room(data, at)
        if room is not None and _is_template(kind):
            (inner,) = _U32.unpack_from(data, at)
            if inner > MAX_ATTRIBUTES:
                raise WireError(f"a query for a template of {inner} attributes")
            rooms = struct.unpack_from(f"={inner}Q", data, at + 4)
            at += 4 + 8 * inner
            room = Room(room)
            room.inner = tuple(None if each == NO_LENGTH else each for each in rooms)
        query.append((kind, room))
    return query, at


_DECODERS: dict[str, _Decoder] = {
    "u": _ulong,
    "y": _ulong,
    "l": read_string,
    "b": _data,
    "n": _nullable_string,
    "s": _name,
    **dict.fromkeys("mMwW", _mechanism),
    **dict.fromkeys("pP", _message_parameter),
    "t": _template,
    "q": _query,
    "B": _buffer,
    "L": _room,
    "F": _room,
    "r": _length,
}


def _encode_string(value: Any, room: int | None) -> bytes:
    if isinstance(value, int):
        return _U64.pack(value)
    length = _U64.pack(len(value))
    return length + value if room is not None else length


def _encode_ulongs(value: Any, room: int | None) -> bytes:
    if isinstance(value, int):
        return _U64.pack(value)
    return struct.pack(f"={len(value) + 1}Q", len(value), *value) if room is not None else _U64.pack(len(value))


def _encode_query(values: Sequence[Any], _room: object) -> bytes:
    return b"".join(map(_encode_value, values))


def _encode_value(value: bytes | int | list[tuple[int, bytes | int]]) -> bytes:
    if isinstance(value, int):
        return struct.pack("=QI", value if value >= 0 else NO_LENGTH, 0)
    if isinstance(value, list):
        inner = b"".join(_U64.pack(kind) + _encode_value(each) for kind, each in value)
        return struct.pack("=QI", ATTRIBUTE_SIZE * len(value), 1) + inner
    return struct.pack("=QI", len(value), 1) + value


def _encode_ulong(value: int, _room: object) -> bytes:
    return _U64.pack(value)


def _encode_struct(value: bytes, _room: object) -> bytes:
    return value


def _encode_outputs(pointed: Sequence[bytes | None]) -> bytes:
    """Encode what is written into a parameter, after all other results."""
    parts = [_U32.pack(len(pointed))]
    parts += [_U64.pack(NO_LENGTH) if value is None else _U64.pack(len(value)) + value for value in pointed]
    return b"".join(parts)


_ENCODERS: dict[str, Callable[[Any, Any], bytes]] = {
    "U": _encode_ulong,
    "B": _encode_string,
    "r": _encode_string,
    "L": _encode_ulongs,
    "F": _encode_ulongs,
    "q": _encode_query,
    **dict.fromkeys("SKEH", _encode_struct),
}


class Codec:
    """Encodes the results of one function and decodes its arguments."""

    def __init__(self, call: WireCall) -> None:
        self.name = call.name
        carried = [letter for letter in call.signature if letter in _DECODERS]
        self._decoders = [_DECODERS[letter] for letter in carried]
        self._numbers = struct.Struct(f"={len(carried)}Q") if set(carried) <= {"u", "y"} else None
        # Each output, with the position of its room among the arguments.
        self._outputs = [
            (_ENCODERS[letter], carried.index(letter) if letter in carried else None)
            for letter in call.signature
            if letter in _ENCODERS
        ]
        self._has_parameter = not set(call.signature).isdisjoint("wWp")
        self._only_output = self._outputs[0] if len(self._outputs) == 1 and not self._has_parameter else None
        self.secret = [position for position, letter in enumerate(carried) if letter in "bnlmMwWpPt"]

    def decode(self, frame: bytes) -> tuple[Any, ...]:
        """Decode the arguments of a request frame. Raises WireError for malformed ones, NullPointer."""
        try:
            if self._numbers is not None:
                if len(frame) != REQUEST_HEADER.size + self._numbers.size:
                    raise WireError(f"{self.name}: {len(frame)} bytes")
                return self._numbers.unpack_from(frame, REQUEST_HEADER.size)
            at = REQUEST_HEADER.size
            arguments: list[Any] = []
            for decoder in self._decoders:
                if decoder is _ulong:
                    arguments += _U64.unpack_from(frame, at)
                    at += 8
                else:
                    value, at = decoder(frame, at)
                    arguments.append(value)
        except struct.error as error:
            raise WireError(f"{self.name}: {error}") from None
        if at != len(frame):
            raise WireError(f"{self.name}: {len(frame) - at} bytes too many")
        return tuple(arguments)

    def encode(self, value: int, results: tuple[Any, ...], arguments: tuple[Any, ...]) -> bytes:
        """Encode a reply frame; without results it has the return value alone."""
        if not results:
            return REPLY_HEADER.pack(_BARE_REPLY, 0, value)
        if self._only_output is not None:
            (result,), (encoder, room) = results, self._only_output
            body = encoder(result, None if room is None else arguments[room])
            return REPLY_HEADER.pack(_BARE_REPLY + len(body), 0, value) + body
        body = b""
        written: Sequence[bytes | None] = ()
        if self._has_parameter and len(results) > len(self._outputs):
            results, written = results[:-1], results[-1]
        for (encoder, room), result in zip(self._outputs, results, strict=True):
            body += encoder(result, arguments[room] if room is not None else None)
        if self._has_parameter:
            body += _encode_outputs(written)
        return REPLY_HEADER.pack(_BARE_REPLY + len(body), 0, value) + body


CODECS: dict[int, Codec] = {call.number: Codec(call) for call in CALLS}

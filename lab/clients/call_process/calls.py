# SPDX-License-Identifier: MIT
"""Carries out a call of a scenario in the process that has the module loaded: plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....p11.calls import BY_NAME
from ....p11.constants import CKA, CKF, CKR
from ..pkcs11 import Failed, Module
from .functions import FUNCTIONS, GIVEN

MOST_EVENTS = 1000
"""So many slot events in a row have no end."""
ROOM = 16_384
"""Bytes of a buffer for an answer."""

_NUMBERS = frozenset({CKA.CLASS, CKA.KEY_TYPE, CKA.CERTIFICATE_TYPE, CKA.MODULUS_BITS, CKA.VALUE_LEN, CKA.PROFILE_ID})
_TEXTS = frozenset({CKA.LABEL, CKA.APPLICATION, CKA.UNIQUE_ID})
_STRUCTS = {"S": "CK_SLOT_INFO", "K": "CK_TOKEN_INFO", "E": "CK_SESSION_INFO", "H": "CK_MECHANISM_INFO"}
_UNAVAILABLE = 2**64 - 1

Answer = tuple[int, Any]
"""A CK_RV and what came back; nothing unless it is CKR_OK."""


class Parts:
    """The C arguments of one letter of a signature, and how to read what has come back through them.

    `asking` are the arguments with which a list is asked for its length first.
    """

    def __init__(
        self,
        arguments: list[Any],
        read: Callable[[], Any] | None = None,
        asking: list[Any] | None = None,
        keep: object = None,
    ) -> None:
        self.arguments = arguments
        self.read = read
        self.asking = asking or arguments
        self._keep = keep


class Calls:
    """The functions of one loaded module, by name."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._ffi = module.ffi

    def call(self, name: str, given: list[Any]) -> Answer:
        """Call a function with what a scenario gives. Raises ValueError for a value that does not fit."""
        function = FUNCTIONS[name]
        given = given + list(function.defaults[len(given) - function.least :])
        by_hand = getattr(self, f"_{name}", None)
        try:
            if by_hand is not None:
                return int(CKR.OK), by_hand(*given)
            parts = self._parts(name, given)
            if "L" in BY_NAME[name].signature:
                self._module.check(name, *(each for part in parts for each in part.asking))
            value = self._module.call(name, *(each for part in parts for each in part.arguments))
        except Failed as failure:
            return failure.value, None
        if value != CKR.OK:
            return value, None
        found = [part.read() for part in parts if part.read is not None]
        return value, found[0] if len(found) == 1 else found or None

    def _parts(self, name: str, given: list[Any]) -> list[Parts]:
        values = iter(given)
        try:
            return [self._part(letter, next(values) if letter in GIVEN else None) for letter in BY_NAME[name].signature]
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ValueError(f"{name} cannot take that: {error}") from None

    def _part(self, letter: str, value: Any) -> Parts:
        if letter in _STRUCTS:
            struct = self._ffi.new(f"{_STRUCTS[letter]} *")
            return Parts([struct], lambda: _fields(self._ffi, struct[0]))
        return getattr(self, f"_part_{_METHODS[letter]}")(value)  # type: ignore[no-any-return]

    def _part_number(self, value: Any) -> Parts:
        return Parts([int(value)])

    def _part_number_back(self, _value: Any) -> Parts:
        number = self._ffi.new("CK_ULONG *")
        return Parts([number], lambda: int(number[0]))

    def _part_bytes(self, value: Any) -> Parts:
        if value is None:
            return Parts([self._ffi.NULL, 0])
        content = _content(value)
        buffer = self._ffi.new("unsigned char[]", content or b"\0")
        return Parts([buffer, len(content)])

    def _part_label(self, value: Any) -> Parts:
        return Parts([self._ffi.new("unsigned char[]", _content(value).ljust(32)[:32])])

    def _part_name(self, value: Any) -> Parts:
        return Parts([self._ffi.new("unsigned char[]", _content(value) + b"\0")])

    def _part_buffer(self, _value: Any) -> Parts:
        buffer, length = self._ffi.new("unsigned char[]", ROOM), self._ffi.new("CK_ULONG *", ROOM)
        return Parts([buffer, length], lambda: bytes(self._ffi.buffer(buffer, length[0])))

    def _part_exact(self, value: Any) -> Parts:
        buffer = self._ffi.new("unsigned char[]", max(int(value), 1))
        return Parts([buffer, int(value)], lambda: bytes(self._ffi.buffer(buffer, int(value))))

    def _part_list(self, _value: Any) -> Parts:
        numbers, count = self._ffi.new("CK_ULONG[]", ROOM), self._ffi.new("CK_ULONG *", ROOM)
        return Parts([numbers, count], lambda: list(numbers[0 : count[0]]), asking=[self._ffi.NULL, count])

    def _part_found(self, value: Any) -> Parts:
        numbers, count = self._ffi.new("CK_ULONG[]", max(int(value), 1)), self._ffi.new("CK_ULONG *")
        return Parts([numbers, int(value), count], lambda: list(numbers[0 : count[0]]))

    def _part_mechanism(self, value: Any) -> Parts:
        if value is None:
            return Parts([self._ffi.NULL])
        kind, parameter = value if isinstance(value, list) else (value, b"")
        built, keep = self._module.mechanism(int(kind), _content(parameter))
        return Parts([built], keep=keep)

    def _part_template(self, value: Any) -> Parts:
        attributes = {int(kind): each if type(each) is int else _content(each) for kind, each in value.items()}
        array, keep = self._module.template(attributes)
        return Parts([array, len(attributes)], keep=keep)

    def _part_query(self, value: Any) -> Parts:
        kinds = [int(each) for each in value]
        array = self._ffi.new("CK_ATTRIBUTE[]", max(len(kinds), 1))
        buffers = [self._ffi.new("unsigned char[]", ROOM) for _ in kinds]
        for place, kind, buffer in zip(array, kinds, buffers, strict=False):
            place.type, place.pValue, place.ulValueLen = kind, buffer, ROOM

        def read() -> dict[int, Any]:
            lengths = [int(array[place].ulValueLen) for place in range(len(kinds))]
            return {
                kind: None if length == _UNAVAILABLE else _attribute(kind, bytes(self._ffi.buffer(buffer, length)))
                for kind, buffer, length in zip(kinds, buffers, lengths, strict=True)
            }

        return Parts([array, len(kinds)], read, keep=buffers)

    def _part_nothing(self, _value: Any) -> Parts:
        return Parts([self._ffi.NULL])

    # What is no single function of the call table

    def _C_Initialize(self) -> None:
        self._module.initialize()

    def _C_GetInfo(self) -> dict[str, Any]:
        info = self._ffi.new("CK_INFO *")
        self._module.check("C_GetInfo", info)
        return _fields(self._ffi, info[0])

    def _find(self, session: int, template: dict[int, Any]) -> list[int]:
        return self._module.find(
            session, {int(kind): each if type(each) is int else _content(each) for kind, each in template.items()}
        )

    def _events(self) -> list[int]:
        found: list[int] = []
        slot = self._ffi.new("CK_ULONG *")
        while (value := self._module.call("C_WaitForSlotEvent", CKF.DONT_BLOCK, slot, self._ffi.NULL)) == CKR.OK:
            found.append(int(slot[0]))
            if len(found) > MOST_EVENTS:
                raise ValueError("events without end")
        if value != CKR.NO_EVENT:
            raise Failed("C_WaitForSlotEvent", value)
        return found

    def _unload(self) -> None:
        self._module.unload()


_METHODS = {
    **dict.fromkeys("uy", "number"),
    "U": "number_back",
    **dict.fromkeys("bn", "bytes"),
    "l": "label",
    "s": "name",
    "B": "buffer",
    "r": "exact",
    "L": "list",
    "F": "found",
    **dict.fromkeys("mMwW", "mechanism"),
    "t": "template",
    "q": "query",
    **dict.fromkeys("-0", "nothing"),
}
"""The methods of Calls by letter."""


def _content(value: Any) -> bytes:
    """Return the bytes of a string, bytes or truth value. A message has no value, which may be a PIN."""
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(f"bytes or a string are wanted, not {type(value).__name__}")


def _attribute(kind: int, value: bytes) -> Any:
    if kind in _NUMBERS:
        return int.from_bytes(value, "little")
    return value.decode("utf-8", "replace") if kind in _TEXTS else value


def _fields(ffi: Any, struct: Any) -> dict[str, Any]:
    """Return a struct as a dictionary: padded strings as text, versions as [major, minor]."""
    found: dict[str, Any] = {}
    for name in dir(struct):
        value = getattr(struct, name)
        if isinstance(value, int):
            found[name] = value
        elif ffi.typeof(value).kind == "array":
            found[name] = bytes(value).decode("utf-8", "replace").rstrip()
        else:
            found[name] = [int(value.major), int(value.minor)]
    return found

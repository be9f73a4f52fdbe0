# SPDX-License-Identifier: MIT
"""The types of parameters (verbs.py): how a value is read from JSON, checked, and written, and which are secret.

`check` is the one check of a verb's arguments, whether they come as a request, in a trigger, in a `later`, or from a
scenario.
"""

from __future__ import annotations

import math
import os
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...card.issuing.profiles import CardRequest, ProfileError, request
from ...card.wording import meant
from ...p11.constants import CKR
from ...p11.number_names import name_of
from ...reader.testbed import check_name
from .verbs import PCSCD_ACTIONS, TABLE, Parameter, Type, Use, Verb, usable


class EncryptedImage(NamedTuple):
    """The image at a path, and the file whose first line is its passphrase."""

    image: Path
    passphrase_file: Path


CardSource = Path | EncryptedImage | CardRequest
"""A card: the image at a path, used where it lies, or a ready-made one, of which the simulator uses a copy."""

LONGEST_ATR = 33
_MOST_KEYS = 64
"""More than any PIN has."""
_DIGITS = {2: "two", 4: "four"}


class ValueType(NamedTuple):
    """How values of a type are handled: `words` say what it is, `fits` whether a value is one.

    `problem` says why one that fits cannot be. `read` makes it of JSON and raises ValueError, `write` makes JSON of it.
    """

    words: str
    fits: Callable[[Any], bool]
    problem: Callable[[Any], str | None] = lambda _: None
    read: Callable[[Any], Any] = lambda value: value
    write: Callable[[Any], Any] = lambda value: value
    is_secret: bool = False


def check(verb: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that the verb or fault does not take. Raises ValueError."""
    row = TABLE[verb]
    for name in arguments:
        if row.parameter(name) is None:
            names = [each.name for each in row.parameters]
            known = ", ".join(map(repr, names)) or "nothing"
            raise ValueError(f"{verb!r} does not take {name!r}{meant(str(name), names) or ';'} it takes {known}")
    for parameter in row.parameters:
        if parameter.name in arguments:
            _check_value(row, parameter, arguments[parameter.name])
        elif parameter.needed:
            raise ValueError(f"{verb!r} needs {parameter.name!r}")


def _check_value(row: Verb, parameter: Parameter, value: Any) -> None:
    if value is None and not parameter.needed and parameter.default is None:
        return
    kind, what = TYPES[parameter.type], f"{parameter.name!r} of {row.name!r}"
    if not kind.fits(value) or not _is_within(parameter, value):
        but = "" if kind.is_secret or parameter.type in (Type.REQUEST, Type.ACTION) else f", not {value!r}"
        raise ValueError(f"{what} is {_range(parameter) or kind.words}{but}")
    if (problem := kind.problem(value)) is not None:
        raise ValueError(f"{what}: {problem}")
    if parameter.type is Type.REQUEST:
        _check_later(row.name, *value)


def _check_later(verb: str, then: str, arguments: Mapping[str, Any]) -> None:
    possible = usable(Use.LATER)
    if then not in possible:
        raise ValueError(f"{verb!r} cannot do {then!r}{meant(then, possible) or ';'} it can do: {', '.join(possible)}")
    check(then, arguments)


def _is_within(parameter: Parameter, value: Any) -> bool:
    least = -math.inf if parameter.least is None else parameter.least
    most = math.inf if parameter.most is None else parameter.most
    return (parameter.least, parameter.most) == (None, None) or least <= value <= most


def _range(parameter: Parameter) -> str:
    if parameter.least is None:
        return ""
    return f"{parameter.least} or more" if parameter.most is None else f"{parameter.least} to {parameter.most}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, bytes)


def _is_request(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], Mapping)
        and all(isinstance(name, str) for name in value[1])
    )


def _card_problem(card: Any) -> str | None:
    if isinstance(card, CardSource) or hasattr(card, "activate"):
        return None
    return f"a card is a Path, an EncryptedImage, a CardRequest or a Card, not a value of type {type(card).__name__}"


def _reader_problem(name: str) -> str | None:
    try:
        check_name(name)
    except ValueError as error:
        return str(error)
    return None


def _atr_problem(atr: bytes) -> str | None:
    """Return what is wrong with an ATR that not even a bad contact would cause (ISO/IEC 7816-3, 8.2.1)."""
    return None if 1 <= len(atr) <= LONGEST_ATR else f"an ATR has 1 to {LONGEST_ATR} bytes, not {len(atr)}"


def _pin_problem(pin: str) -> str | None:
    if len(pin) <= _MOST_KEYS and pin.isprintable():
        return None
    return f"nobody types that at a PIN pad: at most {_MOST_KEYS} characters, printable"


def _read_real(value: Any) -> Any:
    return float(value) if _is_number(value) and abs(value) <= 1 << 53 else value


def _read_digits(digits: int) -> Callable[[Any], Any]:
    """Read two or four hexadecimal digits, or a number."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if len(value) != digits or not set(value) <= set(string.hexdigits):
            raise ValueError(f"{_DIGITS[digits]} hexadecimal digits are wanted, not {value!r}")
        return int(value, 16)

    return read


def _read_bytes(value: Any) -> bytes:
    """Read hexadecimal digits; no message has their value, for it may be secret."""
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise ValueError("hexadecimal bytes are wanted, as 00A40400, in quotes") from None


def _read_path(value: Any) -> Path:
    if not isinstance(value, str):
        raise ValueError(f"a string is wanted, not {value!r}")
    try:
        is_possible = b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise ValueError(f"a path is wanted; no file can have the name {value!r}")
    return Path(value)


def _read_card(value: Any) -> CardSource:
    if isinstance(value, str):
        return _read_path(value)
    if isinstance(value, dict) and "image" in value:
        if value.keys() != {"image", "passphrase_file"}:
            raise ValueError("an encrypted image is an object with 'image' and 'passphrase_file', both paths")
        return EncryptedImage(*(named(name, _read_path, value[name]) for name in ("image", "passphrase_file")))
    if isinstance(value, dict):
        from ...p11.token_mechanisms import require_known  # clients need not load the mechanisms

        wanted = request(value)
        require_known(wanted)
        return wanted
    raise ValueError("a card is the path of an image, or an object with the parameters of a ready-made card")


def named(name: str, read: Callable[[Any], Any], value: Any) -> Any:
    """Read a value; an error says under which name it was given. Raises ValueError, ProfileError."""
    try:
        return read(value)
    except ProfileError:  # says it itself
        raise
    except ValueError as error:
        raise ValueError(f"{name!r}: {error}") from None


def _write_card(card: Any) -> str | dict[str, Any] | None:
    """Return a card as its path or its parameters; None for an object of this process."""
    return as_card(card) if isinstance(card, CardSource) else None


def as_card(card: Any) -> str | dict[str, Any]:
    """Return a card by path or by its parameters. Raises ValueError for one that is neither."""
    if isinstance(card, Path):
        return os.path.realpath(card)
    if isinstance(card, EncryptedImage):
        return {name: os.path.realpath(path) for name, path in card._asdict().items()}
    if not isinstance(card, CardRequest):
        raise ValueError(f"a card is a path or a CardRequest here, not {card!r}")
    return card.parameters


def return_value(text: Any) -> int:
    """Return a CK_RV by number or by name, with or without CKR_. Raises ValueError."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if not isinstance(text, str):
        raise ValueError(f"a return value is wanted, as 'CKR_DEVICE_ERROR', not {text!r}")
    name = text.removeprefix("CKR_")
    if name in CKR.__members__:
        return int(CKR[name])
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"there is no return value {text!r}{meant(text, _NAMES)}") from None


_NAMES = [f"CKR_{each}" for each in CKR.__members__]


TYPES: dict[Type, ValueType] = {
    Type.READER: ValueType("the name of a reader, a string", _is_text),
    Type.NEW_READER: ValueType("the name of a reader, a string", _is_text, _reader_problem),
    Type.CARD: ValueType("a card", lambda _: True, _card_problem, _read_card, _write_card, is_secret=True),
    Type.ATR: ValueType("bytes", _is_bytes, _atr_problem, _read_bytes, bytes.hex),
    Type.COMMAND: ValueType(
        "bytes",
        _is_bytes,
        lambda command: None if command else "an APDU has at least one byte",
        _read_bytes,
        bytes.hex,
        is_secret=True,
    ),
    Type.PIN: ValueType("a string, in quotes", _is_text, _pin_problem, is_secret=True),
    Type.TEXT: ValueType("a string", _is_text),
    Type.WORD: ValueType("a string", _is_text, lambda word: None if word else "a word is wanted, not ''"),
    Type.FLAG: ValueType("true or false", lambda value: isinstance(value, bool)),
    Type.NUMBER: ValueType("a whole number", _is_number),
    Type.SECONDS: ValueType("a number of seconds", _is_real, read=_read_real),
    Type.SHARE: ValueType("a number", _is_real, read=_read_real),
    Type.BYTE: ValueType("a byte", _is_number, read=_read_digits(2), write=lambda value: f"{value:02X}"),
    Type.STATUS: ValueType("a status word", _is_number, read=_read_digits(4), write=lambda value: f"{value:04X}"),
    Type.DATA: ValueType("bytes", _is_bytes, read=_read_bytes, write=bytes.hex, is_secret=True),
    Type.RETURN_VALUE: ValueType(
        "a return value",
        _is_number,
        read=return_value,
        write=lambda value: name_of(CKR, value) if value in set(CKR) else value,
    ),
    Type.PCSCD_ACTION: ValueType(f"one of {', '.join(PCSCD_ACTIONS)}", PCSCD_ACTIONS.__contains__),
    Type.REQUEST: ValueType("a Request with a verb and its arguments", _is_request),
    Type.ACTION: ValueType("a Request with a verb and its arguments", _is_request),
    Type.MOMENT: ValueType("an object", lambda value: isinstance(value, dict)),
}
"""How the values of each type are handled. Requests and moments are read and written where they are taken apart."""

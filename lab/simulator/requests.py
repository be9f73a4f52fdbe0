# SPDX-License-Identifier: MIT
"""Requests of the control channel: from a line of JSON to a verb with checked arguments (docs/control.md). No I/O."""

from __future__ import annotations

import os
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ...card.files import json_text
from ...card.issuing.profiles import CardRequest, request
from ...card.wording import meant
from .faults import LONGEST_WAIT, return_value
from .trigger import Trigger

_DIGITS = {2: "two", 4: "four"}


class EncryptedImage(NamedTuple):
    """The image at a path, and the file whose first line is its passphrase."""

    image: Path
    passphrase_file: Path


CardSource = Path | EncryptedImage | CardRequest
"""A card: the image at a path, used where it lies, or a ready-made one, of which the simulator uses a copy."""


PCSCD_ACTIONS = ("stop", "start")
"""What can be done with a pcscd of our own."""


class RequestError(ValueError):
    """A request that cannot be understood; nothing was done. `code` is for programs."""

    code = "bad-request"


class Request(NamedTuple):
    """A verb and its arguments, ready to be carried out."""

    verb: str
    arguments: dict[str, Any]


class Parameter(NamedTuple):
    """What a verb takes under a name: `read` makes the value of what JSON has, or raises RequestError."""

    read: Callable[[Any], Any]
    needed: bool = True


def parse(line: bytes) -> dict[str, Any]:
    """One line as an object. Raises RequestError."""
    try:
        asked = json_text.loads(line.decode())
    except ValueError as error:
        raise RequestError(f"not a line of JSON: {error}") from None
    if not isinstance(asked, dict):
        raise RequestError("a request is a JSON object with the verb in 'do'")
    return asked


def decode(asked: object) -> Request:
    """The verb and the arguments of a request without its id. Raises RequestError, ProfileError."""
    if not isinstance(asked, dict) or not isinstance(asked.get("do"), str):
        raise RequestError("a request is a JSON object with the verb in 'do'")
    verb = asked["do"]
    parameters = VERBS.get(verb)
    if parameters is None:
        raise RequestError(f"there is no verb {verb!r}{meant(verb, VERBS) or ';'} there are: {', '.join(VERBS)}")
    given = {name: value for name, value in asked.items() if name != "do"}
    for name in given:
        if name not in parameters:
            known = ", ".join(map(repr, parameters)) or "nothing"
            raise RequestError(f"{verb!r} does not take {name!r}; it takes {known}")
    for name, parameter in parameters.items():
        if parameter.needed and name not in given:
            raise RequestError(f"{verb!r} needs {name!r}")
    return Request(verb, {name: _named(name, parameters[name].read, value) for name, value in given.items()})


def _named(name: str, read: Callable[[Any], Any], value: object) -> Any:
    """Read a value; an error says whose it is."""
    try:
        return read(value)
    except RequestError as error:
        raise RequestError(f"{name!r}: {error}") from None


def _pcscd_action(value: object) -> str:
    if value not in PCSCD_ACTIONS:
        raise RequestError(f"'action' is one of {', '.join(PCSCD_ACTIONS)}, not {value!r}")
    return str(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise RequestError(f"a string is wanted, not {value!r}")
    return value


def _secret(value: object) -> str:
    """A string that no message shows."""
    if not isinstance(value, str):
        raise RequestError("a string is wanted, in quotes")
    return value


def _word(value: object) -> str:
    if not (word := _text(value)):
        raise RequestError("a word is wanted, not ''")
    return word


def _number(value: object) -> int:
    if type(value) is not int:
        raise RequestError(f"a whole number is wanted, not {value!r}")
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise RequestError(f"true or false is wanted, not {value!r}")
    return value


def _instruction(value: object) -> int:
    """Two hexadecimal digits, or a number."""
    return _hexadecimal(value, 2)


def _status(value: object) -> int:
    """Four hexadecimal digits, or a number."""
    return _hexadecimal(value, 4)


def _hexadecimal(value: object, digits: int) -> int:
    if isinstance(value, str):
        if len(value) != digits or not set(value) <= set(string.hexdigits):
            raise RequestError(f"{_DIGITS[digits]} hexadecimal digits are wanted, not {value!r}")
        return int(value, 16)
    return _number(value)


def _path(value: object) -> Path:
    path = _text(value)
    try:
        is_possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_possible = False
    if not is_possible:
        raise RequestError(f"a path is wanted; no file can have the name {path!r}")
    return Path(path)


def _card(value: object) -> CardSource:
    if isinstance(value, str):
        return _path(value)
    if isinstance(value, dict) and "image" in value:
        if value.keys() != {"image", "passphrase_file"}:
            raise RequestError("an encrypted image is an object with 'image' and 'passphrase_file', both paths")
        return EncryptedImage(*(_named(name, _path, value[name]) for name in ("image", "passphrase_file")))
    if isinstance(value, dict):
        from ...p11.token_mechanisms import require_known  # clients need not load the mechanisms

        wanted = request(value)
        require_known(wanted)
        return wanted
    raise RequestError("'card' is the path of an image, or an object with the parameters of a ready-made card")


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(f"a number is wanted, not {value!r}")
    return float(value)


def _seconds(value: object) -> float:
    seconds = _share(value)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise RequestError(f"a number of seconds is wanted, 0 to {LONGEST_WAIT}, not {value!r}")
    return seconds


def _return_value(value: object) -> int:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise RequestError(f"a return value is wanted, as 'CKR_DEVICE_ERROR', not {value!r}")
    return return_value(value)


def _bytes(value: object) -> bytes:
    try:
        return bytes.fromhex(_text(value))
    except ValueError:
        raise RequestError(f"hexadecimal bytes are wanted, not {value!r}") from None


def _command(value: object) -> bytes:
    """An APDU, which may have a PIN in it: no message shows it."""
    try:
        return bytes.fromhex(_secret(value))
    except ValueError:
        raise RequestError("hexadecimal bytes are wanted, as 00A40400") from None


_MOMENT: dict[str, Callable[[Any], Any]] = {
    "call": _text,
    "ins": lambda value: None if value is None else _instruction(value),
    "slot": _instruction,
    "link": _number,
    "event": _text,
    "signal": _text,
    "seconds": _seconds,
    "when": _text,
    "reader": _text,
    "application": _text,
    "thread": _number,
    "nth": _number,
    "times": lambda value: None if value is None else _number(value),
    "probability": _share,
    "seed": _number,
}


def _moment(value: object) -> dict[str, Any]:
    known = ", ".join(map(repr, _MOMENT))
    if not isinstance(value, dict):
        raise RequestError(f"'on' is an object with some of {known}")
    for name in value:
        if name not in _MOMENT:
            question = meant(name, _MOMENT)
            raise RequestError(f"'on' does not take {name!r}{question or ';'} it takes {known}")
    return {name: _named(name, _MOMENT[name], each) for name, each in value.items()}


_READER = {"reader": Parameter(_text)}


VERBS: dict[str, dict[str, Parameter]] = {
    "ping": {},
    "status": {},
    "plug": {"reader": Parameter(_text), "contactless": Parameter(_flag, needed=False)},
    "unplug": _READER,
    "insert": {
        "reader": Parameter(_text),
        "card": Parameter(_card, needed=False),
        "atr": Parameter(_bytes, needed=False),
    },
    "remove": _READER,
    "swap": {"reader": Parameter(_text), "card": Parameter(_card), "atr": Parameter(_bytes, needed=False)},
    "attach-pcsc": {
        "reader": Parameter(_text),
        "name": Parameter(_text, needed=False),
        "exclusive": Parameter(_flag, needed=False),
    },
    "detach-pcsc": _READER,
    "apdu": {"reader": Parameter(_text), "command": Parameter(_command)},
    "reset": _READER,
    "logout": _READER,
    "close-sessions": _READER,
    "touch": _READER,
    "mute": _READER,
    "kill": _READER,
    "block-pin": {
        "reader": Parameter(_text),
        "left": Parameter(_number, needed=False),
        "puk": Parameter(_flag, needed=False),
    },
    "pin-pad": {"reader": Parameter(_text), "pin": Parameter(_secret, needed=False)},
    "signal": {"signal": Parameter(_word)},
    "release": {"gate": Parameter(_text, needed=False)},
    "crash": {},
    "restart": {},
    "pcscd": {"action": Parameter(_pcscd_action)},
    "later": {"seconds": Parameter(_seconds), "then": Parameter(decode)},
    "answer": {"status": Parameter(_status), "data": Parameter(_bytes, needed=False)},
    "garble": {"count": Parameter(_number, needed=False), "seed": Parameter(_number, needed=False)},
    "cut": {"length": Parameter(_number, needed=False)},
    "return": {"value": Parameter(_return_value)},
    "delay": {"seconds": Parameter(_seconds)},
    "hang": {"gate": Parameter(_text, needed=False)},
    "crash-application": {},
    "arm": {"on": Parameter(_moment), "then": Parameter(decode)},
    "disarm": {"trigger": Parameter(_number)},
    "trace": {"after": Parameter(_number, needed=False), "follow": Parameter(_flag, needed=False)},
    "events": {"after": Parameter(_number, needed=False), "follow": Parameter(_flag, needed=False)},
    "shutdown": {},
}
"""The verbs and what they take."""


def trigger(on: dict[str, Any], then: Request) -> Trigger:
    """The trigger of an `arm` request. Raises RequestError if it can never fire."""
    try:
        return Trigger(then.verb, then.arguments, **on)
    except ValueError as error:
        raise RequestError(str(error)) from None

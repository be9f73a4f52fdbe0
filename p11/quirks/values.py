# SPDX-License-Identifier: MIT
"""The types of values of quirks: how they are parsed, shown and described."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum, unique
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from ..calls import BY_NAME
from ..constants import CKR


@unique
class CallFailure(StrEnum):
    """An end of a call without return."""

    CRASH = "crash"
    HANG = "hang"


CallOutcome = CKR | CallFailure
"""How a call ends: with a return value, with the application's death (SIGSEGV), or never."""

Calls = tuple[str, ...]
"""Names of functions, also with * and ?."""


class QuirkValueType(NamedTuple):
    """A type of value: `words` describe it, `read` parses it from text or raises ValueError."""

    words: str
    read: Callable[[str], Any]


def show(value: Any) -> str:
    """Return the value as text that `read` parses."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case CKR():
            return f"CKR_{value.name}"
        case tuple():
            return ",".join(f"{each[0]}:{show(each[1])}" if isinstance(each, tuple) else show(each) for each in value)
    return str(value)


def lookup(table: tuple[tuple[str, Any], ...], call: str) -> Any:
    """Return the value of the first pattern that matches a function, None without."""
    return next((value for pattern, value in table if fnmatchcase(call, pattern)), None)


def is_among(calls: Calls, call: str) -> bool:
    """Return whether a pattern matches a function."""
    return any(fnmatchcase(call, pattern) for pattern in calls)


_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _flag(text: str) -> bool:
    return _FLAGS[text.lower()]


def _outcome(text: str) -> CallOutcome:
    if text in list(CallFailure):
        return CallFailure(text)
    return CKR[text.removeprefix("CKR_")]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or not 0 <= seconds <= 3600:
        raise ValueError(text)
    return seconds


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError(text)
    return share


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count <= 1_000_000:
        raise ValueError(text)
    return count


def _call(text: str) -> str:
    if not any(fnmatchcase(name, text) for name in BY_NAME):
        raise ValueError(text)
    return text


def _calls(text: str) -> Calls:
    return tuple(_call(each) for each in text.split(",") if each)


def choice(*names: str) -> QuirkValueType:
    """Return the type of one of some words."""

    def read(text: str) -> str:
        return names[names.index(text)]

    return QuirkValueType(" | ".join(names), read)


def subset(*names: str) -> QuirkValueType:
    """Return the type of several of some words, separated by commas."""

    def read(text: str) -> tuple[str, ...]:
        return tuple(names[names.index(each)] for each in text.split(",") if each)

    return QuirkValueType(f"some of {', '.join(names)}", read)


def by_call(kind: QuirkValueType) -> QuirkValueType:
    """Return the type of values by function: C_NAME:VALUE, separated by commas."""

    def read(text: str) -> tuple[tuple[str, Any], ...]:
        pairs = (each.split(":", 1) for each in text.split(",") if each)
        return tuple((_call(name), kind.read(value)) for name, value in pairs)

    return QuirkValueType(f"C_NAME:VALUE,... ({kind.words})", read)


FLAG = QuirkValueType("true | false", _flag)
OUTCOME = QuirkValueType("CKR_... | crash | hang", _outcome)
SECONDS = QuirkValueType("seconds", _seconds)
SHARE = QuirkValueType("0 to 1", _share)
COUNT = QuirkValueType("a whole number", _count)
CALLS = QuirkValueType("C_NAME,...", _calls)

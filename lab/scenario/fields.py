# SPDX-License-Identifier: MIT
"""The kinds of value in a scenario: durations, hexadecimal bytes, return values, exit codes, patterns.

In YAML they are written for people (`500ms`, `6F00`, `CKR_OK`, `SIGSEGV`); in the models they are numbers.
"""

from __future__ import annotations

import math
import re
import signal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ...p11.constants import CKS
from ...reader import events
from ..simulator.value_types import return_value

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
LONGEST = 3600.0
"""Seconds that anything in a scenario may take at most."""


class Model(BaseModel):
    """What scenarios are made of: immutable, no unknown fields, words joined with hyphens in YAML.

    A validation context is a dict that learns, by the identity of each mapping, which fields it could have had.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.strip("_").replace("_", "-"),
        populate_by_name=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _note_fields(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, dict) and info.context is not None:
            info.context[id(value)] = [field.alias or name for name, field in cls.model_fields.items()]
        return value


def duration(value: Any) -> float:
    """Return the seconds of `500ms`, `2s`, `1.5 s`, `1m`; numbers are seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m)", value) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"a duration is a number with ms, s or m, as 500ms or 2s, not {value!r}")
        seconds = float(match[1]) * _UNITS[match[2]]
    if not math.isfinite(seconds) or not 0 < seconds <= LONGEST:
        raise ValueError(f"a duration is more than nothing and at most {LONGEST:.0f}s, not {value!r}")
    return seconds


def in_words(seconds: float) -> str:
    """Write a duration as people do."""
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:g}s"


def status_in_words(status: int | None) -> str:
    """Write a status word as scenarios do; None stands for no response."""
    return NO_ANSWER if status is None else f"{status:04X}"


def _hexadecimal(most: int, what: str) -> Any:
    def read(value: Any) -> int:
        # YAML has a number where all digits are decimal ones; they mean what they look like.
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if not re.fullmatch(r"(0x)?[0-9A-Fa-f]{1,4}", text) or int(text, 16) > most:
            raise ValueError(f"{what} is written in hexadecimal digits, not {value!r}")
        return int(text, 16)

    return read


def _return_value(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"a return value is wanted, as CKR_OK, not {value!r}")
    return return_value(value)


def _return_values(value: Any) -> frozenset[int] | None:
    """Read return values; None for any."""
    if isinstance(value, frozenset):
        return value
    if value == "any" or value is None:
        return None
    words = value.split("|") if isinstance(value, str) else value if isinstance(value, list) else [value]
    return frozenset(_return_value(word.strip() if isinstance(word, str) else word) for word in words)


_status = _hexadecimal(0xFFFF, "a status word")
NO_ANSWER = "none"
"""In place of a status word: the card goes, or is mute."""


def _status_words(value: Any) -> frozenset[int | None] | None:
    """Read status words, None among them for no response at all; None for any."""
    if isinstance(value, frozenset):
        return value
    if value == "any":
        return None
    words = value if isinstance(value, list) else [value]
    return frozenset(None if word in (NO_ANSWER, None) else _status(word) for word in words)


def _command(value: Any) -> str:
    """Read an APDU in hexadecimal, with or without blanks; what ${...} stands for is checked when it is sent.

    It may have a PIN in it, and is not shown.
    """
    text = _digits(value)
    if not isinstance(text, str) or not re.fullmatch(r"\s*((\$\{[^}]*\}|[0-9A-Fa-f]{2})\s*)+", text):
        raise ValueError("an APDU is written in hexadecimal digits, two for each byte, as 00A40400")
    return text


def _exit_codes(value: Any) -> frozenset[int] | None:
    """Read exit codes; a signal is its negative number. None for any."""
    if isinstance(value, frozenset):
        return value
    if value == "any" or value is None:
        return None
    return frozenset(map(_exit_code, value if isinstance(value, list) else [value]))


def _exit_code(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and -64 <= value <= 255:
        return value
    if isinstance(value, str) and value in signal.Signals.__members__:
        return -int(signal.Signals[value])
    raise ValueError(f"an exit code is a number or a signal's name, as 0 or SIGSEGV, not {value!r}")


def _state(value: Any) -> int | None:
    """Read a session's state; None if there is to be no such session."""
    if value == "gone" or value is None:
        return None
    if isinstance(value, int) and value in set(CKS):
        return int(value)
    name = value.removeprefix("CKS_") if isinstance(value, str) else ""
    if name not in CKS.__members__:
        known = ", ".join(f"CKS_{each}" for each in CKS.__members__)
        raise ValueError(f"a state is 'gone' or one of {known}; not {value!r}")
    return int(CKS[name])


def _signal_number(value: Any) -> int:
    if isinstance(value, signal.Signals):
        return int(value)
    if not isinstance(value, str) or value not in signal.Signals.__members__:
        raise ValueError(f"a signal's name is wanted, as SIGTERM, not {value!r}")
    return int(signal.Signals[value])


def _pattern(value: Any) -> re.Pattern[str]:
    if isinstance(value, re.Pattern):
        return value
    try:
        return re.compile(value, re.MULTILINE)
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {value!r} ({error})") from None


def _digits(value: Any) -> Any:
    """Return digits that YAML took for a number; only those without a leading zero are, so nothing is lost."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _variables(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not name or "=" in name or "\0" in name + text:
            raise ValueError(f"no variable of an environment can be {name!r}: {text!r}")
    return value


def _schema(**schema: Any) -> Any:
    return WithJsonSchema(schema)


_HEX = {"anyOf": [{"type": "string", "pattern": "^(0x)?[0-9A-Fa-f]{1,4}$"}, {"type": "integer"}]}
_WORDS = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "array"}, {"type": "null"}]}

EVENTS = tuple(map(str, events.Change))
"""The changes of the testbed."""

if TYPE_CHECKING:
    Change = str
else:
    Change = Literal[EVENTS]
Duration = Annotated[
    float,
    BeforeValidator(duration),
    _schema(anyOf=[{"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m)$"}, {"type": "number"}]),
]
HexByte = Annotated[int, BeforeValidator(_hexadecimal(0xFF, "a byte")), _schema(**_HEX)]
StatusWord = Annotated[int, BeforeValidator(_status), _schema(**_HEX)]
StatusWords = Annotated[frozenset[int | None] | None, BeforeValidator(_status_words), _schema(**_WORDS)]
Digits = Annotated[str, BeforeValidator(_digits), _schema(type=["string", "integer"])]
Command = Annotated[str, BeforeValidator(_command), _schema(type=["string", "integer"])]
ReturnValue = Annotated[int, BeforeValidator(_return_value), _schema(type=["string", "integer"])]
ReturnValues = Annotated[frozenset[int] | None, BeforeValidator(_return_values), _schema(**_WORDS)]
ExitCodes = Annotated[frozenset[int] | None, BeforeValidator(_exit_codes), _schema(**_WORDS)]
State = Annotated[int | None, BeforeValidator(_state), _schema(type="string")]
SignalNumber = Annotated[int, BeforeValidator(_signal_number), _schema(type="string")]
Environment = Annotated[dict[str, str], AfterValidator(_variables)]
Pattern = Annotated[re.Pattern[str], BeforeValidator(_pattern), _schema(type="string", format="regex")]
Pin = Annotated[str, BeforeValidator(_digits)]
Count = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=64)]

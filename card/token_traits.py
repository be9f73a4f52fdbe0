# SPDX-License-Identifier: MIT
"""Traits of a token beyond PIV, kept on the card in a data object of its own, and the rules of all card parameters.

The card obeys what is the card's (PIN rules, management key); the rest is for the software that makes a token of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .files import json_text
from .pin_rules import PIN_FORMATS, PIN_LENGTH, PinRules

MANAGEMENT_POLICIES = {
    "pin": "a random key, kept on the card for whoever has the PIN",
    "derived": "a key derived from the PIN, as Yubico's tools do it",
    "so": "a key derived from the PUK",
    "default": "the key that everybody knows",
    "none": "a random key, kept nowhere",
}
"""How software gets the management key, without which it cannot write keys and certificates."""


MANAGEMENT_ALGORITHMS = ("tdes", "aes128", "aes192", "aes256")


@dataclass(frozen=True, kw_only=True)
class Traits:
    """The traits of a token; the defaults are those of a token without restrictions.

    `pin_pad_timeout` and `touch_timeout` are in seconds; `max_sessions` is for each application, 0 for no limit.
    `mechanisms` are names (CKM_...), None for all. `pin_min`, `pin_max` and `pin_format` tell the rules that the card
    has. `warm_atr` is what the card answers to a reset under power, None for what it always answers. `firmware` is that
    of a YubiKey.
    """

    management: str = "pin"
    read_only: bool = False
    single_session: bool = False
    max_sessions: int = 0
    pin_pad: bool = False
    pin_pad_timeout: float = 30.0
    touch_timeout: float = 15.0
    key_generation: bool = True
    uninitialised: bool = False
    pin_initialised: bool = True
    public_objects: bool = True
    friendly: bool = True
    hardware: bool = True
    legacy: bool = False
    change_pin: bool = True
    pin_min: int = 6
    pin_max: int = PIN_LENGTH
    pin_format: str = "digits"
    warm_atr: str | None = None
    firmware: str | None = None
    mechanisms: tuple[str, ...] | list[str] | None = None

    def encode(self) -> bytes:
        """Encode the data object: JSON of the traits that differ from the defaults."""
        given = {name: getattr(self, name) for name, default in _DEFAULTS.items() if getattr(self, name) != default}
        return json.dumps(given, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes | None) -> Traits:
        """Decode the traits in a data object. What is missing, unknown or invalid has its default."""
        try:
            found = json.loads(content or b"{}")
        except (ValueError, RecursionError):
            return cls()
        if not isinstance(found, dict):
            return cls()
        traits = {name: _frozen(found[name]) for name in _DEFAULTS if name in found and RULES[name].fits(found[name])}
        decoded = cls(**traits)
        if decoded.pin_min > decoded.pin_max:
            return dataclasses.replace(decoded, pin_min=cls.pin_min, pin_max=cls.pin_max)
        return decoded

    @property
    def most_sessions(self) -> int:
        """Return the maximum number of sessions of one application, 0 for no limit."""
        return 1 if self.single_session else self.max_sessions

    @property
    def pin_rules(self) -> PinRules:
        """Return which values a PIN can have."""
        return PinRules(self.pin_min, self.pin_max, self.pin_format)


class Rule(NamedTuple):
    """The values of a parameter: in words, and as a test of a JSON value."""

    words: str
    fits: Callable[[Any], bool]


def _one_of(*values: str) -> Rule:
    """Return the rule of a choice of words."""
    return Rule(f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values)


def _whole(least: int, most: int) -> Rule:
    """Return the rule of an integer in a range."""
    return Rule(f"a whole number from {least} to {most}", lambda value: type(value) is int and least <= value <= most)


def _names(value: Any) -> bool:
    """Return the rule of a list of names."""
    return value is None or (
        isinstance(value, list | tuple)
        and all(isinstance(name, str) and re.fullmatch("CKM_[A-Z0-9_]+", name) for name in value)
    )


def _words(value: Any) -> bool:
    """Join alternatives for a message."""
    return value is None or (isinstance(value, list | tuple) and all(isinstance(each, str) for each in value))


def _seconds(value: Any) -> bool:
    """Return the rule of a number of seconds."""
    return type(value) in (int, float) and 0 < value <= _LONGEST


def _is_firmware(value: Any) -> bool:
    """Return whether a value is a firmware version that a YubiKey 5 can have."""
    if value is None:
        return True
    parts = re.fullmatch("5[.]([0-9]{1,3})[.]([0-9]{1,3})", value) if isinstance(value, str) else None
    return parts is not None and all(int(part) < 256 for part in parts.groups())


def _is_atr(value: Any) -> bool:
    """Return whether a value is an ATR in hexadecimal."""
    return value is None or (isinstance(value, str) and re.fullmatch("([0-9A-Fa-f]{2}){2,33}", value) is not None)


_LONGEST = 3600
_FLAG = Rule("true or false", lambda value: type(value) is bool)
_TEXT = Rule("a string", lambda value: isinstance(value, str))
_TEXT_OR_NONE = Rule("a string", lambda value: value is None or isinstance(value, str))
_TRIES = _whole(1, 15)
_TRIES_LEFT = Rule(
    "a whole number from 0 to 15", lambda value: value is None or (type(value) is int and 0 <= value <= 15)
)

CERTIFICATE_RULES = {
    "subject": _TEXT_OR_NONE,
    "upn": _TEXT_OR_NONE,
    "kerberos_principal": _TEXT_OR_NONE,
    "extended_key_usage": Rule("a list of names or OIDs of extended key usages", _words),
    "ocsp": _TEXT_OR_NONE,
    "crl": _TEXT_OR_NONE,
    "ca_issuers": _TEXT_OR_NONE,
    "valid_from": _TEXT_OR_NONE,
    "valid_until": _TEXT_OR_NONE,
    "ca_certificate": _TEXT_OR_NONE,
    "ca_key": _TEXT_OR_NONE,
}
"""Parameters of the certificates on a card (certificate_options.py); each also with a key slot before it: 9A.upn."""

RULES: dict[str, Rule] = {
    "profile": _TEXT,
    "name": _TEXT,
    "email": _TEXT_OR_NONE,
    "serial": _TEXT_OR_NONE,
    "pin": _TEXT,
    "puk": _TEXT,
    "capacity": _whole(0, 2**30),
    "pin_tries": _TRIES,
    "puk_tries": _TRIES,
    "pin_left": _TRIES_LEFT,
    "puk_left": _TRIES_LEFT,
    "global_pin": _TEXT_OR_NONE,
    "primary_pin": _one_of("piv", "global"),
    "warm_atr": Rule("an ATR of 2 to 33 bytes, in hexadecimal", _is_atr),
    "firmware": Rule("a version from 5.0.0 to 5.255.255", _is_firmware),
    "protocol": _one_of("both", "t0", "t1"),
    "objects": _one_of("few", "full"),
    "compressed": _FLAG,
    "years": _whole(0, 50),
    "management": _one_of(*MANAGEMENT_POLICIES),
    "management_algorithm": Rule(
        f"one of {', '.join(MANAGEMENT_ALGORITHMS)}", lambda value: value is None or value in MANAGEMENT_ALGORITHMS
    ),
    "read_only": _FLAG,
    "single_session": _FLAG,
    "pin_pad": _FLAG,
    "pin_pad_timeout": Rule(f"seconds, more than 0 and at most {_LONGEST}", _seconds),
    "touch_timeout": Rule(f"seconds, more than 0 and at most {_LONGEST}", _seconds),
    "touch": _one_of("never", "always", "cached"),
    "max_sessions": _whole(0, 1_000_000),
    "key_generation": _FLAG,
    "uninitialised": _FLAG,
    "pin_initialised": _FLAG,
    "public_objects": _FLAG,
    "friendly": _FLAG,
    "hardware": _FLAG,
    "legacy": _FLAG,
    "change_pin": _FLAG,
    "pin_min": _whole(4, PIN_LENGTH),
    "pin_max": _whole(4, PIN_LENGTH),
    "pin_format": _one_of(*PIN_FORMATS),
    "mechanisms": Rule("a list of names of mechanisms (CKM_...)", _names),
}
"""The parameters of a card to be made, those of its traits among them, but not those of its certificates."""


def rule_of(name: str) -> Rule | None:
    """Return the rule of a parameter, None for an unknown name."""
    bare = re.sub("^[0-9A-Fa-f]{2}[.]", "", name)
    return RULES.get(name) or CERTIFICATE_RULES.get(bare)


_DEFAULTS: dict[str, Any] = {each.name: each.default for each in dataclasses.fields(Traits)}


def from_text(text: str) -> tuple[str, object]:
    """Parse a parameter from NAME=VALUE; the value is JSON, a bare word, or words separated by commas.

    What is no such parameter comes back as it is; whoever takes it says what is wrong with it.
    """
    name, _, value = text.partition("=")
    rule = rule_of(name)
    if rule is None:
        return name, value
    for read in (_json, str, lambda words: words.split(",")):
        found = read(value)
        if rule.fits(found):
            return name, with_full_path(name, found)
    return name, value


_PATHS = re.compile(r"([0-9A-Fa-f]{2}[.])?(ca_certificate|ca_key)")


def with_full_path(name: str, value: object, folder: Path = Path()) -> object:
    """Return a parameter's value; a path is made absolute relative to `folder`, for another process to read."""
    if _PATHS.fullmatch(name) and isinstance(value, str) and value:  # nothing leaves it out
        return os.path.abspath(folder / value)
    return value


def _json(text: str) -> object:
    """Return the JSON value of a text, or the text itself."""
    try:
        return json_text.loads(text)
    except ValueError:
        return text


def _frozen(value: Any) -> Any:
    """Return a value with lists made tuples."""
    return tuple(value) if isinstance(value, list) else value

# SPDX-License-Identifier: MIT
"""Parameters of a card that have no effect given the others; they are refused, as something was meant by them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from ..applet.variants import CardVariant


class Requested(Protocol):
    """The part of a card request (profiles.py) that the rules read."""

    @property
    def is_piv(self) -> bool: ...
    @property
    def has_no_keys(self) -> bool: ...
    @property
    def objects(self) -> str: ...
    @property
    def variant(self) -> CardVariant: ...
    @property
    def pin_initialised(self) -> bool: ...


Rule = tuple[frozenset[str], Callable[[Requested], bool], str]

_OF_CERTIFICATES = frozenset(
    {"email", "compressed", "touch", "subject", "upn", "kerberos_principal", "extended_key_usage", "ocsp", "crl"}
    | {"ca_issuers", "valid_from", "valid_until"}
)
_OF_ISSUER = frozenset({"ca_certificate", "ca_key"})
_RULES: tuple[Rule, ...] = (
    (_OF_CERTIFICATES, lambda card: card.has_no_keys and card.objects != "full", "comes without keys and certificates"),
    (
        _OF_ISSUER,
        lambda card: card.has_no_keys and card.objects != "full" and not card.variant.attests,
        "comes without certificates",
    ),
    (frozenset({"objects", "protocol"}), lambda card: card.variant.attests, "is as its maker makes it"),
    (frozenset({"pin", "pin_left"}), lambda card: not card.pin_initialised, "has no PIN before C_InitPIN sets one"),
)
"""Parameters, the cards on which they do nothing, and why."""


def idle(card: Requested, given: Collection[str]) -> tuple[str, str] | None:
    """Return the first of the parameters that does nothing on a card, and why; None if all do something."""
    for name in given:
        if not card.is_piv and name not in ("profile", "name"):
            return name, "is no PIV card, and keeps nothing"
        for names, is_idle, reason in _RULES:
            if name in names and is_idle(card):
                return name, reason
    return None

# SPDX-License-Identifier: MIT
"""Yubico's RESET and SET PIN RETRIES, which return a card to the state of a new one."""

from __future__ import annotations

import dataclasses

from ..image.state import Reference, StoredKey
from ..status import SW, CardError
from ..tables import (
    ATTESTATION,
    ATTESTATION_CERTIFICATE,
    DISCOVERY,
    LABEL_OBJECT,
    MANAGEMENT_KEY,
    PIN,
    PUK,
    TRAITS_OBJECT,
    Access,
    PinRule,
)
from ..token_traits import Traits
from .context import CommandContext
from .extensions import ResetApplication, SetPinRetries
from .management import DEFAULT_MANAGEMENT_KEY
from .references import DEFAULTS
from .security import SecurityStatus

_TRIES = 3
_KEPT = frozenset({ATTESTATION_CERTIFICATE, DISCOVERY, LABEL_OBJECT, TRAITS_OBJECT})


def set_pin_retries(context: CommandContext, command: SetPinRetries) -> bytes:
    """Set the default PIN and PUK with these retry limits. Raises CardError(6982) without management key and PIN."""
    context.status.require(Access.MANAGEMENT)
    context.status.require_pin(PinRule.ONCE)
    context.commit(references=_references(command.pin, command.puk))
    context.status.forget(PIN)
    return b""


def reset(context: CommandContext, command: ResetApplication) -> bytes:
    """Delete keys and data, set default PIN, PUK and management key; keeps the attestation key and the card's traits.

    Raises CardError(6985) unless PIN and PUK are blocked.
    """
    state = context.store.state
    if any(state.references[number].remaining for number in (PIN, PUK)):
        raise CardError(SW.CONDITIONS_NOT_SATISFIED)
    keys: dict[int, StoredKey | None] = {slot: None for slot in state.keys if slot != ATTESTATION}
    keys[MANAGEMENT_KEY] = StoredKey(context.variant.management_key_algorithm, DEFAULT_MANAGEMENT_KEY)
    objects = {tag: b"" for tag in state.objects if tag not in _KEPT}
    traits = Traits.decode(state.objects.get(TRAITS_OBJECT))
    fresh = dataclasses.replace(traits, management="default", uninitialised=False, pin_initialised=True)
    context.commit(_references(_TRIES, _TRIES), keys, {**objects, TRAITS_OBJECT: fresh.encode()})
    context.status = SecurityStatus()
    return b""


def _references(pin: int, puk: int) -> dict[int, Reference]:
    """Return PIN and PUK of a new card with these retry limits."""
    return {number: Reference(DEFAULTS[number], tries, tries) for number, tries in ((PIN, pin), (PUK, puk))}

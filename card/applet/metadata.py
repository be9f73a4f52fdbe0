# SPDX-License-Identifier: MIT
"""Yubico's GET METADATA, GET VERSION and GET SERIAL."""

from __future__ import annotations

from .. import tlv
from ..image.state import CardState
from ..status import SW, CardError
from ..tables import MANAGEMENT_KEY, PIN_POLICIES
from .context import CommandContext
from .extensions import GetMetadata, GetSerial, GetVersion
from .management import DEFAULT_MANAGEMENT_KEY
from .references import DEFAULTS

_ALGORITHM, _POLICY, _ORIGIN, _PUBLIC_KEY, _IS_DEFAULT, _TRIES = 1, 2, 3, 4, 5, 6
_CODES = {rule: code for code, rule in PIN_POLICIES.items()}
_NO_KEY = b"\xff"
"""In place of an algorithm, for PIN and PUK."""
_GENERATED, _IMPORTED = b"\1", b"\2"
_NO_PIN = 0


def get_metadata(context: CommandContext, command: GetMetadata) -> bytes:
    """Return a key's algorithm, policies, origin and public key; or the limit and value of a retry counter.

    For PIN, PUK and management key also whether they have the value of a new card. Raises CardError(6A88) for an empty
    slot and any other reference.
    """
    number, state = command.reference, context.store.state
    if number in state.references:
        return _of_reference(state, number)
    stored = state.keys.get(number)
    if stored is None:
        raise CardError(SW.REFERENCE_NOT_FOUND)
    algorithm = tlv.encode(_ALGORITHM, bytes([stored.algorithm]))
    if number == MANAGEMENT_KEY:
        is_default = stored.value == DEFAULT_MANAGEMENT_KEY
        return algorithm + tlv.encode(_POLICY, bytes((_NO_PIN, stored.touch))) + _default(is_default)
    policy = bytes((_CODES[stored.pin_rule], stored.touch))
    return b"".join(
        (
            algorithm,
            tlv.encode(_POLICY, policy),
            tlv.encode(_ORIGIN, _IMPORTED if stored.imported else _GENERATED),
            tlv.encode(_PUBLIC_KEY, context.keys.unpack(number, stored).public_template()),
        )
    )


def get_version(context: CommandContext, command: GetVersion) -> bytes:
    """Return the firmware's version in three bytes: major, minor, patch."""
    return context.variant.version


def get_serial(context: CommandContext, command: GetSerial) -> bytes:
    """Return the last four bytes of the serial number."""
    return context.store.state.serial[-4:]


def _of_reference(state: CardState, number: int) -> bytes:
    """Encode the metadata of PIN or PUK."""
    reference = state.references[number]
    tries = tlv.encode(_TRIES, bytes((reference.maximum, reference.remaining)))
    return tlv.encode(_ALGORITHM, _NO_KEY) + _default(reference.value == DEFAULTS.get(number)) + tries


def _default(is_default: bool) -> bytes:
    """Encode whether a value is that of a new card."""
    return tlv.encode(_IS_DEFAULT, bytes([is_default]))

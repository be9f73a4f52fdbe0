# SPDX-License-Identifier: MIT
"""GENERAL AUTHENTICATE (SP 800-73-5 part 2, 3.2.4): use of private keys and of the management key."""

from __future__ import annotations

from .. import tlv
from ..status import SW, CardError
from ..tables import ATTESTATION, CARD_AUTHENTICATION, EDWARDS_VARIANTS, MANAGEMENT_KEY, TRAITS_OBJECT, TouchPolicy
from ..token_traits import Traits
from ..touch import CACHED_SECONDS
from . import management
from .commands import GeneralAuthenticate
from .context import CommandContext
from .keys import EcKey, EdwardsKey, MontgomeryKey, PrivateKey

_CHALLENGE, _RESPONSE, _EXPONENTIATION, _VARIANT = 0x81, 0x82, 0x85, 0x8E
_TEMPLATE = 0x7C


def general_authenticate(context: CommandContext, command: GeneralAuthenticate) -> bytes:
    """Use a key and return the dynamic authentication template with the result.

    Raises CardError: 6A86 for a missing key, a key of another algorithm, and the attestation key (6A80 on Yubico's
    cards); 6982 without the PIN, without a touch, or without contacts; 6A80 for a malformed template.
    """
    algorithm, number, fields = command
    stored = context.store.state.keys.get(number)
    variants = EDWARDS_VARIANTS if context.variant.has_edwards_variants else {}
    if stored is None or stored.algorithm != variants.get(algorithm, algorithm) or number == ATTESTATION:
        raise CardError(SW.INCORRECT_P1P2 if context.variant.is_strict else SW.INCORRECT_DATA)
    if context.is_restricted and number != CARD_AUTHENTICATION:
        raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)
    if number == MANAGEMENT_KEY:
        if _RESPONSE in fields or len(fields) > 1:  # the step that proves the key
            _require_touch(context, stored.touch)
        return management.authenticate(stored, context.status, fields)
    context.status.require_pin(stored.pin_rule)
    if fields.get(_RESPONSE) != b"":
        raise CardError(SW.INCORRECT_DATA)
    _require_touch(context, stored.touch)
    result = _use(context.keys.unpack(number, stored), fields, algorithm in variants)
    return tlv.encode(_TEMPLATE, tlv.encode(_RESPONSE, result))


def _require_touch(context: CommandContext, touch: TouchPolicy) -> None:
    """Wait for the touch that the key's policy requires. Raises CardError(6982) when none comes in time."""
    if touch is TouchPolicy.NEVER or (touch is TouchPolicy.CACHED and context.sensor.was_touched(CACHED_SECONDS)):
        return
    traits = Traits.decode(context.store.state.objects.get(TRAITS_OBJECT))
    if not context.sensor.wait(traits.touch_timeout):
        raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)


def _use(key: PrivateKey, fields: dict[int, bytes], is_variant: bool) -> bytes:
    """Sign, decrypt or agree, whichever the key is for; on a NIST curve the field in the template selects which."""
    point, challenge = fields.get(_EXPONENTIATION), fields.get(_CHALLENGE)
    if point is not None and isinstance(key, (EcKey, MontgomeryKey)):
        return key.agree(point)
    if challenge is None or isinstance(key, MontgomeryKey):
        raise CardError(SW.INCORRECT_DATA)
    if is_variant and isinstance(key, EdwardsKey):
        return key.respond_variant(challenge, fields.get(_VARIANT, b""))
    return key.respond(challenge)

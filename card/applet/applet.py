# SPDX-License-Identifier: MIT
"""The PIV card application (SP 800-73-5 part 2, chapter 3): the table of commands and their handlers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .. import tlv
from ..apdu import Command
from ..status import SW, CardError
from ..tables import GLOBAL_PIN, INS, PIV_AID, PUK
from . import commands, extensions
from .attestation import attest
from .authenticate import general_authenticate
from .context import CommandContext
from .key_slots import generate_key_pair, import_key, move_key
from .management import set_management_key
from .metadata import get_metadata, get_serial, get_version
from .objects import get_data, put_data
from .references import change_reference_data, query_verification, reset_retry_counter, reset_verification, verify
from .security import SecurityStatus
from .variants import CardVariant
from .yubico_reset import reset, set_pin_retries

_HANDLERS: dict[type, Callable[[CommandContext, Any], bytes]] = {
    commands.GetData: get_data,
    commands.PutData: put_data,
    commands.Verify: verify,
    commands.QueryVerification: query_verification,
    commands.ResetVerification: reset_verification,
    commands.ChangeReferenceData: change_reference_data,
    commands.ResetRetryCounter: reset_retry_counter,
    commands.GeneralAuthenticate: general_authenticate,
    commands.GenerateKeyPair: generate_key_pair,
    extensions.ImportKey: import_key,
    extensions.MoveKey: move_key,
    extensions.SetManagementKey: set_management_key,
    extensions.GetMetadata: get_metadata,
    extensions.Attest: attest,
    extensions.SetPinRetries: set_pin_retries,
    extensions.ResetApplication: reset,
    extensions.GetVersion: get_version,
    extensions.GetSerial: get_serial,
}

_WANTS_CONTACT = frozenset({INS.VERIFY, INS.CHANGE_REFERENCE_DATA})
_NEVER_CONTACTLESS = frozenset(
    {
        INS.RESET_RETRY_COUNTER,
        INS.PUT_DATA,
        INS.GENERATE_ASYMMETRIC_KEY_PAIR,
        INS.IMPORT_KEY,
        INS.MOVE_KEY,
        INS.SET_MANAGEMENT_KEY,
    }
)


def _refuse_without_contacts(command: Command) -> None:
    """Refuse what needs contacts or a virtual contact interface (SP 800-73-5 part 1, tables 4 and 5; part 2, table 2).

    Raises CardError: 6982 for what the virtual contact interface would allow, 6A81 for what it would not, as the PUK.
    """
    is_puk = command.ins == INS.CHANGE_REFERENCE_DATA and command.p2 == PUK
    if is_puk or command.ins in _NEVER_CONTACTLESS:
        raise CardError(SW.FUNCTION_NOT_SUPPORTED)
    if command.ins in _WANTS_CONTACT:
        raise CardError(SW.SECURITY_STATUS_NOT_SATISFIED)


@functools.cache
def _parsers(variant: CardVariant) -> dict[int, Callable[[Command], tuple[Any, ...]]]:
    """Return the parsers of a card variant's commands, by instruction byte."""
    return {**commands.PARSERS, **{ins: extensions.PARSERS[ins] for ins in variant.extensions}}


class PivApplet:
    """The PIV card application during one activation of the card."""

    aid = PIV_AID

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._parsers = _parsers(context.variant)
        self._is_restricted = context.is_restricted

    def select(self) -> bytes:
        """Select PIV and return the application property template.

        Selecting it again keeps the security status (3.1.1), but on Yubico's cards.
        """
        if not self._context.variant.is_strict:
            self._context.status = SecurityStatus()
        self._context.status.command += 1
        return self._context.variant.properties

    def deselect(self) -> None:
        """Reset the security status because another application is selected.

        Only the global PIN, which is the card's and not PIV's, stays verified (3.1.1).
        """
        self._context.status = SecurityStatus(verified=self._context.status.verified & {GLOBAL_PIN})

    def execute(self, command: Command) -> bytes:
        """Execute one complete command and return the response data. Raises CardError and CardTorn."""
        context = self._context
        context.status.command += 1
        if command.cla:
            raise CardError(SW.CLA_NOT_SUPPORTED)
        if self._is_restricted:
            _refuse_without_contacts(command)
        parser = self._parsers.get(command.ins)
        if parser is None:
            raise CardError(SW.INS_NOT_SUPPORTED)
        try:
            request = parser(command)
        except tlv.TlvError:
            raise CardError(SW.INCORRECT_DATA) from None
        return _HANDLERS[type(request)](context, request)

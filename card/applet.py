# SPDX-License-Identifier: MIT
"""The PIV card application (SP 800-73-4 part 2, chapter 3): which function carries out which command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import tlv
from .apdu import Command
from .authenticate import general_authenticate
from .commands import (
    ChangeReferenceData,
    GeneralAuthenticate,
    GenerateKeyPair,
    GetData,
    GetMetadata,
    GetSerial,
    GetVersion,
    ImportKey,
    MoveKey,
    PutData,
    QueryVerification,
    ResetRetryCounter,
    ResetVerification,
    SetManagementKey,
    Verify,
    parse,
)
from .context import Context
from .inquiry import get_metadata, get_serial, get_version
from .key_slots import generate_key_pair, import_key, move_key
from .management import set_management_key
from .objects import get_data, put_data
from .references import change_reference_data, query_verification, reset_retry_counter, reset_verification, verify
from .tables import PIV_AID, RID_LENGTH, Algorithm

_PIX = PIV_AID[RID_LENGTH:]

APPLICATION_PROPERTY_TEMPLATE = tlv.encode(
    0x61,
    tlv.encode(0x4F, _PIX),
    tlv.encode(0x79, tlv.encode(0x4F, PIV_AID[:RID_LENGTH])),
    tlv.encode(0x50, b"PIV card application"),
    tlv.encode(0xAC, *(tlv.encode(0x80, bytes([each])) for each in Algorithm), tlv.encode(0x06, b"\0")),
)
"""The answer to SELECT (3.1.1, table 3)."""

_HANDLERS: dict[type, Callable[[Context, Any], bytes]] = {
    GetData: get_data,
    PutData: put_data,
    Verify: verify,
    QueryVerification: query_verification,
    ResetVerification: reset_verification,
    ChangeReferenceData: change_reference_data,
    ResetRetryCounter: reset_retry_counter,
    GeneralAuthenticate: general_authenticate,
    GenerateKeyPair: generate_key_pair,
    ImportKey: import_key,
    MoveKey: move_key,
    SetManagementKey: set_management_key,
    GetMetadata: get_metadata,
    GetVersion: get_version,
    GetSerial: get_serial,
}


class PivApplet:
    """PIV in one activation."""

    aid = PIV_AID

    def __init__(self, context: Context) -> None:
        self._context = context

    def select(self) -> bytes:
        """Selecting PIV again keeps the security status (3.1.1)."""
        self._context.status.command += 1
        return APPLICATION_PROPERTY_TEMPLATE

    def execute(self, command: Command) -> bytes:
        """A whole command to a whole answer. Raises CardError and CardTorn."""
        context = self._context
        context.status.command += 1
        request = parse(command)
        return _HANDLERS[type(request)](context, request)

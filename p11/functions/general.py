# SPDX-License-Identifier: MIT
"""C_Finalize and the functions of parallel operation (5.4, 5.20)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKR
from ..errors import P11Error
from ..sessions import Session


def C_Finalize(caller: Caller) -> None:
    """End the application; its connections are closed afterwards."""
    caller.application.close()


def C_GetFunctionStatus(caller: Caller, session: Session) -> None:
    """Return CKR_FUNCTION_NOT_PARALLEL."""
    raise P11Error(CKR.FUNCTION_NOT_PARALLEL)


def C_CancelFunction(caller: Caller, session: Session) -> None:
    """Return CKR_FUNCTION_NOT_PARALLEL."""
    raise P11Error(CKR.FUNCTION_NOT_PARALLEL)

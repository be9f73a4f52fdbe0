# SPDX-License-Identifier: MIT
"""General-purpose functions and the legacy of parallel ones (5.4, 5.20)."""

from __future__ import annotations

from ..caller import Caller
from ..constants import CKR
from ..errors import P11Error
from ..sessions import Session


def C_Finalize(caller: Caller) -> None:
    """The application's state goes at once; its connections follow."""
    caller.application.close()


def C_GetFunctionStatus(caller: Caller, session: Session) -> None:
    """There are no parallel functions."""
    raise P11Error(CKR.FUNCTION_NOT_PARALLEL)


def C_CancelFunction(caller: Caller, session: Session) -> None:
    """There are no parallel functions."""
    raise P11Error(CKR.FUNCTION_NOT_PARALLEL)

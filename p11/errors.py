# SPDX-License-Identifier: MIT
"""How failure is said in PKCS #11: one exception that carries the CK_RV, and one table from status words to it."""

from __future__ import annotations

from ..card.status import SW
from .constants import CKR


class P11Error(Exception):
    """Raised at the place that knows the return value; turned into an answer in dispatch.py, once.

    `results` are the outputs that go with it, for the few functions that have both (CKR_BUFFER_TOO_SMALL and its
    length, C_GetAttributeValue).
    """

    def __init__(self, value: CKR, *results: object) -> None:
        super().__init__(value.name)
        self.value = value
        self.results = results


STATUS_TO_CKR: dict[int, CKR] = {
    SW.SECURITY_STATUS_NOT_SATISFIED: CKR.USER_NOT_LOGGED_IN,
    SW.AUTHENTICATION_METHOD_BLOCKED: CKR.PIN_LOCKED,
    SW.WRONG_LENGTH: CKR.DATA_LEN_RANGE,
    SW.INCORRECT_DATA: CKR.DATA_INVALID,
    SW.NOT_ENOUGH_MEMORY: CKR.DEVICE_MEMORY,
    SW.NOT_FOUND: CKR.DEVICE_ERROR,
}


def from_status(status: int) -> P11Error:
    """The error for a status word other than 9000 (ISO/IEC 7816-4, 5.6; SP 800-73-4 part 2, table 6)."""
    if status & 0xFFF0 == 0x63C0:
        return P11Error(CKR.PIN_LOCKED if status & 0xF == 0 else CKR.PIN_INCORRECT)
    return P11Error(STATUS_TO_CKR.get(status, CKR.DEVICE_ERROR))

# SPDX-License-Identifier: MIT
"""Status words (ISO/IEC 7816-4, 5.6; SP 800-73-5 part 2, table 6) and the exception that carries one."""

from enum import IntEnum, unique


@unique
class SW(IntEnum):
    """The status words of this card."""

    OK = 0x9000
    VERIFICATION_FAILED = 0x6300
    MEMORY_FAILURE = 0x6581
    WRONG_LENGTH = 0x6700
    LOGICAL_CHANNEL_NOT_SUPPORTED = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
    CHAINING_NOT_FINISHED = 0x6883
    SECURITY_STATUS_NOT_SATISFIED = 0x6982
    AUTHENTICATION_METHOD_BLOCKED = 0x6983
    CONDITIONS_NOT_SATISFIED = 0x6985
    INCORRECT_DATA = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    NOT_FOUND = 0x6A82
    NOT_ENOUGH_MEMORY = 0x6A84
    INCORRECT_P1P2 = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    INS_NOT_SUPPORTED = 0x6D00
    CLA_NOT_SUPPORTED = 0x6E00
    INTERNAL_ERROR = 0x6F00


def verification_failed(count: int) -> int:
    """Return 63Cx: verification failed, x further tries are allowed."""
    return 0x63C0 | min(count, 15)


def more_data(count: int) -> int:
    """Return 61xx: this many bytes are left for GET RESPONSE; 00 stands for 256 or more."""
    return 0x6100 | (count if count < 256 else 0)


def wrong_le(count: int) -> int:
    """Return 6Cxx: fewer bytes than Le are available, namely xx."""
    return 0x6C00 | count


class CardError(Exception):
    """Raised to end a command with a status word other than 9000."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:04X}")
        self.status = status

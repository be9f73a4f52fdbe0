# SPDX-License-Identifier: MIT
"""The return values for a card's status words, by the kind of command: one table.

The status words are those of ISO/IEC 7816-4 (5.6) and SP 800-73-5 part 2 (table 6), as PIV cards use them. Warnings
(62xx) come with data; piv_client.py handles 61xx, 6Cxx and, after another SELECT, 6D00 and 6E00.
"""

from __future__ import annotations

from enum import IntEnum, unique

from .constants import CKR
from .errors import P11Error


@unique
class To(IntEnum):
    """The kinds of command; the columns of the table.

    VERIFY is to compare PIN or PUK, CHANGE to change them with CHANGE REFERENCE DATA or RESET RETRY COUNTER; USE is to
    use a private key, PROVE to authenticate with the management key, WRITE to write or delete data, MAKE to generate or
    import a key.
    """

    VERIFY = 0
    CHANGE = 1
    USE = 2
    PROVE = 3
    WRITE = 4
    MAKE = 5


# `x` stands for any digit; the first row that fits counts. To PROVE, PIN_INCORRECT means: not with this key.
_TABLE = """
63C0 PIN_LOCKED               PIN_LOCKED      DEVICE_ERROR       PIN_INCORRECT   DEVICE_ERROR       DEVICE_ERROR
63xx PIN_INCORRECT            PIN_INCORRECT   DEVICE_ERROR       PIN_INCORRECT   DEVICE_ERROR       DEVICE_ERROR
6700 PIN_INCORRECT            PIN_LEN_RANGE   DATA_LEN_RANGE     PIN_INCORRECT   DEVICE_MEMORY      ATTRIBUTE_VALUE_INVALID
6982 FUNCTION_FAILED          FUNCTION_FAILED USER_NOT_LOGGED_IN PIN_INCORRECT   USER_NOT_LOGGED_IN USER_NOT_LOGGED_IN
6983 PIN_LOCKED               PIN_LOCKED      USER_NOT_LOGGED_IN PIN_INCORRECT   USER_NOT_LOGGED_IN USER_NOT_LOGGED_IN
6984 PIN_LOCKED               PIN_LOCKED      USER_NOT_LOGGED_IN PIN_INCORRECT   DEVICE_ERROR       DEVICE_ERROR
6985 FUNCTION_FAILED          FUNCTION_FAILED FUNCTION_REJECTED  FUNCTION_FAILED FUNCTION_FAILED    FUNCTION_FAILED
6986 FUNCTION_FAILED          FUNCTION_FAILED FUNCTION_FAILED    FUNCTION_FAILED FUNCTION_FAILED    FUNCTION_FAILED
6A80 PIN_INCORRECT            PIN_INVALID     DATA_INVALID       PIN_INCORRECT   DEVICE_ERROR       ATTRIBUTE_VALUE_INVALID
6A81 FUNCTION_FAILED          FUNCTION_FAILED FUNCTION_FAILED    FUNCTION_FAILED FUNCTION_FAILED    FUNCTION_FAILED
6A84 DEVICE_MEMORY            DEVICE_MEMORY   DEVICE_MEMORY      DEVICE_MEMORY   DEVICE_MEMORY      DEVICE_MEMORY
6A86 DEVICE_ERROR             DEVICE_ERROR    DEVICE_ERROR       PIN_INCORRECT   DEVICE_ERROR       TEMPLATE_INCONSISTENT
6A88 USER_PIN_NOT_INITIALIZED PIN_INCORRECT   DEVICE_ERROR       FUNCTION_FAILED DEVICE_ERROR       DEVICE_ERROR
xxxx DEVICE_ERROR             DEVICE_ERROR    DEVICE_ERROR       DEVICE_ERROR    DEVICE_ERROR       DEVICE_ERROR
"""  # noqa: E501 - a table
# A contactless interface that does not take a PIN returns 6982 and 6A81 to VERIFY and CHANGE. 6700 and 6A80 to VERIFY
# mean that the PIN is malformed, 6985 to USE that the touch sensor has not been touched.

STATUS_WORDS: dict[str, tuple[CKR, ...]] = {
    pattern: tuple(CKR[name] for name in names)
    for pattern, *names in (line.split() for line in _TABLE.strip().splitlines())
}
"""By status word, as four hexadecimal digits."""

_REFUSALS = frozenset({0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6D, 0x6E})


def is_refusal(status: int) -> bool:
    """Return whether the card has refused the command: a checking error (ISO/IEC 7816-4, table 5).

    Any other status word but success and a warning is a failure in the card, and does not tell whether it has what was
    asked for.
    """
    return status >> 8 in _REFUSALS


def error_for(to: To, status: int) -> P11Error:
    """Return the error for a status word other than 9000."""
    digits = f"{status:04X}"
    for pattern in (digits, digits[:2] + "xx", "xxxx"):
        if pattern in STATUS_WORDS:
            return P11Error(STATUS_WORDS[pattern][to])
    raise AssertionError("the last row fits everything")

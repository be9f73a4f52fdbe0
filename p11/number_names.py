# SPDX-License-Identifier: MIT
"""Names of the numbers of PKCS #11, as people read them."""

from __future__ import annotations

from enum import IntEnum


def name_of(kind: type[IntEnum], value: int) -> str:
    """Return the name of a number of the standard, as CKR_OK; unknown ones in hexadecimal."""
    try:
        return f"{kind.__name__}_{kind(value).name}"
    except ValueError:
        return f"{kind.__name__} 0x{value:X}"

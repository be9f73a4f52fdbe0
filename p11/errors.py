# SPDX-License-Identifier: MIT
"""P11Error: the exception that carries a function's return value, and the outputs that go with it."""

from __future__ import annotations

from .constants import CKR


class P11Error(Exception):
    """Raised where the return value is known; dispatch.py makes the reply of it, in one place.

    `value` is the CK_RV. `results` are outputs besides it, for the few functions that have both (the length with
    CKR_BUFFER_TOO_SMALL, C_GetAttributeValue).
    """

    def __init__(self, value: CKR, *results: object) -> None:
        super().__init__(value.name)
        self.value = value
        self.results = results


class ForcedValue(P11Error):
    """A return value set by a quirk, which the function returns even if the standard does not list it."""

# SPDX-License-Identifier: MIT
"""How failure is said in PKCS #11: exceptions that carry the CK_RV."""

from __future__ import annotations

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


class Misbehaviour(P11Error):
    """A value that a function shall return whatever the standard says of it: a quirk's."""

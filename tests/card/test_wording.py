# SPDX-License-Identifier: MIT
"""Suggestions for misspelt words."""

from __future__ import annotations

import pytest
from cardtear.card.wording import meant
from cardtear.p11.calls import CALLS

NAMES = [each.name for each in CALLS]
VERBS = ["remove", "insert", "swap", "reset", "close-sessions"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("C_Sing", "C_Sign"),
        ("C_Singinit", "C_SignInit"),
        ("C_Lgoin", "C_Login"),
        ("C_logn", "C_Login"),
        ("c_logout", "C_Logout"),
        ("Sign", "C_Sign"),
        ("C_FindObject", "C_FindObjects"),
        ("C_SignFinl", "C_SignFinal"),
        ("C_GetSlotLst", "C_GetSlotList"),
        ("C_WaitForSlotEvnet", "C_WaitForSlotEvent"),
    ],
)
def test_a_call_is_suggested_by_the_letters_after_its_prefix(word: str, name: str) -> None:
    assert meant(word, NAMES) == f"; did you mean {name!r}?"


@pytest.mark.parametrize("name", NAMES)
def test_every_call_is_suggested_for_two_letters_in_the_wrong_order(name: str) -> None:
    """Unless that is what another call is called."""
    swapped = f"{name[:-2]}{name[-1]}{name[-2]}"
    assert meant(swapped, NAMES) == f"; did you mean {name!r}?"


@pytest.mark.parametrize("word", ["C_Burn", "C_", "", "x", "C_Xyz"])
def test_nothing_is_suggested_for_what_is_like_no_call(word: str) -> None:
    assert meant(word, NAMES) == ""


@pytest.mark.parametrize(
    ("word", "name"), [("remov", "remove"), ("wsap", "swap"), ("restet", "reset"), ("closesessions", "close-sessions")]
)
def test_verbs_are_suggested_too(word: str, name: str) -> None:
    assert meant(word, VERBS) == f"; did you mean {name!r}?"


def test_a_return_value_is_not_suggested_for_its_prefix_alone() -> None:
    known = ["CKR_DEVICE_ERROR", "CKR_OK"]
    assert meant("CKR_DEVICE_GONE", known) == ""
    assert meant("CKR_DEVICE_EROR", known) == "; did you mean 'CKR_DEVICE_ERROR'?"
    assert meant("remove", []) == ""

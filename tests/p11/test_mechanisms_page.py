# SPDX-License-Identifier: MIT
"""docs/mechanisms.md names every mechanism that the module knows, there or not."""

from __future__ import annotations

import re
from pathlib import Path

from cardtear.p11.constants import CKM
from cardtear.p11.mechanisms import KNOWN
from pages.mechanisms_page import page


def test_the_page_is_fresh() -> None:
    assert (Path(__file__).parents[2] / "docs" / "mechanisms.md").read_text() == page()


def test_nothing_is_left_out() -> None:
    """Each name is once on the page: in the table if it is offered, below it otherwise."""
    table, below = page().split("## Not there")
    named = [re.findall("`CKM_([A-Z0-9_]+)`", part) for part in (table, below)]
    assert sorted(named[0]) == sorted(each.name for each in CKM if each in KNOWN)
    assert sorted(named[1]) == sorted(each.name for each in CKM if each not in KNOWN and each.name != "VENDOR_DEFINED")

# SPDX-License-Identifier: MIT
"""docs/rules.md has every rule after which a test is named, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_and_the_tests_have_the_same_rules() -> None:
    page = (ROOT / "docs" / "rules.md").read_text()
    told = re.findall(r"^\| ([RF]\d\d) \|", page, flags=re.MULTILINE)
    named = {
        rule
        for file in (ROOT / "tests" / "rules").rglob("test_*.py")
        for rule in re.findall(r"def test_([RF]\d\d)_", file.read_text())
    }
    assert len(told) == len(set(told))
    assert set(told) == named

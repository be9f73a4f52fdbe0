# SPDX-License-Identifier: MIT
"""What the documentation shows can be played."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import Play

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = [
    text
    for file in ("README.md", "docs/scenarios.md")
    for text in re.findall(r"^```yaml\n(.*?)^```", (ROOT / file).read_text(), re.DOTALL | re.MULTILINE)
    if "steps:" in text
]


@pytest.mark.needs("pkcs11-tool")
@pytest.mark.parametrize("text", EXAMPLES, ids=["README", "reference"])
def test_an_example(passes: Play, text: str) -> None:
    passes(text)

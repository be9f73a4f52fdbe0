# SPDX-License-Identifier: MIT
"""Make the text of a JUnit XML file of its elements, and clean what goes into them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def document(suite: ElementTree.Element) -> str:
    """Return the file with this element in it."""
    ElementTree.indent(suite)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(suite, encoding='unicode')}"


def clean(text: str) -> str:
    """Return text without what XML 1.0 has no place for (its production 2)."""
    return _NOT_XML.sub("\ufffd", text)

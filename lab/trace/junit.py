# SPDX-License-Identifier: MIT
"""Make the text of a JUnit XML file of its elements. Text from outside goes into them as terminal.lines() has it."""

from __future__ import annotations

from xml.etree import ElementTree


def document(suite: ElementTree.Element) -> str:
    """Return the file with this element in it."""
    ElementTree.indent(suite)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(suite, encoding='unicode')}"

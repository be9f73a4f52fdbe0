# SPDX-License-Identifier: MIT
"""The text of a JUnit XML file. Elements have text from outside as lines() of card/shown.py returns it."""

from __future__ import annotations

from xml.etree import ElementTree


def document(suite: ElementTree.Element) -> str:
    """Return the XML file of a test suite."""
    ElementTree.indent(suite)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(suite, encoding='unicode')}"

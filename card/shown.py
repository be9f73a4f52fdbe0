# SPDX-License-Identifier: MIT
"""Show text from outside as text: control characters become visible escapes, never carried out by a terminal."""

from __future__ import annotations

_NAMES = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def shown(text: str) -> str:
    """Return text in one line in which nothing is left that a terminal would carry out: `\\x1b` for an escape.

    What is no printable character has its number, as in repr(); bytes that are no UTF-8 have theirs.
    """
    return text if text.isprintable() else "".join(each if each.isprintable() else _visible(each) for each in text)


def lines(text: str) -> str:
    """Return text of several lines, each as `shown` has it."""
    return "\n".join(map(shown, text.replace("\r\n", "\n").split("\n")))


def _visible(character: str) -> str:
    """Return the escape sequence that shows a character."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte, as Python decodes file names
        return f"\\x{number - 0xDC00:02x}"
    digits = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    return _NAMES.get(character, digits)

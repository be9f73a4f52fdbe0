# SPDX-License-Identifier: MIT
"""Commands and answers byte by byte, from the files in transcripts/, one for each command.

A line is `> command`, `< answer` (`..` stands for any bytes), or `! step`: reset, contactless (a reset, over the other
interface), select, verify, manage, or `card PROFILE NAME=VALUE`, another card. Each file begins with a card of profile
`piv` that has just been reset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.applet.piv_card import PivCard
from cardtear.card.token_traits import from_text

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))


def lines(transcript: Path) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(transcript.read_text().splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content[0], content[1:].strip()


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(transcript: Path, new_card: Callable[..., PivCard], power: Callable[..., Any]) -> None:
    card = new_card()
    terminal = power(card, select=False)
    response = ""
    for number, kind, text in lines(transcript):
        where = f"{transcript.name}:{number}"
        if kind == "!" and text in ("reset", "contactless"):
            terminal = power(card, select=False, is_contactless=text == "contactless")
        elif kind == "!" and text.startswith("card "):
            profile, *parameters = text.split()[1:]
            card = new_card(profile, **dict(map(from_text, parameters)))
            terminal = power(card, select=False)
        elif kind == "!":
            assert getattr(terminal, text)() in (None, 0x9000), where
        elif kind == ">":
            assert response == "", f"{where}: the answer before this was not looked at"
            response = terminal.activation.transmit(bytes.fromhex(text)).hex().upper()
        else:
            assert re.fullmatch(text.replace(" ", "").replace("..", ".*"), response), f"{where}: {response}"
            response = ""


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 8

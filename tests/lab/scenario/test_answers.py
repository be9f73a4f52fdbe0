# SPDX-License-Identifier: MIT
"""A program that answers something else, nothing, or not any more: the step says so."""

from __future__ import annotations

import re

import pytest

from .conftest import Play

PROGRAMS = {
    "echo no": r"awaited the answer /\^yes\$/ of it, but came: no$",
    "true": r"awaited the answer /\^yes\$/ of it within 500ms, but it says nothing",
    "printf yes": r"awaited the answer /\^yes\$/ of it within 500ms, but it says nothing",
    "echo why >&2; exit": r"awaited the answer /\^yes\$/ of it within 500ms, but it has ended\nwhy$",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_answer_that_is_not_awaited(play: Play, program: str) -> None:
    outcome = play(
        f"""
        steps:
        - run: [sh, -c, 'while read line; do {program}; done']
          name: it
          background: true
        - ask: {{it: question}}
          answer: ^yes$
          within: 500ms
        """
    )
    assert outcome.status == "failed"
    assert re.search(PROGRAMS[program], outcome.message), outcome.message

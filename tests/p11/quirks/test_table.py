# SPDX-License-Identifier: MIT
"""The table of quirks: what can be asked for, and that it says of each what there is to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cardtear.p11.functions import HANDLERS
from cardtear.p11.quirks import BUGS, PROFILES, ROWS, Quirks
from cardtear.p11.quirks.calls import layered
from pages.quirks_page import page


def test_by_default_there_is_none_and_nothing_is_in_the_way() -> None:
    assert not Quirks().given
    assert str(Quirks()) == ""
    assert Quirks.parse([]) == Quirks.parse(["removable=true", "hang="]) == Quirks()
    around = layered(HANDLERS, Quirks.parse(["latency=C_Sign:1"]))
    assert set(around) == set(HANDLERS)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_its_settings(name: str) -> None:
    quirks = Quirks.parse([name])
    assert quirks.given
    assert Quirks.parse(str(quirks).split()) == quirks
    assert Quirks.parse([name, "nss-poll"]).wfse_mode == "notsupp"


@pytest.mark.parametrize(
    "setting",
    [
        "nothing",
        "no=1",
        "handle_reuse=perhaps",
        "stale_handle_rv",
        "stale_handle_rv=CKR_NOTHING",
        "wfse_mode=loud",
        "latency=C_Sign",
        "latency=C_Sing:1",
        "latency=C_Sign:nan",
        "latency=C_Sign:-1",
        "event_loss=2",
        "event_drop=everything",
        "session_info_apdus=-1",
        "hang=C_Nothing",
    ],
)
def test_what_does_not_exist_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="quirk"):
        Quirks.parse([setting])


def test_every_quirk_is_known_from_somewhere() -> None:
    for name, row in ROWS.items():
        assert row.about, name
        assert row.seen, name
        assert row.link.startswith("https://"), name


def test_every_bug_has_its_quirks() -> None:
    assert list(BUGS) == [f"B{number:02}" for number in range(1, 34)]
    for name, bug in BUGS.items():
        given = Quirks.parse(bug.settings).given
        assert given, name
        assert any(name in ROWS[quirk].bugs for quirk in given), name
    named = {bug for row in ROWS.values() for bug in row.bugs}
    assert named == set(BUGS)


def test_the_command_lists_them() -> None:
    shown = _run("quirks", "--json")
    assert set(shown["profiles"]) == set(PROFILES)
    assert set(shown["quirks"]) == set(ROWS)
    assert set(shown["bugs"]) == set(BUGS)


def _run(*arguments: str) -> Any:
    command = [sys.executable, "-m", "cardtear.lab.cli.main", *arguments]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)


def test_the_page_is_fresh() -> None:
    assert (Path(__file__).parents[3] / "docs" / "quirks.md").read_text() == page()

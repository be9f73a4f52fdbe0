# SPDX-License-Identifier: MIT
"""Each verdict, shown on an application that misbehaves on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Sweep = Callable[..., Any]
CALLS = ["--at", "calls"]
_FEW = [f"host#1:1/{call}#1@before" for call in ("C_Login", "C_SignInit", "C_Sign")]
_FEW_IN_TIME = ["--deadline", "2s", *(word for name in _FEW for word in ("--only", name))]
"""Each hang costs its deadline twice, which has to be long enough for a busy machine to come to the point."""


def test_a_program_without_fault(sweep: Sweep, host: str) -> None:
    """Every call and every APDU: an error, in time, and it works again. After its last call nothing matters."""
    swept = sweep([], host, "clean")
    assert swept.code == 0, swept.output
    assert set(swept.counts) == {"success", "clean error"}
    assert swept.counts.total() == len(swept.report["points"]) > 40
    (login,) = swept.at("C_Login#1@before")
    assert (login["verdict"], login["run"]["ended"]["code"]) == ("clean error", 1)
    assert login["run"]["failures"] == {"C_Login CKR_SESSION_HANDLE_INVALID": 1}
    (verify,) = [
        each for each in swept.report["outcomes"] if each["about"] == "VERIFY 80" and "C_Login" in each["name"]
    ]
    assert verify["run"]["failures"] == {"C_Login CKR_DEVICE_REMOVED": 1}
    assert verify["again"]["code"] == 0
    assert verify["records"] == []


@pytest.mark.parametrize(
    ("mode", "verdict", "words"),
    [
        ("crash", "crash", "SIGSEGV"),
        ("hang", "hang", "outside the module"),
        ("retry", "retried PIN", "1 C_Login"),
        ("stuck", "did not recover", "with the card back: exit 3"),
    ],
)
def test_verdicts(sweep: Sweep, host: str, mode: str, verdict: str, words: str) -> None:
    """What the program does at an error is what is said of the point."""
    more = {"stuck": ["--prepare", "true"], "hang": _FEW_IN_TIME}.get(mode, [])
    swept = sweep([*CALLS, *more], host, mode)
    assert swept.code == 1, swept.output
    found = swept.of(verdict)
    assert {"C_Login", "C_SignInit", "C_Sign"} <= {each["name"].split("/")[1].split("#")[0] for each in found}
    assert all(words in each["words"] for each in found), found
    assert all(any(entry.get("change") == "remove" for entry in each["records"]) for each in found)
    assert set(swept.counts) <= {verdict, "success", "clean error"}


def test_a_verdict_that_is_allowed(sweep: Sweep, host: str) -> None:
    """It is still told, and no failure any more."""
    swept = sweep([*CALLS, "--allow", "retried PIN"], host, "retry")
    assert swept.code == 0, swept.output
    assert swept.counts["retried PIN"] > 0


def test_a_program_that_asks_for_ever(sweep: Sweep, host: str) -> None:
    """A hang too; of its endless time line as much is kept as can be read."""
    name = "host#1:1/C_Sign#1@before"
    swept = sweep(["--only", name, "--deadline", "1s"], host, "spin")
    assert swept.code == 1, swept.output
    (point,) = swept.of("hang")
    assert point["run"]["calls"] > 100
    assert len(point["records"]) < 3000


def test_a_point_that_is_not_reached(sweep: Sweep, host: str, tmp_path: Any) -> None:
    """The third run makes one call less: that is said, and is no success."""
    swept = sweep([*CALLS, "-j", "1"], host, "short", str(tmp_path / "runs"))
    assert swept.code == 1, swept.output
    (point,) = swept.of("unreached")
    assert point["name"] == "host#1:1/C_GetSlotList#2@before"
    assert point["earlier"] == "unreached"


def test_a_hang_that_does_not_come_again(sweep: Sweep, host: str, tmp_path: Any) -> None:
    """It is played a second time before it is said; what was seen the first time is told."""
    script = f"echo >>{tmp_path}/runs; [ $(wc -l <{tmp_path}/runs) = 3 ] && exec {host} hang; exec {host} clean"
    swept = sweep(["--only", "host#1:1/C_Sign#1@before", "--deadline", "1s"], "sh", "-c", script)
    (point,) = swept.report["outcomes"]
    assert (point["verdict"], point["earlier"]) == ("clean error", "hang")
    assert "the first time: hang" in point["words"]


def test_points_of_one_run_only(sweep: Sweep, host: str, tmp_path: Any) -> None:
    """What comes by chance is named, and not played."""
    (tmp_path / "runs").write_text("x")
    swept = sweep(CALLS, host, "short", str(tmp_path / "runs"))
    assert swept.code == 0, swept.output
    assert swept.report["odd"] == ["host#1:1/C_GetSlotList#2@before"]
    assert "came in one of two runs only" in swept.output


def test_threads_and_processes_are_told_apart(sweep: Sweep, host: str) -> None:
    """A point is found again whatever the order in which threads are served."""
    swept = sweep(CALLS, host, "threads")
    assert swept.code == 0, swept.output
    assert len(swept.at("host#1:2/C_GetSlotList#")) == 20
    assert swept.at("host#1:1/C_Sign#1@before")
    swept = sweep(CALLS, host, "twice")
    assert swept.code == 0, swept.output
    assert len(swept.at("host#1:1/C_Sign#1")) == len(swept.at("host#2:1/C_Sign#1")) == 1


def test_quirks(sweep: Sweep, host: str) -> None:
    """The same program over a module that misbehaves."""
    quirk = "absent_handle_rv=CKR_GENERAL_ERROR"
    swept = sweep(["--quirks", quirk, "--only", "host#1:1/C_Sign#1@before"], host, "clean")
    (point,) = swept.report["outcomes"]
    assert "C_Sign CKR_GENERAL_ERROR" in point["words"]
    assert point["verdict"] == "clean error"

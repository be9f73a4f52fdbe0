# SPDX-License-Identifier: MIT
"""The benchmark runs through and says everything that it shall; how fast things are is not asked here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarking.__main__ import COLUMNS, collect, machine, show, show_markdown
from benchmarking.equipment import SOFTHSM
from benchmarking.rows import ResultRow

DEADLINE = 110
WITH_A_TARGET = {
    "C_GetSlotInfo",
    "C_GetSessionInfo",
    "SignInit + Sign, RSA-2048",
    "SignInit + Sign, P-256",
    "P-256 signatures",
    "RSA-2048 signatures, 1 thread",
    "RSA-2048 signatures, 4 threads",
    "AES-256-GCM of 1 MB",
    "RSA-2048 key generation",
    "search of 100 objects, card just inserted",
    "remove -> C_WaitForSlotEvent",
    "dlopen to first RSA signature",
    "cardtear serve to ready",
    "cardtear serve, resident",
    "a test's card, ready",
    "APDU in-process: VERIFY",
    "APDU in-process: GET DATA of 2 kB",
    "APDU in-process: GENERAL AUTHENTICATE, RSA-2048",
    "opening a card image",
    "memory for each of 50 idle cards",
    "insertion beside 50 other cards",
    "SCardTransmit",
    "a sweep point, above the time of its command",
    "cores' time used by a sweep, 8 points at a time",
}
NONE_OF = {
    "APDUs of the same again",
    "APDUs of 200 polling calls",
    "sessions alive after remove, of 100",
    "calls that outran a trigger, of 100",
}


@pytest.mark.needs("softhsm2-util", "pkcs11-tool", "cc")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a pcscd")
def test_the_quick_benchmark_gives_every_row() -> None:
    assert SOFTHSM
    done = subprocess.run(
        (sys.executable, "-m", "benchmarking", "--quick", "--json"),
        cwd=Path(__file__).resolve().parents[2] / "scripts",
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"cpu", "cores", "kernel", "python", "openssl", "load"} == report["machine"].keys()
    rows = {row["what"]: row for row in report["rows"]}
    assert rows.keys() >= WITH_A_TARGET | NONE_OF
    for name, row in rows.items():
        assert row.keys() == {*ResultRow._fields, "met"}
        assert isinstance(row["p50"], float | int), name
        assert row["p99"] is None or row["p99"] >= row["p50"] > 0, name
        assert all(value > 0 for value in row["references"].values()), name
        assert (row["limit"] is None) == (row["met"] is None), name
    for name in WITH_A_TARGET:
        assert rows[name]["value"] > 0, name
        assert rows[name]["limit"] is not None, name
        assert rows[name]["target"], name
    for name in NONE_OF:  # these are no times: they hold on any machine
        assert rows[name]["value"] == 0, name
    beside = {name for name, row in rows.items() if "SoftHSM2" in row["references"]}
    assert {"RSA-2048 signatures, 4 threads", "AES-256-GCM of 1 MB", "RSA-2048 key generation"} <= beside


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "met"),
    [(1, 2, False, True), (3, 2, False, False), (1, 2, True, False), (3, 2, True, True), (3, None, False, None)],
)
def test_a_row_is_met_on_the_right_side_of_its_limit(
    value: float, limit: float | None, at_least: bool, met: bool | None
) -> None:
    assert ResultRow("", 0, None, "us", {}, "", value, limit, at_least).met is met


def test_the_tables_say_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are told one by one while it runs, on standard error; on standard output stands the table alone."""
    measured = [
        ResultRow("a call", 16.4, 44.0, "us", {"echo": 9.0}, "p50 <= 2 x echo = 18", 16.4, 18, False),
        ResultRow("resident", 61.0, None, "MB", {}, "<= 60", 61.0, 60, False),
    ]
    rows = collect(iter(measured))
    assert capsys.readouterr() == ("", "a call: 16\nresident: 61 MB\n")
    about = {**machine(), "load": 0.25}
    show_markdown(about, rows)
    title, _, *table = capsys.readouterr().out.splitlines()
    assert "load 0.25" in title
    assert table == [
        f"| {' | '.join(COLUMNS)} |",
        "|---|---:|---:|---|---|---|",
        "| a call | 16 | 44 | echo 9 | p50 <= 2 x echo = 18 | met |",
        "| resident | 61 MB |  |  | <= 60 | missed |",
    ]
    show(about, rows)
    assert "missed" in capsys.readouterr().out

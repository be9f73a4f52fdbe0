# SPDX-License-Identifier: MIT
"""Records of the trace, and the time line made of them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.lab.control.client import Control
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.trace.records import as_record
from cardtear.lab.trace.timeline import Timeline
from cardtear.p11.calls import CALLS
from cardtear.p11.constants import CKA, CKM, CKR
from cardtear.reader.trace import CallEntry, Hidden
from rich.console import Console

from ...shared.host.host import Host

_SAMPLES: dict[str, object] = {
    **dict.fromkeys("uyr", 1),
    **dict.fromkeys("lbnpP", Hidden(6)),
    **dict.fromkeys("mMwW", int(CKM.RSA_PKCS)),
    "s": "C_Sign",
    "t": [int(CKA.CLASS)],
    "q": [(int(CKA.VALUE), None)],
    **dict.fromkeys("BLF", 100),
}


def _call(number: int, name: str, *arguments: str) -> dict[str, Any]:
    return {
        "kind": "call",
        "number": number,
        "call": number,
        "time": number / 1000,
        "application": "app[7]",
        "thread": 7,
        "name": name,
        "arguments": list(arguments),
    }


def _return(number: int, call: int, name: str, value: CKR = CKR.OK) -> dict[str, Any]:
    rv = f"CKR_{value.name}"
    return {
        "kind": "return",
        "number": number,
        "call": call,
        "time": number / 1000,
        "name": name,
        "value": value,
        "rv": rv,
    }


def _apdu(number: int, call: int | None, command: str, status: str | None, **lengths: int) -> dict[str, Any]:
    return {
        "kind": "apdu",
        "number": number,
        "call": call,
        "time": number / 1000,
        "reader": "front",
        "card": "Alice",
        "command": command,
        "command_length": lengths.get("command_length", 4),
        "response": "",
        "response_length": lengths.get("response_length", 0),
        "status": status,
    }


def _event(number: int, change: str, call: int | None = None) -> dict[str, Any]:
    where = {"reader": "front", "card": "Alice"}
    return {"kind": "event", "number": number, "call": call, "time": number / 1000, "change": change, **where}


def _shown(*records: dict[str, Any], **options: Any) -> list[str]:
    """The lines without the clock."""
    console = Console(file=io.StringIO(), width=200)
    timeline = Timeline(console, **options)
    for record in records:
        timeline.add(record)
    timeline.flush()
    assert isinstance(console.file, io.StringIO)
    return [line[12:].rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_call_can_be_shown(call: Any) -> None:
    arguments = tuple(_SAMPLES[letter] for letter in call.signature if letter in _SAMPLES)
    record = as_record(CallEntry(1, 0.0, 1, "app[7]", 7, call.name, arguments))
    assert all(isinstance(each, str) for each in record["arguments"])


def test_arguments_by_name() -> None:
    def shown(name: str, *arguments: object) -> list[str]:
        return list(as_record(CallEntry(1, 0.0, 1, "app[7]", 7, name, arguments))["arguments"])

    handle = (0x1234_5678 << 32) + 5
    assert shown("C_Login", handle, 1, Hidden(6)) == ["#5", "CKU_USER", "<6 bytes>"]
    assert shown("C_Login", handle, 1, None) == ["#5", "CKU_USER", "NULL"]
    assert shown("C_OpenSession", 0, 6) == ["0", "CKF_RW_SESSION | CKF_SERIAL_SESSION"]
    assert shown("C_OpenSession", 0, 0x104) == ["0", "CKF_SERIAL_SESSION | 0x100"]
    assert shown("C_WaitForSlotEvent", 0) == ["0"]
    assert shown("C_SignInit", handle, 0x8000_0001, handle + 1) == ["#5", "CKM 0x80000001", "#6"]
    assert shown("C_FindObjectsInit", handle, [0, 0x102]) == ["#5", "{CKA_CLASS, CKA_ID}"]
    assert shown("C_GetAttributeValue", handle, handle, [(0x11, 100)]) == ["#5", "#5", "{CKA_VALUE}"]


def test_a_call_that_is_answered_at_once_has_one_line() -> None:
    records = [_call(1, "C_GetSessionInfo", "#1"), _return(2, 1, "C_GetSessionInfo", CKR.SESSION_HANDLE_INVALID)]
    line = ["app[7]  C_GetSessionInfo(#1) → CKR_SESSION_HANDLE_INVALID"]
    assert _shown(*records) == line
    assert _shown(*records, folds=True) == line


@pytest.mark.parametrize("folds", [False, True])
def test_apdus_and_the_removal_stand_under_their_call(folds: bool) -> None:
    shown = _shown(
        _call(1, "C_Sign", "#1", "<11 bytes>"),
        _apdu(2, 1, "1087079A", "9000", command_length=260),
        _event(3, "remove", call=1),
        _apdu(4, 1, "0087079A", None),
        _return(5, 1, "C_Sign", CKR.DEVICE_REMOVED),
        folds=folds,
    )
    assert shown == [
        "app[7]  C_Sign(#1, <11 bytes>)",
        "    │ GENERAL AUTHENTICATE 9A, chained (255 bytes in) → 9000 ok",
        " ▲ Alice's card is pulled out of front",
        "    │ GENERAL AUTHENTICATE 9A → torn out",
        f"    └ {'C_Sign ' if folds else ''}→ CKR_DEVICE_REMOVED  after 4.0 ms",
    ]


def test_the_end_of_an_interrupted_call_says_its_name() -> None:
    shown = _shown(
        _call(1, "C_WaitForSlotEvent", "0"),
        _call(2, "C_GetSlotList", "0"),
        _return(3, 2, "C_GetSlotList"),
        _event(4, "insert"),
        _return(5, 1, "C_WaitForSlotEvent"),
    )
    assert shown == [
        "app[7]  C_WaitForSlotEvent(0)",
        "app[7]  C_GetSlotList(0) → CKR_OK",
        " ▼ Alice's card goes into front",
        "    └ C_WaitForSlotEvent → CKR_OK  after 4.0 ms",
    ]


def test_folding_counts_apdus_and_names_calls_but_never_hides_a_failure() -> None:
    apdus = [_apdu(number, 1, "00C00000", "9000", response_length=20) for number in range(2, 7)]
    shown = _shown(
        _call(1, "C_FindObjectsInit", "#1"),
        *apdus,
        _return(7, 1, "C_FindObjectsInit"),
        _call(8, "C_FindObjects", "#1"),
        _return(9, 8, "C_FindObjects"),
        _call(10, "C_FindObjects", "#1"),
        _return(11, 10, "C_FindObjects"),
        _call(12, "C_FindObjectsFinal", "#1"),
        _return(13, 12, "C_FindObjectsFinal"),
        _call(14, "C_FindObjectsFinal", "#1"),
        _return(15, 14, "C_FindObjectsFinal", CKR.OPERATION_NOT_INITIALIZED),
        most_apdus=2,
        folds=True,
    )
    assert shown == [
        "app[7]  C_FindObjectsInit(#1)",
        *["    │ GET RESPONSE (20 out) → 9000 ok"] * 2,
        "    │ … 3 more APDUs",
        "    └ C_FindObjectsInit → CKR_OK  after 6.0 ms",
        "app[7]  C_FindObjects(#1) → CKR_OK",
        "    … then C_FindObjects, C_FindObjectsFinal → CKR_OK",
        "app[7]  C_FindObjectsFinal(#1) → CKR_OPERATION_NOT_INITIALIZED",
    ]


def test_one_hidden_apdu_is_one() -> None:
    apdus = [_apdu(number, 1, "00C00000", "9000", response_length=20) for number in range(2, 5)]
    shown = _shown(_call(1, "C_FindObjectsInit", "#1"), *apdus, _return(5, 1, "C_FindObjectsInit"), most_apdus=2)
    assert "    │ … 1 more APDU" in shown


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("00CB3FFF055C035FC105", "6A82", "GET DATA 5FC105 → 6A82 not found"),
        ("00200080", "63C2", "VERIFY 80 → 63C2 2 tries left"),
        ("00C00000", "61CD", "GET RESPONSE → 61CD 205 more to come"),
        ("00C00000", "6100", "GET RESPONSE → 6100 256 more to come"),
        ("00120000", "6D00", "INS 12 → 6D00 unknown instruction"),
        ("00A40400", "1234", "SELECT → 1234"),
        ("00", "6700", "INS 00 → 6700 wrong length"),
        ("", "6700", "INS 00 → 6700 wrong length"),
        ("00CB3FFF015C", "6A80", "GET DATA  → 6A80 incorrect data"),
    ],
)
def test_apdus_in_words(command: str, status: str, words: str) -> None:
    assert _shown(_apdu(1, None, command, status)) == [f"    {words}"]


def test_no_pin_in_a_trace(simulator: Simulator, host: Host, user_session: int) -> None:
    """Neither the call nor the APDU shows the PIN, in any form."""
    host.call(Module.random, user_session)
    with Control(simulator.control_socket) as control:
        records = list(control.stream("trace", after=0, follow=False))
    assert any(each.get("name") == "C_Login" for each in records)
    text = repr(records)
    assert "123456" not in text
    assert "313233343536" not in text
    assert "<6 bytes>" in text

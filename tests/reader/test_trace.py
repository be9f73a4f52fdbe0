# SPDX-License-Identifier: MIT
"""The trace: order, length, and that no PIN and no answer of a key is ever in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cardtear.reader import Reader, Testbed, Trace
from cardtear.reader import trace as trace_file
from cardtear.reader.trace import ApduEntry, CallEntry, Entry, EventEntry, Hidden, ReturnEntry
from hypothesis import given
from hypothesis import strategies as st

SELECT, GET_DATA = 0xA4, 0xCB


class Slot:
    """As much of a stay as the trace looks at."""

    class reader:
        name = "front"

    class card:
        name = "Alice"


def recorded(command: bytes, response: bytes | None) -> ApduEntry:
    trace = Trace()
    trace.apdu(Slot(), command, response)  # type: ignore[arg-type]
    (entry,) = trace.entries()
    assert isinstance(entry, ApduEntry)
    return entry


def strings(value: object) -> Iterator[bytes]:
    """All bytes in an entry, however deep, and its text."""
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, str):
        yield value.encode()
    elif isinstance(value, tuple | list):
        for each in value:
            yield from strings(each)


PINS = st.binary(min_size=6, max_size=8)
# Every command that carries a PIN or PUK (VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER), and neighbours of it.
CARRIERS = st.sampled_from([0x20, 0x24, 0x2C, 0x21, 0x87, 0xDB, 0x47, 0xFF, 0x00, 0x22])
CLASSES = st.sampled_from([0x00, 0x10, 0x0C, 0x80, 0xFF])


@given(
    PINS,
    CLASSES,
    CARRIERS,
    st.binary(max_size=20),
    st.binary(max_size=20),
    st.booleans(),
    st.one_of(st.none(), st.just(b"\x90\x00"), st.just(b"\x63\xc2")),
)
def test_no_pin_in_any_entry(
    pin: bytes, cla: int, ins: int, before: bytes, after: bytes, extended: bool, response: bytes | None
) -> None:
    data = before + pin.ljust(8, b"\xff") + after
    length = b"\0" + len(data).to_bytes(2, "big") if extended else bytes([len(data)])
    command = bytes((cla, ins, 0, 0x80)) + length + data
    entry = recorded(command, response)
    assert not any(pin in string for string in strings(entry))
    assert entry.command == command[:4]
    assert entry.command_length == len(command)


@given(st.binary(), st.binary(min_size=2))
def test_only_select_and_get_data_are_shown(command: bytes, response: bytes) -> None:
    entry = recorded(command, response)
    if len(command) > 1 and command[1] in (SELECT, GET_DATA):
        assert entry.command == command
        assert entry.response in (response[:-2], b"")
    else:
        assert (entry.command, entry.response) == (command[:4], b"")
    assert (entry.command_length, entry.response_length) == (len(command), len(response) - 2)
    assert entry.status == int.from_bytes(response[-2:], "big")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("5C017E", True),
        ("5C035FC102", True),
        ("5C035FC105", True),
        ("5C035FFF20", True),
        ("5C045FFF8000", True),
        ("5C035FC109", False),  # Printed Information: Yubico's software keeps the management key in it
        ("5C035FC103", False),
        ("5C035FFF50", False),
        ("5C045FFFC000", False),
        ("5C045FFFFF7F", False),
        ("5C035FC177", False),  # not an object of PIV
        ("5FC102", False),  # the end of a chain
        ("09", False),
        ("", False),
    ],
)
def test_what_is_read_with_the_pin_is_not_shown(name: str, shown: bool) -> None:
    data, answer = bytes.fromhex(name), b"content\x90\x00"
    short = bytes.fromhex("00CB3FFF") + bytes([len(data)]) + data
    extended = bytes.fromhex("00CB3FFF00") + len(data).to_bytes(2, "big") + data
    for command in (short, short + b"\0", extended, extended + b"\0\0"):
        entry = recorded(command, answer)
        assert entry.command == command
        assert (entry.response, entry.response_length) == (b"content" if shown else b"", 7)


def test_a_torn_command_has_no_status() -> None:
    entry = recorded(bytes.fromhex("00CB3FFF055C035FC105"), None)
    assert (entry.response, entry.response_length, entry.status) == (b"", 0, None)


def test_calls_and_what_happens_in_them(bench: Testbed, front: Reader, echo: Any) -> None:
    trace = bench.trace
    insertion = front.insert(echo)
    number = trace.call("app[1]", 7, "C_Login", (1, 1, Hidden(6)))
    insertion.transmit(bytes.fromhex("0020008008"))
    front.remove()
    trace.returned(number, "C_Login", 0x32)
    front.insert(echo)
    kinds = [(type(entry), entry.call) for entry in trace.entries() if not isinstance(entry, EventEntry)]
    assert kinds == [(CallEntry, number), (ApduEntry, number), (ReturnEntry, number)]
    events = [(entry.change, entry.call) for entry in trace.entries() if isinstance(entry, EventEntry)]
    assert events == [("plug", None), ("insert", None), ("remove", number), ("insert", None)]


def test_another_thread_is_in_no_call(bench: Testbed, front: Reader, echo: Any) -> None:
    number = bench.trace.call("app[1]", 7, "C_Sign", ())
    thread = threading.Thread(target=front.insert, args=(echo,))
    thread.start()
    thread.join(10)
    bench.trace.returned(number, "C_Sign", 0)
    (insert,) = [entry for entry in bench.trace.entries() if isinstance(entry, EventEntry) and entry.change == "insert"]
    assert insert.call is None


def test_numbers_times_and_after() -> None:
    trace = Trace()
    for _ in range(5):
        trace.returned(trace.call("app[1]", 1, "C_GetInfo", ()), "C_GetInfo", 0)
    entries = trace.entries()
    assert [entry.number for entry in entries] == list(range(1, 11))
    assert [entry.time for entry in entries] == sorted(entry.time for entry in entries)
    assert trace.entries(after=8) == entries[8:]
    assert trace.entries(after=10) == []


def test_old_entries_fall_out() -> None:
    trace = Trace()
    for _ in range(trace_file.LENGTH + 5):
        trace.returned(0, "C_GetInfo", 0)
    entries = trace.entries()
    assert len(entries) == trace_file.LENGTH
    assert entries[0].number == 6


def test_subscribers_get_each_entry_until_they_stop() -> None:
    trace = Trace()
    got: list[Entry] = []
    stop = trace.subscribe(got.append)
    trace.returned(0, "C_GetInfo", 0)
    stop()
    trace.returned(0, "C_GetInfo", 0)
    assert got == trace.entries()[:1]


def test_threads_record_without_loss() -> None:
    trace = Trace()
    got: list[Entry] = []
    stop = trace.subscribe(got.append)

    def work() -> None:
        for _ in range(500):
            trace.returned(trace.call("app[1]", threading.get_ident(), "C_GetInfo", ()), "C_GetInfo", 0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    stop()
    entries = trace.entries()
    assert [entry.number for entry in entries] == list(range(1, 4001))
    assert sorted(got) == entries

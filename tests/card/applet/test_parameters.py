# SPDX-License-Identifier: MIT
"""P1, P2, class byte and lengths of every command: all that is not defined gets the status word of the standard.

SP 800-73-5 part 2, chapter 3, and the assertions of SP 800-85A-4 on the card command interface.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from cardtear.card.tables import DSA_BITS, KEY_PAIR_ALGORITHMS, SLOTS

OK, P1P2, REFERENCE, DATA, SECURITY = 0x9000, 0x6A86, 0x6A88, 0x6A80, 0x6982
PIN, PUK = b"123456\xff\xff", b"12345678"


class Case(NamedTuple):
    """`right` are P1 and P2 that go with the data; `answer` is what others get."""

    ins: int
    data: bytes
    right: frozenset[tuple[int, int]]
    answer: Callable[[int, int], int]


def by_reference(*references: int) -> Callable[[int, int], int]:
    """The reference in P2 is looked at first."""
    return lambda p1, p2: P1P2 if p2 in references else REFERENCE


def always(status: int) -> Callable[[int, int], int]:
    return lambda p1, p2: status


CASES = {
    "SELECT": Case(0xA4, bytes.fromhex("A000000308"), frozenset({(4, 0), (4, 2)}), always(P1P2)),
    "GET DATA": Case(0xCB, bytes.fromhex("5C017E"), frozenset({(0x3F, 0xFF)}), always(P1P2)),
    "PUT DATA": Case(0xDB, bytes.fromhex("5C035FC10D5300"), frozenset({(0x3F, 0xFF)}), always(P1P2)),
    "VERIFY": Case(0x20, PIN, frozenset(itertools.product((0, 0xFF), (0, 0x80))), by_reference(0, 0x80)),
    "CHANGE REFERENCE DATA": Case(
        0x24, PIN + PIN, frozenset({(0, 0), (0, 0x80), (0, 0x81)}), by_reference(0, 0x80, 0x81)
    ),
    "RESET RETRY COUNTER": Case(0x2C, PUK + PIN, frozenset({(0, 0x80)}), by_reference(0x80)),
    "GENERAL AUTHENTICATE": Case(
        0x87,
        bytes.fromhex("7C0582008101") + b"\0",
        frozenset({(0x11, 0x9A), (0x14, 0x9C), (0x11, 0x9D), (0x11, 0x9E), (0x03, 0x9B), (0x00, 0x9B)}),
        always(P1P2),
    ),
    "GENERATE ASYMMETRIC KEY PAIR": Case(
        0x47, bytes.fromhex("AC03800111"), frozenset((0, slot) for slot in SLOTS), always(P1P2)
    ),
    "IMPORT KEY": Case(
        0xFE, b"\6\1\1", frozenset(itertools.product(KEY_PAIR_ALGORITHMS - DSA_BITS.keys(), SLOTS)), always(P1P2)
    ),
    "GET METADATA": Case(
        0xF7,
        b"",
        frozenset((0, reference) for reference in (0x00, 0x80, 0x81, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E)),
        lambda p1, p2: P1P2 if p1 else REFERENCE,
    ),
}
SOME = (0x00, 0x01, 0x3F, 0x80, 0x9A, 0xFF)


@pytest.fixture
def terminal(new_card: Callable[..., Any], power: Callable[..., Any]) -> Any:
    """A card that knows the global PIN, too."""
    return power(new_card("piv-ec", global_pin="111111"))


@pytest.mark.parametrize("name", CASES)
def test_p1_and_p2(terminal: Any, name: str) -> None:
    """Every P1 with some P2, and every P2 with some P1."""
    case = CASES[name]
    pairs = {*itertools.product(range(256), SOME), *itertools.product(SOME, range(256))} - case.right
    tail = bytes([len(case.data)]) + case.data if case.data else b""
    for p1, p2 in sorted(pairs):
        status = terminal.send(bytes((0, case.ins, p1, p2)) + tail + b"\0")[1]
        assert status == case.answer(p1, p2), f"{p1:02X} {p2:02X}: {status:04X}"
    assert terminal.send("00200080") == (b"", 0x63C3)


@pytest.mark.parametrize("name", CASES)
def test_the_right_p1_and_p2_are_not_refused(terminal: Any, name: str) -> None:
    case = CASES[name]
    tail = bytes([len(case.data)]) + case.data if case.data else b""
    for p1, p2 in sorted(case.right):
        assert terminal.send(bytes((0, case.ins, p1, p2)) + tail + b"\0")[1] not in (P1P2, REFERENCE)
        terminal.select()


@pytest.mark.parametrize(
    ("ins", "p2", "length"), [(0x20, 0x80, 8), (0x24, 0x80, 16), (0x24, 0x81, 16), (0x2C, 0x80, 16)]
)
def test_lengths_of_reference_data(terminal: Any, ins: int, p2: int, length: int) -> None:
    """Any other is 6A80 and costs no try; VERIFY without data is a question."""
    for wrong in set(range(256)) - {length} - ({0} if ins == 0x20 else set()):
        data = b"1" * wrong
        assert terminal.send(bytes((0, ins, 0, p2)) + (bytes([wrong]) + data if data else b""))[1] == DATA
    assert terminal.send("00200080") == (b"", 0x63C3)
    assert terminal.command(0xF7, 0, 0x81)[0].endswith(b"\3\3")


CLASSES = {
    **dict.fromkeys((0x04, 0x08, 0x0C, 0x0D, 0x1C, 0x60, 0x7F), 0x6882),
    **dict.fromkeys((0x01, 0x02, 0x03, 0x11, 0x13, 0x40, 0x5F), 0x6881),
    **dict.fromkeys((0x20, 0x3F, 0x80, 0x84, 0x90, 0xA0, 0xFF), 0x6E00),
}


@pytest.mark.parametrize("name", CASES)
def test_class_bytes(terminal: Any, name: str) -> None:
    """Secure messaging and logical channels are not there, nor are classes of others (ISO/IEC 7816-4, 5.4.1)."""
    case = CASES[name]
    p1, p2 = min(case.right)
    tail = bytes([len(case.data)]) + case.data if case.data else b""
    for cla, status in CLASSES.items():
        assert terminal.send(bytes((cla, case.ins, p1, p2)) + tail) == (b"", status), f"{cla:02X}"


def test_instructions_that_are_not_there(terminal: Any) -> None:
    """Among them GET CHALLENGE, INTERNAL and EXTERNAL AUTHENTICATE, READ BINARY and the odd GET DATA."""
    known = {case.ins for case in CASES.values()} | {0xC0, 0x70, 0xF6, 0xFF}
    for ins in set(range(256)) - known:
        assert terminal.send(bytes((0, ins, 0, 0))) == (b"", 0x6D00), f"{ins:02X}"


TEMPLATES = {
    "": DATA,
    "7C00": DATA,
    "7C02 8200": DATA,
    "7C03 810100": DATA,
    "7C05 8200 810100": OK,
    "7C05 810100 8200": OK,
    "7C05 8200 850100": DATA,
    "7C06 8200 810100 00": DATA,
    "7C07 8200 8200 810100": DATA,
    "7C08 8200 810100 810101": DATA,
    "7C06 820100 810100": DATA,
    "7C05 8200 830100": DATA,
    "7C04 8200 8100": DATA,
    "7C05 8200 8101": DATA,
    "7C810482008100": DATA,
    "7C8105 8200 810100": OK,
    "7C82000582008101 00": OK,
    "7C80 8200 810100 0000": DATA,
    "7D05 8200 810100": DATA,
    "5305 8200 810100": DATA,
    "7C05 8200 810100 00": DATA,
}
"""Of GENERAL AUTHENTICATE (table 7) with the key for card authentication."""


@pytest.mark.parametrize("template", TEMPLATES)
def test_dynamic_authentication_templates(terminal: Any, template: str) -> None:
    assert terminal.command(0x87, 0x11, 0x9E, bytes.fromhex(template))[1] == TEMPLATES[template]


CONTROLS = {
    "AC03 800111": OK,
    "AC03 800114": OK,
    "AC08 800107 8103010001": OK,
    "AC09 800107 810400010001": OK,
    "AC08 800107 8103010003": DATA,
    "AC06 800107 810103": DATA,
    "AC05 800107 8100": DATA,
    "AC08 800111 8103010001": DATA,
    "AC05 800111 8100": DATA,
    "AC03 800103": DATA,
    "AC03 80010A": DATA,
    "AC03 800127": DATA,
    "AC03 8001FF": DATA,
    "AC02 8000": DATA,
    "AC04 80021111": DATA,
    "AC06 800111 800111": DATA,
    "AC03 810111": DATA,
    "AC00": DATA,
    "": DATA,
    "AC03 800111 00": DATA,
    "800111": DATA,
    "AC06 800111 AA0104": DATA,
    "AC06 800111 AB0104": DATA,
    "AC06 800111 AA0200": DATA,
    "AC06 800111 AC0111": DATA,
}
"""Of GENERATE ASYMMETRIC KEY PAIR (table 12): mechanism, parameter, and the policies of Yubico's."""


@pytest.mark.parametrize("control", CONTROLS)
def test_control_reference_templates(terminal: Any, control: str) -> None:
    """What is malformed is so whether or not the management key is proved."""
    data = bytes.fromhex(control)
    assert terminal.command(0x47, 0, 0x9A, data)[1] == (SECURITY if CONTROLS[control] == OK else DATA)
    terminal.manage()
    assert terminal.command(0x47, 0, 0x9A, data)[1] == CONTROLS[control]


OBJECTS = {
    "5C035FC10D 5303010203": OK,
    "5C035FC10D 5300": OK,
    "7E03010203": OK,
    "7F6103010203": OK,
    "5C017E 5303010203": DATA,
    "5C027F61 5303010203": DATA,
    "5303010203 5C035FC10D": DATA,
    "5C035FC10D": DATA,
    "5C035FC10D 5403010203": DATA,
    "5C035FC10D 5303010203 00": DATA,
    "5C035FC10D 5303010203 5300": DATA,
    "5C035FC10D 53040102": DATA,
    "": DATA,
    "5C035FC1FF 5303010203": 0x6A82,
    "5C0155 5303010203": 0x6A82,
}
"""Of PUT DATA (tables 9 to 11)."""


@pytest.mark.parametrize("data", OBJECTS)
def test_put_data(terminal: Any, data: str) -> None:
    terminal.manage()
    assert terminal.command(0xDB, 0x3F, 0xFF, bytes.fromhex(data))[1] == OBJECTS[data]


# Official examples


MANAGEMENT_KEYS = {
    (0x03, "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123"): ("5468652071756663", "A826FD8CE53B855F"),
    (0x08, "000102030405060708090A0B0C0D0E0F"): (
        "00112233445566778899AABBCCDDEEFF",
        "69C4E0D86A7B0430D8CDB78070B4C55A",
    ),
    (0x0A, "000102030405060708090A0B0C0D0E0F1011121314151617"): (
        "00112233445566778899AABBCCDDEEFF",
        "DDA97CA4864CDFE06EAF70A0EC0D7191",
    ),
    (0x0C, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"): (
        "00112233445566778899AABBCCDDEEFF",
        "8EA2B7CA516745BFEAFC49904B496089",
    ),
}
"""Examples of SP 800-67, appendix B.1, and FIPS 197, appendix C."""


@pytest.mark.parametrize(("algorithm", "key"), MANAGEMENT_KEYS)
def test_the_ciphers_of_the_management_key(terminal: Any, algorithm: int, key: str) -> None:
    """The card enciphers what it is asked (SP 800-73-5 part 2, A.1)."""
    plain, enciphered = MANAGEMENT_KEYS[algorithm, key]
    terminal.manage()
    value = bytes.fromhex(key)
    assert terminal.command(0xFF, 0xFF, 0xFF, bytes((algorithm, 0x9B, len(value))) + value)[1] == OK
    block = bytes.fromhex(plain)
    fields = bytes((0x81, len(block))) + block + b"\x82\0"
    answer, status = terminal.command(0x87, algorithm, 0x9B, bytes((0x7C, len(fields))) + fields)
    assert (answer[4:].hex().upper(), status) == (enciphered, OK)

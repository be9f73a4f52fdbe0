# SPDX-License-Identifier: MIT
"""Attributes whose value is a template in turn, as they are asked for with C_GetAttributeValue (5.7.5)."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKA, CKR
from cardtear.p11.wire import ATTRIBUTE_SIZE

HANDLE = 9
UNAVAILABLE = 2**64 - 1


def test_three_steps(fake: Any, module: Module) -> None:
    """How many attributes there are, then which and how long, then their values; other attributes beside them."""
    ffi = module.ffi
    assert ffi.sizeof("CK_ATTRIBUTE") == ATTRIBUTE_SIZE
    label = ffi.new("unsigned char[8]")
    query = ffi.new("CK_ATTRIBUTE[2]", [(CKA.WRAP_TEMPLATE, ffi.NULL, 0), (CKA.LABEL, label, 8)])

    def ask(*answers: Any) -> list[tuple[int, Any]]:
        fake.answers["C_GetAttributeValue"] = lambda *_: (CKR.OK, (list(answers),))
        assert module.call("C_GetAttributeValue", 1, HANDLE, query, 2) == CKR.OK
        return list(fake.last("C_GetAttributeValue")[2])

    assert ask(2 * ATTRIBUTE_SIZE, b"name") == [(CKA.WRAP_TEMPLATE, None), (CKA.LABEL, 8)]
    assert (query[0].ulValueLen, query[1].ulValueLen, bytes(label)[:4]) == (2 * ATTRIBUTE_SIZE, 4, b"name")
    inner = ffi.new("CK_ATTRIBUTE[2]")
    query[0].pValue = inner
    ((_, room), _) = ask([(CKA.TOKEN, 1), (CKA.ID, 3)], b"name")
    assert (room, room.inner) == (2 * ATTRIBUTE_SIZE, (None, None))
    assert [(each.type, each.ulValueLen) for each in inner] == [(CKA.TOKEN, 1), (CKA.ID, 3)]
    values = [ffi.new("unsigned char[1]"), ffi.new("unsigned char[3]")]
    inner[0].pValue, inner[1].pValue = values
    ((_, room), _) = ask([(CKA.TOKEN, b"\1"), (CKA.ID, b"key")], b"name")
    assert room.inner == (1, 3)
    assert [bytes(each) for each in values] == [b"\1", b"key"]


def test_too_small_inside(fake: Any, module: Module) -> None:
    """CK_UNAVAILABLE_INFORMATION for the one that does not fit, the rest as it is."""
    ffi = module.ffi
    values = [ffi.new("unsigned char[1]"), ffi.new("unsigned char[2]")]
    inner = ffi.new("CK_ATTRIBUTE[2]", [(0, values[0], 1), (0, values[1], 2)])
    query = ffi.new("CK_ATTRIBUTE[1]", [(CKA.UNWRAP_TEMPLATE, inner, 2 * ATTRIBUTE_SIZE)])
    answer = [[(CKA.TOKEN, b"\1"), (CKA.ID, -1)]]
    fake.answers["C_GetAttributeValue"] = lambda *_: (CKR.BUFFER_TOO_SMALL, (answer,))
    assert module.call("C_GetAttributeValue", 1, HANDLE, query, 1) == CKR.BUFFER_TOO_SMALL
    assert [(each.type, each.ulValueLen) for each in inner] == [(CKA.TOKEN, 1), (CKA.ID, UNAVAILABLE)]
    assert bytes(values[0]) == b"\1"


@pytest.mark.parametrize(
    "answer",
    [
        [(CKA.TOKEN, b"\1"), (CKA.ID, b"four"), (CKA.LABEL, b"")],
        [(CKA.TOKEN, b"\1"), (CKA.ID, b"four")],
        [(CKA.TOKEN, b"\1"), (CKA.WRAP_TEMPLATE, [])],
        b"\0" * (2 * ATTRIBUTE_SIZE),
        b"\0" * 5,
    ],
    ids=["more", "longer", "deeper", "bytes", "no multiple"],
)
def test_hostile_answers(fake: Any, module: Module, answer: Any) -> None:
    """More attributes than asked for, longer values, templates in templates, plain bytes: an error, nothing overrun."""
    ffi = module.ffi
    value = ffi.new("unsigned char[4]", b"\7\7\7")
    inner = ffi.new("CK_ATTRIBUTE[3]", [(0, ffi.NULL, 0), (0, value, 3), (99, ffi.NULL, 99)])
    query = ffi.new("CK_ATTRIBUTE[1]", [(CKA.DERIVE_TEMPLATE, inner, 2 * ATTRIBUTE_SIZE)])
    fake.answers["C_GetAttributeValue"] = lambda *_: (CKR.OK, ([answer],))
    assert module.call("C_GetAttributeValue", 1, HANDLE, query, 1) == CKR.DEVICE_ERROR
    assert (inner[2].type, inner[2].ulValueLen) == (99, 99)
    assert bytes(value) == b"\7\7\7\0"


def test_room_for_more_than_is_sane(fake: Any, module: Module) -> None:
    """Refused before anything is read."""
    query = module.ffi.new("CK_ATTRIBUTE[1]", [(CKA.WRAP_TEMPLATE, module.ffi.cast("void *", 16), 2**40)])
    assert module.call("C_GetAttributeValue", 1, HANDLE, query, 1) == CKR.ARGUMENTS_BAD
    assert fake.calls == []

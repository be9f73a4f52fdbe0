# SPDX-License-Identifier: MIT
"""Templates that are wrong in every way, and attributes that police themselves."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKA, CKC, CKK, CKO, CKR

from ...shared.host import probes

TRUE, FALSE = b"\1", b"\0"
P256 = bytes.fromhex("06082a8648ce3d030107")

DATA = [(CKA.CLASS, CKO.DATA)]
AES = [(CKA.CLASS, CKO.SECRET_KEY), (CKA.KEY_TYPE, CKK.AES), (CKA.VALUE, bytes(16))]
EC = [(CKA.CLASS, CKO.PRIVATE_KEY), (CKA.KEY_TYPE, CKK.EC), (CKA.EC_PARAMS, P256), (CKA.VALUE, b"\1" * 32)]
EC_PUBLIC = [(CKA.CLASS, CKO.PUBLIC_KEY), (CKA.KEY_TYPE, CKK.EC), (CKA.EC_PARAMS, P256)]
RSA = [(CKA.CLASS, CKO.PRIVATE_KEY), (CKA.KEY_TYPE, CKK.RSA)]
X509 = [(CKA.CLASS, CKO.CERTIFICATE), (CKA.CERTIFICATE_TYPE, CKC.X_509), (CKA.SUBJECT, b"0\0")]

Case = tuple[str, list[tuple[int, Any]], int]

CREATE: list[Case] = [
    ("nothing", [], CKR.TEMPLATE_INCOMPLETE),
    ("no class", [(CKA.LABEL, b"x")], CKR.TEMPLATE_INCOMPLETE),
    ("class of another length", [(CKA.CLASS, b"\0")], CKR.ATTRIBUTE_VALUE_INVALID),
    ("unknown class", [(CKA.CLASS, 0x77)], CKR.ATTRIBUTE_VALUE_INVALID),
    ("class that nobody makes", [(CKA.CLASS, CKO.HW_FEATURE)], CKR.ATTRIBUTE_VALUE_INVALID),
    ("unknown attribute", [*DATA, (0x7777, b"x")], CKR.ATTRIBUTE_TYPE_INVALID),
    ("vendor's attribute", [*DATA, (0x80001234, b"x")], CKR.ATTRIBUTE_TYPE_INVALID),
    ("another class's attribute", [*DATA, (CKA.MODULUS, b"x")], CKR.TEMPLATE_INCONSISTENT),
    ("twice the same", [*DATA, (CKA.LABEL, b"x"), (CKA.LABEL, b"x")], CKR.OK),
    ("twice, differently", [*DATA, (CKA.LABEL, b"x"), (CKA.LABEL, b"y")], CKR.TEMPLATE_INCONSISTENT),
    ("long boolean", [*DATA, (CKA.MODIFIABLE, b"\1\1")], CKR.ATTRIBUTE_VALUE_INVALID),
    ("empty boolean", [*DATA, (CKA.MODIFIABLE, b"")], CKR.ATTRIBUTE_VALUE_INVALID),
    ("own identifier", [*DATA, (CKA.UNIQUE_ID, b"x")], CKR.ATTRIBUTE_READ_ONLY),
    ("more than a card takes", [*DATA, (CKA.TOKEN, TRUE), (CKA.VALUE, bytes(200_000))], CKR.DEVICE_MEMORY),
    ("certificate without subject", X509[:2], CKR.TEMPLATE_INCOMPLETE),
    ("certificate without value", X509, CKR.TEMPLATE_INCOMPLETE),
    ("certificate that does not parse", [*X509, (CKA.VALUE, b"rubbish")], CKR.ATTRIBUTE_VALUE_INVALID),
    (
        "certificate of another type",
        [*X509[:1], (CKA.CERTIFICATE_TYPE, 1), *X509[2:], (CKA.VALUE, b"x")],
        CKR.ATTRIBUTE_VALUE_INVALID,
    ),
    ("trusted, says the user", [*X509, (CKA.VALUE, b"x"), (CKA.TRUSTED, TRUE)], CKR.ATTRIBUTE_READ_ONLY),
    ("key without type", EC[:1], CKR.TEMPLATE_INCOMPLETE),
    ("key of an unknown type", [*EC[:1], (CKA.KEY_TYPE, 0x77)], CKR.ATTRIBUTE_VALUE_INVALID),
    ("DSA key without its numbers", [*EC[:1], (CKA.KEY_TYPE, CKK.DSA)], CKR.TEMPLATE_INCOMPLETE),
    ("key without curve", [*EC[:2], EC[3]], CKR.TEMPLATE_INCOMPLETE),
    ("key without number", EC[:3], CKR.TEMPLATE_INCOMPLETE),
    ("curve that is no name", [*EC[:2], (CKA.EC_PARAMS, b"x"), EC[3]], CKR.DOMAIN_PARAMS_INVALID),
    (
        "curve that nobody has",
        [*EC[:2], (CKA.EC_PARAMS, bytes.fromhex("06052b81040009")), EC[3]],
        CKR.CURVE_NOT_SUPPORTED,
    ),
    (
        "curve of another key type",
        [*EC[:2], (CKA.EC_PARAMS, bytes.fromhex("06032b6570")), EC[3]],
        CKR.TEMPLATE_INCONSISTENT,
    ),
    ("number beyond the order", [*EC[:3], (CKA.VALUE, b"\xff" * 32)], CKR.ATTRIBUTE_VALUE_INVALID),
    ("number zero", [*EC[:3], (CKA.VALUE, bytes(32))], CKR.ATTRIBUTE_VALUE_INVALID),
    ("local, says the user", [*EC, (CKA.LOCAL, TRUE)], CKR.ATTRIBUTE_READ_ONLY),
    ("always sensitive, says the user", [*EC, (CKA.ALWAYS_SENSITIVE, TRUE)], CKR.ATTRIBUTE_READ_ONLY),
    ("public key without point", EC_PUBLIC, CKR.TEMPLATE_INCOMPLETE),
    ("point off the curve", [*EC_PUBLIC, (CKA.EC_POINT, b"\4\x41\4" + bytes(64))], CKR.ATTRIBUTE_VALUE_INVALID),
    ("RSA key without numbers", RSA, CKR.TEMPLATE_INCOMPLETE),
    ("RSA key of one byte", [*RSA, (CKA.MODULUS, b"\xff"), (CKA.PRIVATE_EXPONENT, b"\3")], CKR.ATTRIBUTE_VALUE_INVALID),
    (
        "RSA numbers that make no key",
        [*RSA, (CKA.MODULUS, b"\xff" * 256), (CKA.PRIVATE_EXPONENT, b"\3"), (CKA.PUBLIC_EXPONENT, b"\1\0\1")],
        CKR.ATTRIBUTE_VALUE_INVALID,
    ),
    (
        "RSA number of a megabyte",
        [*RSA, (CKA.MODULUS, b"\xff" * 1_000_000), (CKA.PRIVATE_EXPONENT, b"\3")],
        CKR.ATTRIBUTE_VALUE_INVALID,
    ),
    ("AES key of 15 bytes", [*AES[:2], (CKA.VALUE, bytes(15))], CKR.ATTRIBUTE_VALUE_INVALID),
    ("AES key without value", AES[:2], CKR.TEMPLATE_INCOMPLETE),
    ("AES key with its length", [*AES, (CKA.VALUE_LEN, 16)], CKR.ATTRIBUTE_READ_ONLY),
    ("date that is none", [*AES, (CKA.START_DATE, b"20261301")], CKR.ATTRIBUTE_VALUE_INVALID),
    ("date", [*AES, (CKA.START_DATE, b"20261231")], CKR.OK),
    ("mechanisms of an odd length", [*AES, (CKA.ALLOWED_MECHANISMS, b"123")], CKR.ATTRIBUTE_VALUE_INVALID),
]


def build(template: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Plain numbers, so that they travel to the host."""
    return [(int(kind), value if isinstance(value, bytes) else int(value)) for kind, value in template]


@pytest.mark.parametrize(("name", "template", "expected"), CREATE, ids=[case[0] for case in CREATE])
def test_create(writer: tuple[Any, int], name: str, template: list[tuple[int, Any]], expected: int) -> None:
    """The standard's code; in the session and on the card alike."""
    host, session = writer
    for token in (FALSE, TRUE):
        given = template if any(kind == CKA.TOKEN for kind, _ in template) else [*template, (CKA.TOKEN, token)]
        assert host.call(probes.create_raw, session, build(given)) == expected, token
        left = host.call(lambda m: [x for x in probes.objects(m, session) if x[0] != CKO.SECRET_KEY])
        assert (left == []) or expected == CKR.OK


def test_one_way_attributes(writer: tuple[Any, int]) -> None:
    """Sensitive stays so, not extractable stays so, whatever becomes of the copy."""
    host, session = writer
    key = host.call(Module.create, session, dict(build([*AES, (CKA.SENSITIVE, FALSE), (CKA.EXTRACTABLE, TRUE)])))

    def read(m: Module, s: int, h: int) -> Any:
        return m.attribute(s, h, CKA.VALUE)

    assert host.rv(read, s=session, h=key) == CKR.OK
    copy = host.call(Module.copy, session, key, {CKA.SENSITIVE: b"\1"})
    assert host.rv(read, s=session, h=copy) == CKR.ATTRIBUTE_SENSITIVE
    host.call(Module.change, session, key, {CKA.EXTRACTABLE: b"\x00"})
    assert host.rv(read, s=session, h=key) == CKR.ATTRIBUTE_SENSITIVE
    for handle, kind, value in ((copy, CKA.SENSITIVE, FALSE), (key, CKA.EXTRACTABLE, TRUE)):

        def change(m: Module, s: int, h: int, k: int, v: Any) -> Any:
            return m.change(s, h, {k: v})

        assert host.rv(change, s=session, h=handle, k=int(kind), v=value) == CKR.ATTRIBUTE_READ_ONLY

        def again(m: Module, s: int, h: int, k: int, v: Any) -> Any:
            return m.copy(s, h, {k: v})

        assert host.rv(again, s=session, h=handle, k=int(kind), v=value) == CKR.ATTRIBUTE_READ_ONLY
    for kind in (CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE):
        assert host.call(Module.attribute, session, copy, int(kind)) == FALSE


def test_what_may_not_be_done_to_an_object(writer: tuple[Any, int]) -> None:
    """Not modifiable, not copyable, not destroyable."""
    host, session = writer
    for kind, action in (
        (CKA.MODIFIABLE, lambda m, s, h: m.change(s, h, {CKA.LABEL: b"x"})),
        (CKA.COPYABLE, lambda m, s, h: m.copy(s, h, {CKA.LABEL: b"x"})),
        (CKA.DESTROYABLE, lambda m, s, h: m.destroy(s, h)),
    ):
        for token in (FALSE, TRUE):
            given = build([*DATA, (CKA.TOKEN, token), (kind, FALSE)])
            handle = host.call(Module.create, session, dict(given))
            assert host.rv(action, s=session, h=handle) == CKR.ACTION_PROHIBITED


@pytest.mark.parametrize(
    "kind", [CKA.CLASS, CKA.TOKEN, CKA.PRIVATE, CKA.MODIFIABLE, CKA.UNIQUE_ID, CKA.LOCAL, CKA.KEY_TYPE]
)
def test_what_is_never_changed(writer: tuple[Any, int], kind: int) -> None:
    """C_SetAttributeValue leaves everything as it was."""
    host, session = writer
    key = host.call(Module.create, session, dict(build(AES)))  # type: ignore[arg-type]
    value = b"\0" if kind in (CKA.MODIFIABLE, CKA.PRIVATE) else b"\1" if kind in (CKA.TOKEN, CKA.LOCAL) else b"\0" * 8

    def change(m: Module, s: int, h: int, k: int, v: Any) -> Any:
        return m.change(s, h, {CKA.LABEL: b"changed", k: v})

    assert host.rv(change, s=session, h=key, k=int(kind), v=value) == CKR.ATTRIBUTE_READ_ONLY
    assert host.call(Module.attribute, session, key, CKA.LABEL) == b""


def test_private_session_objects_go_with_the_login(writer: tuple[Any, int]) -> None:
    """Public ones stay until the session ends."""
    host, session = writer
    mine = host.call(Module.create, session, dict(build([*AES, (CKA.PRIVATE, TRUE)])))
    open_ = host.call(Module.create, session, dict(build([*AES, (CKA.PRIVATE, FALSE)])))
    second = host.call(Module.open_session, 0)
    assert host.rv(Module.attribute, second, mine, CKA.ID) == CKR.OK
    host.call(Module.logout, session)
    assert host.rv(Module.attribute, second, mine, CKA.ID) == CKR.OBJECT_HANDLE_INVALID
    assert host.rv(Module.attribute, second, open_, CKA.ID) == CKR.OK
    host.call(Module.close_session, session)
    assert host.rv(Module.attribute, second, open_, CKA.ID) == CKR.OBJECT_HANDLE_INVALID

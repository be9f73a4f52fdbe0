# SPDX-License-Identifier: MIT
"""Attributes of the objects on a card, as far as no client in tests/clients looks at them."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.lab.clients.pkcs11 import Module
from cardtear.p11.constants import CKA, CKK, CKM, CKO, CKR

from ..shared.host import key_probes, probes
from ..shared.host.host import Host


def test_unique_id_is_unique(host: Host, user_session: int) -> None:
    """No two objects of a token share their CKA_UNIQUE_ID."""

    def everything(m: Module) -> list[bytes]:
        handles = [*m.find(user_session), *m.find(user_session, {CKA.CLASS: CKO.PROFILE})]
        return [m.attribute(user_session, handle, CKA.UNIQUE_ID) for handle in handles]

    found = host.call(everything)
    assert len(found) == len(set(found)) > 12


def test_secret_attributes_are_those_of_the_key_type(host: Host, user_session: int) -> None:
    """What a key of that type has and keeps is sensitive; what it has not is no attribute of it."""
    for identity, secret, absent in ((b"\1", "PRIVATE_EXPONENT", "VALUE"), (b"\2", "VALUE", "PRIME_1")):

        def asked(m: Module, s: int, i: Any, n: Any) -> Any:
            return m.attribute(s, probes.key(m, s, i), getattr(CKA, n))

        assert host.rv(asked, s=user_session, i=identity, n=secret) == CKR.ATTRIBUTE_SENSITIVE
        assert host.rv(asked, s=user_session, i=identity, n=absent) == CKR.ATTRIBUTE_TYPE_INVALID


def test_profiles_are_found_when_asked_for(host: Host, user_session: int) -> None:
    """Who takes stock of a token finds what has been put there; who asks for profiles finds these."""
    profiles = host.call(Module.find, user_session, {CKA.CLASS: CKO.PROFILE})
    assert len(profiles) >= 3
    assert host.call(Module.find, user_session, {CKA.PROFILE_ID: 4})[0] in profiles
    for template in ({}, {CKA.TOKEN: b"\1"}):
        assert not set(profiles) & set(host.call(Module.find, user_session, template))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (CKK.AES, bytes(16), "66e94b"),
        (CKK.DES3, bytes(range(24)), None),
        (CKK.GENERIC_SECRET, b"secret", "e5e9fa"),
    ],
)
def test_check_value(host: Host, user_session: int, kind: CKK, value: bytes, expected: str | None) -> None:
    """Of zeros under a key for blocks, of the key's hash otherwise; sensitive or not, and nobody may say another."""

    def read(m: Module, s: int, k: int, v: Any, more: Any) -> Any:
        return m.attribute(s, probes.secret(m, s, k, v, SENSITIVE=b"\1", **more), CKA.CHECK_VALUE)

    ask: dict[str, Any] = {"s": user_session, "k": int(kind), "v": value}
    computed = host.call(read, more={}, **ask)
    if expected is None:

        def zeros(m: Module, s: int, k: int, v: Any) -> Any:
            return probes.passed(m, s, "Encrypt", CKM.DES3_ECB, b"", probes.secret(m, s, k, v), bytes(8))

        expected = host.call(zeros, **ask)[:3].hex()
    assert computed.hex() == expected
    assert host.call(read, more={"CHECK_VALUE": computed}, **ask) == computed
    assert host.call(read, more={"CHECK_VALUE": b""}, **ask) == b""
    wrong = host.rv(read, more={"CHECK_VALUE": b"\1\2\3"}, **ask)
    assert wrong == CKR.ATTRIBUTE_VALUE_INVALID


def test_check_value_goes_away(host: Host, user_session: int) -> None:
    """It can be set to nothing, and to nothing else."""
    key = host.call(probes.secret, user_session, CKK.AES, bytes(16))

    def change(m: Module, s: int, k: int, v: Any) -> Any:
        return m.change(s, k, {CKA.CHECK_VALUE: v})

    assert host.rv(change, s=user_session, k=key, v=b"\1\2\3") == CKR.ATTRIBUTE_READ_ONLY
    assert host.rv(change, s=user_session, k=key, v=b"") == CKR.OK
    assert host.call(Module.attribute, user_session, key, CKA.CHECK_VALUE) == b""


@pytest.mark.parametrize("where", ["SESSION", "TOKEN"])
def test_templates_in_attributes_are_read(host: Host, where: str) -> None:
    """As they were given, from the card too; who has not said any has an empty one, and may use any mechanism."""
    session = host.call(probes.user_session, read_write=True)
    inner = {int(CKA.LABEL): b"unwrapped", int(CKA.SIGN): b"\1"}
    key = host.call(probes.create_with_template, session, CKA.UNWRAP_TEMPLATE, inner, probes.WHERE[where])

    def read(m: Module, s: int, h: int, n: Any) -> Any:
        return key_probes.array_attribute(m, s, h, getattr(CKA, n))

    assert host.call(read, s=session, h=key, n="UNWRAP_TEMPLATE") == inner
    assert host.call(read, s=session, h=key, n="WRAP_TEMPLATE") == {}
    assert host.call(Module.attribute, session, key, CKA.ALLOWED_MECHANISMS) == b""
    on_card = host.call(lambda m: m.find(session, {CKA.CLASS: CKO.PRIVATE_KEY})[0])
    assert host.call(read, s=session, h=on_card, n="UNWRAP_TEMPLATE") == {}


def test_an_empty_list_of_mechanisms_allows_none(host: Host, user_session: int) -> None:
    """It reads like no list at all, which allows any."""
    for more, expected in (({}, CKR.OK), ({"ALLOWED_MECHANISMS": b""}, CKR.MECHANISM_INVALID)):
        key = host.call(lambda m, more=more: probes.secret(m, user_session, CKK.AES, bytes(16), **more))
        assert host.call(Module.attribute, user_session, key, CKA.ALLOWED_MECHANISMS) == b""
        value = host.call(probes.begun, "C_EncryptInit", user_session, CKM.AES_ECB, b"", key)
        assert value == expected

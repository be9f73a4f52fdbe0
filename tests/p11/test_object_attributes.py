# SPDX-License-Identifier: MIT
"""Attributes of the objects on a card, as far as no client in tests/clients looks at them."""

from __future__ import annotations

from typing import Any

import pytest
from cardtear.p11.constants import CKA, CKK, CKR


def test_unique_id_is_unique(host: Any, user_session: int) -> None:
    """No two objects of a token share their CKA_UNIQUE_ID."""
    everything = "[*m.find(s), *m.find(s, {CKA.CLASS: CKO.PROFILE})]"
    found = host.eval(f"[m.attribute(s, h, CKA.UNIQUE_ID) for h in {everything}]", s=user_session)
    assert len(found) == len(set(found)) > 12


def test_secret_attributes_are_those_of_the_key_type(host: Any, user_session: int) -> None:
    """What a key of that type has and keeps is sensitive; what it has not is no attribute of it."""
    for identity, secret, absent in ((b"\1", "PRIVATE_EXPONENT", "VALUE"), (b"\2", "VALUE", "PRIME_1")):
        asked = "rv(lambda: m.attribute(s, key(m, s, i), getattr(CKA, n)))"
        assert host.eval(asked, s=user_session, i=identity, n=secret) == CKR.ATTRIBUTE_SENSITIVE
        assert host.eval(asked, s=user_session, i=identity, n=absent) == CKR.ATTRIBUTE_TYPE_INVALID


def test_profiles_are_found_when_asked_for(host: Any, user_session: int) -> None:
    """Who takes stock of a token finds what has been put there; who asks for profiles finds these."""
    profiles = host.eval("m.find(s, {CKA.CLASS: CKO.PROFILE})", s=user_session)
    assert len(profiles) >= 3
    assert host.eval("m.find(s, {CKA.PROFILE_ID: 4})", s=user_session)[0] in profiles
    for template in ("{}", "{CKA.TOKEN: b'\\1'}"):
        assert not set(profiles) & set(host.eval(f"m.find(s, {template})", s=user_session))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (CKK.AES, bytes(16), "66e94b"),
        (CKK.DES3, bytes(range(24)), None),
        (CKK.GENERIC_SECRET, b"secret", "e5e9fa"),
    ],
)
def test_check_value(host: Any, user_session: int, kind: CKK, value: bytes, expected: str | None) -> None:
    """Of zeros under a key for blocks, of the key's hash otherwise; sensitive or not, and nobody may say another."""
    read = "m.attribute(s, secret(m, s, k, v, SENSITIVE=b'\\1', **more), CKA.CHECK_VALUE)"
    ask = {"s": user_session, "k": int(kind), "v": value}
    computed = host.eval(read, more={}, **ask)
    if expected is None:
        zeros = "passed(m, s, 'Encrypt', CKM.DES3_ECB, b'', secret(m, s, k, v), bytes(8))"
        expected = host.eval(zeros, **ask)[:3].hex()
    assert computed.hex() == expected
    assert host.eval(read, more={"CHECK_VALUE": computed}, **ask) == computed
    assert host.eval(read, more={"CHECK_VALUE": b""}, **ask) == b""
    wrong = host.eval(f"rv(lambda: {read})", more={"CHECK_VALUE": b"\1\2\3"}, **ask)
    assert wrong == CKR.ATTRIBUTE_VALUE_INVALID


def test_check_value_goes_away(host: Any, user_session: int) -> None:
    """It can be set to nothing, and to nothing else."""
    key = host.eval("secret(m, s, CKK.AES, bytes(16))", s=user_session)
    change = "rv(lambda: m.change(s, k, {CKA.CHECK_VALUE: v}))"
    assert host.eval(change, s=user_session, k=key, v=b"\1\2\3") == CKR.ATTRIBUTE_READ_ONLY
    assert host.eval(change, s=user_session, k=key, v=b"") == CKR.OK
    assert host.eval("m.attribute(s, k, CKA.CHECK_VALUE)", s=user_session, k=key) == b""


@pytest.mark.parametrize("where", ["SESSION", "TOKEN"])
def test_templates_in_attributes_are_read(host: Any, where: str) -> None:
    """As they were given, from the card too; who has not said any has an empty one, and may use any mechanism."""
    session = host.eval("user_session(m, read_write=True)")
    inner = {int(CKA.LABEL): b"unwrapped", int(CKA.SIGN): b"\1"}
    key = host.eval(f"create_with_template(m, s, CKA.UNWRAP_TEMPLATE, t, {where})", s=session, t=inner)
    read = "array_attribute(m, s, h, getattr(CKA, n))"
    assert host.eval(read, s=session, h=key, n="UNWRAP_TEMPLATE") == inner
    assert host.eval(read, s=session, h=key, n="WRAP_TEMPLATE") == {}
    assert host.eval("m.attribute(s, h, CKA.ALLOWED_MECHANISMS)", s=session, h=key) == b""
    on_card = host.eval("m.find(s, {CKA.CLASS: CKO.PRIVATE_KEY})[0]", s=session)
    assert host.eval(read, s=session, h=on_card, n="UNWRAP_TEMPLATE") == {}


def test_an_empty_list_of_mechanisms_allows_none(host: Any, user_session: int) -> None:
    """It reads like no list at all, which allows any."""
    for more, expected in (({}, CKR.OK), ({"ALLOWED_MECHANISMS": b""}, CKR.MECHANISM_INVALID)):
        key = host.eval("secret(m, s, CKK.AES, bytes(16), **more)", s=user_session, more=more)
        assert host.eval("m.attribute(s, k, CKA.ALLOWED_MECHANISMS)", s=user_session, k=key) == b""
        value = host.eval("begun(m, 'C_EncryptInit', s, CKM.AES_ECB, b'', k)", s=user_session, k=key)
        assert value == expected

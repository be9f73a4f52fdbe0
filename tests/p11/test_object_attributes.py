# SPDX-License-Identifier: MIT
"""Attributes of the objects on a card, as far as no client in tests/clients looks at them."""

from __future__ import annotations

from typing import Any

from cardtear.p11.constants import CKR


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

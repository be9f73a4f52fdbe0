# SPDX-License-Identifier: MIT
"""Traits: coded, decoded, and whatever else may lie in that data object."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from cardtear.card.issuing import certificate_options
from cardtear.card.issuing.profiles import CardRequest
from cardtear.card.pin_rules import PIN_FORMATS
from cardtear.card.tables import OBJECT_LIMIT
from cardtear.card.token_traits import CERTIFICATE_RULES, MANAGEMENT_POLICIES, RULES, Traits, from_text
from hypothesis import given
from hypothesis import strategies as st

flag = st.booleans()
names = st.from_regex("CKM_[A-Z0-9_]{1,30}", fullmatch=True)
lengths = st.tuples(st.integers(4, 8), st.integers(4, 8)).map(sorted)


@st.composite
def traits(draw: st.DrawFn) -> Traits:
    least, most = draw(lengths)
    flags = {each.name: draw(flag) for each in dataclasses.fields(Traits) if isinstance(each.default, bool)}
    return Traits(
        management=draw(st.sampled_from(sorted(MANAGEMENT_POLICIES))),
        pin_pad_timeout=draw(st.floats(0.001, 3600)),
        pin_min=least,
        pin_max=most,
        pin_format=draw(st.sampled_from(sorted(PIN_FORMATS))),
        mechanisms=draw(st.none() | st.lists(names, max_size=40).map(tuple)),
        **flags,  # type: ignore[arg-type]
    )


@given(traits())
def test_what_is_encoded_is_decoded(given: Traits) -> None:
    content = given.encode()
    assert Traits.decode(content) == given
    assert len(content) <= OBJECT_LIMIT
    assert all(value != getattr(Traits(), name) for name, value in json.loads(content).items())


def test_defaults_take_no_room() -> None:
    assert Traits().encode() == b"{}"
    assert Traits.decode(None) == Traits.decode(b"") == Traits.decode(b"{}") == Traits()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary(max_size=200))
def test_any_bytes_are_traits(content: bytes) -> None:
    assert isinstance(Traits.decode(content), Traits)


@given(st.dictionaries(st.sampled_from(sorted(RULES)) | st.text(max_size=8), JSON, max_size=8))
def test_what_is_impossible_is_as_it_always_is(found: dict[str, Any]) -> None:
    """The other fields count nevertheless."""
    decoded = Traits.decode(json.dumps(found).encode())
    for each in dataclasses.fields(Traits):
        value = getattr(decoded, each.name)
        if each.name not in found:
            assert value == each.default or each.name in ("pin_min", "pin_max")
        elif value != each.default:
            assert value == (tuple(found[each.name]) if each.name == "mechanisms" else found[each.name])
    CardRequest("uninitialised", **{each.name: getattr(decoded, each.name) for each in dataclasses.fields(Traits)})


def test_nesting_has_an_end() -> None:
    assert Traits.decode(b"[" * 60_000) == Traits()
    assert Traits.decode(b'{"read_only":true,"pin_pad_timeout":1' + b"0" * 5000 + b"}") == Traits()
    assert Traits.decode(b'{"read_only":true,"pin_pad_timeout":1' + b"0" * 400 + b"}") == Traits(read_only=True)
    assert Traits.decode(b'{"read_only":true,"pin_min":8,"pin_max":4}') == Traits(read_only=True)
    assert Traits.decode(b'{"read_only":true,"pin_max":5}') == Traits(read_only=True)
    assert Traits.decode(b'\xff{"read_only":true}') == Traits()


def test_every_parameter_has_a_rule() -> None:
    assert RULES.keys() | {"certificates"} == {each.name for each in dataclasses.fields(CardRequest)}
    assert CERTIFICATE_RULES.keys() == set(certificate_options.NAMES)
    for each in dataclasses.fields(CardRequest):
        if each.name == "certificates":
            continue
        assert RULES[each.name].fits(each.default), each.name


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("pin_pad=true", "pin_pad", True),
        ("capacity=65536", "capacity", 65536),
        ("pin_pad_timeout=0.5", "pin_pad_timeout", 0.5),
        ("management=so", "management", "so"),
        ("pin=123456", "pin", "123456"),
        ("serial=1", "serial", "1"),
        ("puk=a=b=c=d", "puk", "a=b=c=d"),
        ("mechanisms=CKM_RSA_PKCS,CKM_ECDSA", "mechanisms", ["CKM_RSA_PKCS", "CKM_ECDSA"]),
        ('mechanisms=["CKM_ECDSA"]', "mechanisms", ["CKM_ECDSA"]),
        ("mechanisms=null", "mechanisms", None),
        ("pin_pad=maybe", "pin_pad", "maybe"),
        ("nonsense=1", "nonsense", "1"),
        ("capacity=", "capacity", ""),
    ],
)
def test_settings_in_words(text: str, name: str, value: object) -> None:
    assert from_text(text) == (name, value)

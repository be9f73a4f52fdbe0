# SPDX-License-Identifier: MIT
"""The decoder of the control channel: every line is a request with checked arguments, or a RequestError."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cardtear.card.files import json_text
from cardtear.card.issuing.profiles import CardRequest, ProfileError
from cardtear.lab.control.simulator import Simulator
from cardtear.lab.scenario.model import Card
from cardtear.lab.simulator.requests import RequestError, decode, parse, trigger
from cardtear.lab.simulator.trigger import Trigger
from cardtear.lab.simulator.trigger_encoding import as_armed
from cardtear.lab.simulator.verbs import TABLE, Request, Use, usable
from cardtear.p11.mechanisms import KNOWN
from cardtear.p11.token_mechanisms import require_known
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(["reader", "card", "on", "then", "after", "follow", "extra"]),
    JSON | st.fixed_dictionaries({"do": st.sampled_from(sorted(TABLE)), "reader": st.text(max_size=5)}),
)


@given(st.binary(max_size=200))
def test_any_line_is_an_object_or_an_error(line: bytes) -> None:
    with contextlib.suppress(RequestError):
        assert isinstance(parse(line), dict)


@given(st.sampled_from(sorted(TABLE)) | st.text(max_size=8), ARGUMENTS)
def test_any_object_is_a_request_or_an_error(verb: str, arguments: dict[str, Any]) -> None:
    """What is decoded has the verb's own parameters and no others, and survives as JSON does."""
    asked = parse(json.dumps({"do": verb, **arguments}).encode())
    try:
        request = decode(asked)
    except (RequestError, ProfileError):
        return
    assert request.verb == verb
    assert request.arguments.keys() == arguments.keys() <= {each.name for each in TABLE[verb].parameters}


@given(
    st.dictionaries(
        st.sampled_from(["call", "ins", "event", "signal", "seconds", "nth", "when", "reader", "times", "probability"]),
        JSON,
    )
)
def test_any_moment_makes_a_trigger_or_an_error(on: dict[str, Any]) -> None:
    asked = {"do": "arm", "on": on, "then": {"do": "remove", "reader": "front"}}
    with contextlib.suppress(RequestError):
        assert isinstance(trigger(**decode(asked).arguments), Trigger)


@pytest.mark.parametrize(
    "line", [b'{"id": NaN}', b'{"id": [-Infinity]}', b'{"id": 1e999}', '{"id": 1}'.encode("utf-16")]
)
def test_what_only_python_takes_for_json(line: bytes) -> None:
    """No answer could give such an id back as JSON, and lines are UTF-8."""
    with pytest.raises(RequestError, match="not a line of JSON"):
        parse(line)


@pytest.mark.parametrize("number", ["1e999", "-1e400", "NaN", "Infinity", "-Infinity", "1" * 5000], ids=lambda n: n[:9])
@pytest.mark.parametrize(
    "line", ['{{"do": "later", "seconds": {}}}', '{{"on": {{"x": [], "seconds": [1, {}]}}}}', "[{}]"]
)
def test_numbers_that_are_none_are_named(line: str, number: str) -> None:
    """With the field that they are in, as they were written; what is long is cut."""
    field = "'seconds' is" if "seconds" in line else "there is"
    with pytest.raises(RequestError) as caught:
        parse(line.format(number).encode())
    assert f"{field} {number[:40]}" in str(caught.value)
    assert "finite" in str(caught.value)
    assert len(str(caught.value)) < 150


@given(st.recursive(JSON, lambda inner: st.lists(inner, max_size=3)))
def test_all_json_is_read_as_it_is(value: Any) -> None:
    assert json_text.loads(json.dumps(value)) == value


def test_nesting_has_an_end() -> None:
    with pytest.raises(RequestError):
        parse(b"[" * 60_000)


def test_values_become_what_the_simulator_takes() -> None:
    card = {"profile": "blank", "name": "Bob"}
    assert decode({"do": "insert", "reader": "front", "card": card}) == Request(
        "insert", {"reader": "front", "card": CardRequest(profile="blank", name="Bob")}
    )
    assert decode({"do": "swap", "reader": "front", "card": "/tmp/bob.card"}).arguments["card"] == Path("/tmp/bob.card")
    assert decode({"do": "status"}) == Request("status", {})
    on = decode({"do": "arm", "on": {"ins": "87"}, "then": {"do": "remove", "reader": "front"}}).arguments["on"]
    assert on == {"ins": 0x87}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "object"),
        ({}, "'do'"),
        ({"do": 1}, "'do'"),
        ({"do": "eject"}, "no verb 'eject'"),
        ({"do": "remove"}, "needs 'reader'"),
        ({"do": "remove", "reader": 1}, "string"),
        ({"do": "remove", "reader": "front", "card": "x"}, "does not take 'card'"),
        ({"do": "insert", "reader": "front", "card": 1}, "'card'"),
        ({"do": "trace", "follow": 1}, "true or false"),
        ({"do": "trace", "after": True}, "whole number"),
        ({"do": "arm", "on": {}, "then": {"do": "eject"}}, "no verb 'eject'"),
        ({"do": "arm", "on": [], "then": {"do": "crash"}}, "'on' is an object with some of 'call', 'ins'"),
        ({"do": "arm", "on": {"wen": "after"}, "then": {"do": "crash"}}, "take 'wen'; did you mean 'when'.* 'call', "),
        ({"do": "arm", "on": {"zz": 1}, "then": {"do": "crash"}}, "'on' does not take 'zz'; it takes 'call', "),
        ({"do": "insert", "reader": "front", "card": {"pin": 4711}}, "a string, not a number: put it in quotes"),
        ({"do": "arm", "on": {"ins": "xy"}, "then": {"do": "remove", "reader": "front"}}, "hexadecimal"),
    ],
)
def test_errors_say_what_is_wrong(asked: object, words: str) -> None:
    with pytest.raises((RequestError, ProfileError), match=words):
        decode(asked)


@pytest.mark.parametrize(
    ("on", "words"),
    [
        ({}, "one of"),
        ({"call": "C_Sign", "ins": 0x87, "thread": 1}, "thread"),
        ({"call": "C_Sing"}, "C_Sing"),
        ({"call": "C_Sign", "reader": "front"}, "reader"),
        ({"ins": 0x100}, "byte"),
        ({"ins": 0x87, "nth": 0}, "nth"),
        ({"ins": 0x87, "when": "meanwhile"}, "when"),
    ],
)
def test_triggers_that_can_never_fire_are_refused(on: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        trigger(on, Request("remove", {"reader": "front"}))


def test_a_trigger_does_verbs_of_the_bench_only() -> None:
    with pytest.raises(RequestError, match="shutdown"):
        trigger({"ins": 0x87}, Request("shutdown", {}))


REQUESTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "insert": lambda card: {"do": "insert", "reader": "front", "card": card},
    "swap": lambda card: {"do": "swap", "reader": "front", "card": card},
    "arm": lambda card: {"do": "arm", "on": {"signal": "go"}, "then": REQUESTS["swap"](card)},
    "later": lambda card: {"do": "later", "seconds": 1, "then": REQUESTS["insert"](card)},
}


def test_parameters_of_every_kind() -> None:
    card = {
        "profile": "blank",
        "pin_min": 4,
        "pin": "9999",
        "read_only": True,
        "pin_pad_timeout": 0.5,
        "pin_left": None,
    }
    card |= {"mechanisms": ["CKM_ECDSA"], "management": "so", "capacity": 5000}
    wanted = decode({"do": "insert", "reader": "front", "card": card}).arguments["card"]
    assert wanted == CardRequest(**card)  # type: ignore[arg-type]
    assert (wanted.pin, wanted.read_only, wanted.mechanisms) == ("9999", True, ("CKM_ECDSA",))
    for name, value in (("read_only", "true"), ("pin_min", "4"), ("mechanisms", "CKM_ECDSA"), ("colour", "red")):
        with pytest.raises(ProfileError, match=name):
            decode({"do": "insert", "reader": "front", "card": {name: value}})


WRONG_MECHANISMS = [
    (("CKM_X",), {}, "there is no mechanism 'CKM_X'"),
    (("CKM_RSA_PKC",), {}, "there is no mechanism 'CKM_RSA_PKC'; did you mean 'CKM_RSA_PKCS'?"),
    (("CKM_ECDSA", "CKM_RSA_PKC"), {}, "did you mean 'CKM_RSA_PKCS'?"),
    (("CKM_ECDSA", "CKM_AES_XTS"), {}, "no token here has the mechanism 'CKM_AES_XTS'"),
    (("CKM_ECDSA", "CKM_DSA"), {}, "the mechanism 'CKM_DSA' is an old one: it needs legacy=true, too"),
    (("CKM_DSA", "CKM_NONE"), {"legacy": True}, "there is no mechanism 'CKM_NONE'"),
]


@pytest.mark.parametrize(("names", "more", "problem"), WRONG_MECHANISMS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
def test_mechanisms_that_a_token_would_not_have(
    request_of: Callable[[Any], dict[str, Any]], names: tuple[str, ...], more: dict[str, Any], problem: str
) -> None:
    """They are refused in every request with a card; a scenario and a simulator in this process refuse them, too."""
    card = {"mechanisms": [*names], **more}
    with pytest.raises(ProfileError, match=re.escape(problem)):
        decode(request_of(card))
    with pytest.raises(ValueError, match=re.escape(problem)):
        Card(**card)
    with Simulator() as simulator, pytest.raises(ProfileError, match=re.escape(problem)):
        simulator.prepare(CardRequest(**card))


def test_every_mechanism_of_a_token_can_be_named() -> None:
    names = [f"CKM_{each.type.name}" for each in KNOWN.values()]
    require_known(CardRequest(mechanisms=tuple(names), legacy=True))


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("path", ["a\0b", "\0", "\ud800"])
def test_paths_that_no_file_can_have(request_of: Callable[[Any], dict[str, Any]], path: str) -> None:
    """The parameter that is wrong is named."""
    for name, card in (
        ("'card': ", path),
        ("'image': ", {"image": path, "passphrase_file": "key"}),
        ("'passphrase_file': ", {"image": "image", "passphrase_file": path}),
    ):
        with pytest.raises(
            RequestError, match=re.escape(f"{name}a path is wanted; no file can have the name {path!r}")
        ):
            decode(request_of(card))


def test_wrong_pin_in_a_card_is_named() -> None:
    with pytest.raises(ProfileError, match="PIN"):
        decode({"do": "insert", "reader": "front", "card": {"pin": "12"}})


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "pin-pad", "reader": "front", "pin": 876543},
        {"do": "pin-pad", "pin": "876543"},
        {"do": "pin-pads", "pin": "876543"},
        {"do": "apdu", "reader": "front", "command": "00200080 8765430"},
        {"do": "apdu", "reader": "front", "command": 876543},
        *(
            {"do": "insert", "reader": "front", "card": card}
            for card in ({"pin": 876543}, {"puk": [876543]}, ["876543"])
        ),
    ],
)
def test_no_message_has_a_secret(request_: dict[str, Any]) -> None:
    """However it is written wrong, and by whatever way it is asked for."""
    later = {"do": "later", "seconds": 1, "then": request_}
    for asked in (request_, later, {"do": "arm", "on": {"call": "C_Sign"}, "then": later}):
        with pytest.raises((RequestError, ProfileError)) as raised:
            decode(asked)
        assert "876543" not in str(raised.value)


SAMPLES: dict[str, Any] = {
    "reader": "front",
    "card": CardRequest(pin="918273"),
    "atr": b"\x3b\x00",
    "command": b"\x00\x20\x00\x80\x08918273\xff\xff",
    "pin": "918273",
    "left": 1,
    "puk": True,
    "gate": "door",
    "signal": "word",
    "action": "stop",
    "trigger": 1,
    "name": "name",
    "exclusive": True,
    "contactless": True,
    "seconds": 1.0,
    "then": Request("remove", {"reader": "front"}),
}


@pytest.mark.parametrize("verb", usable(Use.LATER))
def test_what_is_armed_can_be_told(verb: str) -> None:
    """As JSON, without PINs, whatever the verb takes."""
    then = Request(verb, {name: SAMPLES[name] for name in (each.name for each in TABLE[verb].parameters)})
    told = json.dumps(as_armed(Trigger("later", {"seconds": 1.0, "then": then}, signal="now")))
    assert verb in told
    assert "918273" not in told
    assert b"918273".hex() not in told

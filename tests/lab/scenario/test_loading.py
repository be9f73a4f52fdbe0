# SPDX-License-Identifier: MIT
"""From text to a scenario, or to an error that says where it is."""

from __future__ import annotations

import contextlib
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from cardtear.lab.scenario import Scenario, ScenarioError, load, loads
from cardtear.lab.scenario.fields import duration
from cardtear.lab.scenario.model import Card
from cardtear.lab.scenario.steps import STEPS, AnyStep, Call, Expect, Repeat, Run, Wait
from cardtear.lab.scenario.triggers import TriggerModel
from cardtear.lab.scenario.verbs import VERBS, Answer, Remove
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError


def refused(text: str) -> list[str]:
    """The lines of the error, without the name of the file."""
    with pytest.raises(ScenarioError) as caught:
        loads(textwrap.dedent(text), "f.yaml")
    return [line.removeprefix("f.yaml:") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "1: there is no scenario in it"),
        ("- remove: front", "1: a scenario is a mapping with 'steps'"),
        ("name: x\nabout: y", "1: steps: it is missing"),
        ("steps: []", "1: steps: list should have at least 1 item"),
        ("steps:\n- remov: front", "2: steps[0]: a step has no field 'remov'; did you mean 'remove'?"),
        ("steps:\n- remove: front\n  insert: {front: alice}", "2: steps[0]: a step has one of: plug, "),
        ("steps:\n- remove: front\n- remove: front\n  wihin: 2s", "4: steps[1].wihin: there is no such field"),
        ("steps:\n- remove: front\nsteps: []", "3: 'steps' is there twice"),
        ("steps:\n- remove: front\nfoo: 1", "3: foo: there is no such field"),
        (
            "steps:\n- wait: {event: remove}\n  timeout: 3s",
            "3: steps[0].timeout: there is no such field; there are: note, wait, within",
        ),
        ("steps:\n- crash\nstep: 1", "3: step: there is no such field; did you mean 'steps'? there are: name, about, "),
        (
            "steps:\n- expect: {nothing: {event: remove, redaer: x}, for: 1s}",
            "2: steps[0].expect.nothing.redaer: there is no such field; did you mean 'reader'? there are: since, ",
        ),
        (
            "steps:\n- arm:\n    x:\n      on: {call: C_Sign, wen: after}\n      do: crash",
            "4: steps[0].arm.x.on.wen: there is no such field; did you mean 'when'? there are: call, ins, ",
        ),
        ("steps: [crash]\ncards:\n  alice: {pin: 4711}", "3: cards.alice: the parameter 'pin' of a card is a string, "),
        ("steps: [crash]\ncards:\n  alice: {serial: 12}", "3: cards.alice: the parameter 'serial' of a card is a str"),
        ("steps:\n- apdu: {front: 00A}", "2: steps[0].apdu.front: an APDU is written in hexadecimal digits"),
        ("steps:\n- apdu: {front: ''}", "2: steps[0].apdu.front: an APDU is written in hexadecimal digits"),
        ("steps:\n- apdu: {front: 00A40400}\n  status: 9XYZ", "3: steps[0].status: a status word is written in hex"),
        ("steps:\n- remove: {a: b}", "2: steps[0].remove: the name of a reader is wanted, as remove: front"),
        ("steps: [remove: front", "1: not YAML: "),
        ("steps:\n- call: find(s, {CKA_CLASS: 1})", "2: not YAML: mapping values are not allowed here"),
        ("? [a, b]\n: c", "1: a key is a word"),
        ("steps:\n- remove: !!python/object:os.system x", "2: no place for tag:yaml.org,2002:python/object:os.system"),
        ("steps:\n- wait: {event: remove}\n  within: soon", "3: steps[0].within: a duration is a number with ms, s"),
        ("steps:\n- wait: {event: remove}\n  within: 0s", "3: steps[0].within: a duration is more than nothing"),
        ("steps:\n- wait: {event: removed}", "2: steps[0].wait.event: input should be 'plug', "),
        ("steps:\n- wait: {session: s, state: gone}", "2: steps[0].wait: what happens has one of: event, "),
        ("steps:\n- expect: {count: apdus}", "2: steps[0].expect: a count is 'exactly', "),
        ("steps:\n- expect: {count: apdus, exactly: 1, at-most: 2}", "2: steps[0].expect: 'exactly' says it all"),
        ("steps:\n- expect: {count: apdus, of: C_Sign, exactly: 0}", "2: steps[0].expect: no apdus are of the kind"),
        ("steps:\n- expect: {count: events, of: 87, exactly: 0}", "2: steps[0].expect: no events are of the kind '87'"),
        ("steps:\n- expect: {count: calls, of: C_Sing, exactly: 0}", "2: steps[0].expect: there is no call 'C_Sing'"),
        ("steps:\n- mark: start", "2: steps[0].mark: 'start' is the mark at the beginning"),
        ("steps:\n- {apdu: {front: 00A4}, status: none, data: x}", "2: steps[0]: no answer ('status: none') has no"),
        ("steps:\n- {run: x, environment: {A=B: c}}", "2: steps[0].environment: no variable of an environment can be"),
        ("steps: [crash]\nenvironment: {'': c}", "2: environment: no variable of an environment can be ''"),
        (
            "triggers:\n  x: {on: {event: remove}, do: {remove: front}, seed: 3}\nsteps: [crash]",
            "2: triggers.x: 'seed' is for 'probability'",
        ),
        ("steps:\n- call: C_Sing(1)", "2: steps[0].call: there is no function 'C_Sing' to call"),
        ("steps:\n- call: C_Sign(1)", "2: steps[0].call: C_Sign takes a number; bytes or a string"),
        ("steps:\n- call: C_Logout(1) -> CKR_WHAT", "2: steps[0].call: there is no return value 'CKR_WHAT'"),
        ("steps:\n- call: C_Logout(open('x'))", "2: steps[0].call: \"open('x')\" has no place in a scenario"),
        ("steps:\n- call: x = C_Logout(1)", "2: steps[0].call: C_Logout gives nothing that could be saved"),
        ("steps:\n- call: CKR_OK = C_GetSlotList()", "2: steps[0].call: CKR_OK has a meaning already"),
        ("steps:\n- call: C_Logout(1", "2: steps[0].call: 'C_Logout(1' cannot be read: "),
        ("steps:\n- run: ''", "2: steps[0].run"),
        ("steps:\n- run: sh -c 'x", "2: steps[0]: No closing quotation"),
        ("steps:\n- run: x\n  output: '('", "3: steps[0].output: not a regular expression"),
        ("steps:\n- run: x\n  files:\n    ../x: y", "4: steps[0].files.../x: a file lies in the scenario's own folder"),
        ("steps:\n- run: x\n  exits: SIGWHAT", "3: steps[0].exits: an exit code is a number or a signal's name"),
        ("steps:\n- run: x\n  background: true\n  exits: 1", "2: steps[0]: what is expected of a program in the b"),
        ("steps:\n- block-pin: front\n  left: 16", "3: steps[0].left: input should be less than or equal to 15"),
        ("steps:\n- repeat: 0\n  steps: [crash]", "2: steps[0].repeat: input should be greater than or equal to 1"),
        ("steps:\n- wait: {call: C_GetInfo}", "2: steps[0].wait.call: 'C_GetInfo' is answered in the module itself"),
        ("steps:\n- wait: {call: C_Sing}", "2: steps[0].wait.call: there is no call 'C_Sing'; did you mean 'C_Sign'?"),
        ("steps: [crash]\ncards:\n  alice: {mechanisms: [CKM_X]}", "3: cards.alice: there is no mechanism 'CKM_X'"),
        ("steps: [crash]\ncards:\n  alice: {profil: piv}", "3: cards.alice: a card has no parameter 'profil'"),
        ("steps: [crash]\ncards:\n  alice: {path: x, pin: '1'}", "3: cards.alice: a card has a path or parameters"),
        ("steps: [crash]\ncards:\n  alice: {passphrase-file: x}", "3: cards.alice: a passphrase-file is for the image"),
        ("steps: [crash]\nquirks: [nonsense]", "2: quirks: there is no quirk 'nonsense'"),
        ("steps: [crash]\nreaders:\n  ' ': alice", "2: readers: not a reader name: ' '"),
        (
            "steps:\n- arm:\n    x:\n      on: {call: C_Sing}\n      do: {remove: front}",
            "4: steps[0].arm.x.on: there is no",
        ),
        (
            "steps:\n- arm:\n    x:\n      on: {ins: XX}\n      do: {remove: front}",
            "4: steps[0].arm.x.on.ins: a byte is w",
        ),
        (
            "steps:\n- arm:\n    x:\n      on: {event: insert}\n      do: {return: CKR_OK}",
            "3: steps[0].arm.x: 'return' is a fault of a call or an APDU",
        ),
        (
            "steps:\n- arm:\n    x:\n      on: {call: C_Sign, signal: x}\n      do: {remove: front}",
            "4: steps[0].arm.x.on: 'signal' does not go with 'call'",
        ),
    ],
)
def test_errors_name_line_and_field(text: str, error: str) -> None:
    assert refused(text)[0].startswith(error)


@pytest.mark.parametrize("number", ["1e999", ".inf", "-.inf", "NaN", "Infinity", "!!float .nan", "!!float .inf", "x"])
@pytest.mark.parametrize(
    "text",
    [
        "triggers:\n  x: {{on: {{event: remove}}, do: {{remove: front}}, {field}: {number}}}\nsteps: [crash]",
        "steps:\n- repeat: {number}\n  steps: [crash]",
        "steps:\n- {{block-pin: front, left: {number}}}",
        "steps:\n- {{later: {number}, do: {{remove: front}}}}",
        "cards:\n  alice: {{years: {number}}}\nsteps: [crash]",
        "cards:\n  alice: {{touch_timeout: {number}}}\nsteps: [crash]",
        "steps: [crash]\nwithin: {number}",
    ],
)
def test_numbers_that_are_none_are_named(text: str, number: str) -> None:
    """With the line; of a trigger every number."""
    for field in ("nth", "times", "probability", "seed")[: None if "field" in text else 1]:
        (line,) = refused(text.format(field=field, number=number))
        named = number.removeprefix("!!float .")
        assert re.match(r"[23]: .*, not '?" + re.escape(named) + "'?$", line), line


def test_every_error_of_a_file_is_said_in_its_order() -> None:
    lines = refused(
        """
        steps:
        - wait: {event: remove}
          within: x
        - expect: {event: nothing}
        about: [1]
        """
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["4", "steps[0].within"],
        ["5", "steps[1].expect.event"],
        ["6", "about"],
    ]


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"about: x\nname: \xff")
    with pytest.raises(ScenarioError, match=r"x\.yaml:2: not UTF-8"):
        load(path)


def test_aliases_without_end() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert "aliases without end" in refused(bomb)[0]
    assert "not YAML" in refused("a: " + "[" * 5000)[0]
    assert refused("a: &a [*a]")


def test_yaml_as_people_expect_it() -> None:
    """`on` is a word, PINs keep their zeros, bytes of decimal digits are hexadecimal all the same."""
    scenario = loads(
        """
        steps:
        - pin-pad: {front: 012345}
        - pin-pad: {front: 123456}
        - call: C_GetSlotList()
        - arm:
            one: {on: {ins: 87, slot: 9a}, do: {answer: 6982}}
            two: {on: {ins: "20"}, do: {answer: 63e1, data: "00"}}
        """
    )
    first, second, _call, arm = scenario.steps
    assert first.pin == "012345"  # type: ignore[attr-defined, union-attr]
    assert second.pin == "123456"  # type: ignore[attr-defined, union-attr]
    one, two = arm.arm.values()  # type: ignore[attr-defined, union-attr]
    assert (one.on.ins, one.on.slot, two.on.ins) == (0x87, 0x9A, 0x20)
    assert isinstance(one.do, Answer)
    assert isinstance(two.do, Answer)
    assert (one.do.answer, two.do.answer) == (0x6982, 0x63E1)


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("2s", 2), ("1.5 s", 1.5), ("1m", 60), (3, 3)])
def test_durations(text: Any, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5h", "-1s", "0s", "2m3s", "1e3s", "999999m", True, None, float("nan")])
def test_no_durations(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


def test_the_same_in_python() -> None:
    """The models are the language: fields are named as in YAML."""
    made = Scenario(
        name="x",
        cards={"alice": Card(), "bob": Card.model_validate({"profile": "piv-ec"})},
        triggers={"pull": TriggerModel.model_validate({"on": {"call": "C_Sign"}, "do": {"remove": "front"}})},
        steps=[
            Call(call="s = C_OpenSession(front)", within=2),
            Call(call="C_Sign(s, 'x') -> any"),
            Repeat(repeat=2, steps=[Call(call="C_GetSlotList()")]),
            Run.model_validate({"run": ["true"], "exits": "any"}),
            Expect.model_validate({"expect": {"nothing": {"event": "insert"}, "for": "1s"}}),
        ],
    )
    read = loads(
        """
        name: x
        cards: {alice: {}, bob: {profile: piv-ec}}
        triggers: {pull: {on: {call: C_Sign}, do: {remove: front}}}
        steps:
        - call: s = C_OpenSession(front)
          within: 2s
        - call: C_Sign(s, 'x') -> any
        - repeat: 2
          steps:
          - call: C_GetSlotList()
        - run: [true]
          exits: any
        - expect: {nothing: {event: insert}, for: 1s}
        """.replace("[true]", '["true"]')
    )
    assert made == read


def test_what_contradicts_itself_is_refused_in_python_too() -> None:
    with pytest.raises(ValidationError, match="reader 'front' is empty here"):
        Scenario(name="x", steps=[Remove(remove="front"), Remove(remove="front")])
    with pytest.raises(ValidationError, match="over before it begins"):
        Scenario(name="x", steps=[Remove(remove="front"), Wait.model_validate({"wait": {"event": "remove"}})])


VALUES = """steps front alice event within name cards readers on do nothing for trigger triggers ins 87 2s CKR_OK null
any background program clients files needs x C_GetSlotList() x.y x=C_OpenSession(front)"""
WORDS = st.sampled_from([*STEPS, *VERBS, *VALUES.split()])
SCALARS = WORDS | st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.none() | st.dates()
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=4)
)


WHOLES = TREES | st.builds(lambda tree: {"steps": tree}, TREES) | st.builds(lambda tree: {"steps": [tree]}, TREES)


@settings(max_examples=150, deadline=None)
@given(WHOLES, st.booleans())
def test_any_yaml_is_a_scenario_or_a_clear_error(whole: Any, allow_unicode: bool) -> None:
    _loads_or_refuses(yaml.safe_dump(whole, allow_unicode=allow_unicode))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="-:{}[]&*!|>'\"#\n\t ae0", max_size=40))
def test_any_text_is_a_scenario_or_a_clear_error(text: str) -> None:
    _loads_or_refuses(text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="CKR_OKfind(s,1)[]{}'=-> .lenot+|", max_size=40))
def test_any_call_is_a_call_or_a_clear_error(text: str) -> None:
    for kind in ("call", "expect"):
        with contextlib.suppress(ValidationError):
            TypeAdapter(AnyStep).validate_python({kind: text})


def _loads_or_refuses(text: str) -> None:
    try:
        scenario = loads(text, "f.yaml")
    except ScenarioError as error:
        message = str(error)
    else:
        message = "f.yaml:" * bool(scenario.steps)
    assert message.startswith("f.yaml:")


@pytest.mark.parametrize(
    "step",
    [
        "call: C_Login(s, CKU_USER, '876543'",
        "call: C_LoginUser(s, CKU_USER, '876543",
        'call: x = C_SetPIN(session "876543", "123456") -> CKR_OK',
        "apdu: {front: 00200080 8765430}",
        "pin-pad: {front: '876543', x: '1'}",
        "pin-pad: 876543",
    ],
)
def test_no_message_has_a_pin(step: str) -> None:
    """However its step is written wrong."""
    assert "876543" not in "".join(refused(f"steps:\n- {step}\n"))


def test_a_ca_lies_beside_the_scenario(tmp_path: Path) -> None:
    """As the images at a path do."""
    card = Card.model_validate({"ca_certificate": "ca.pem", "ca_key": "../ca.key"})
    wanted = card.request("Alice", tmp_path).parameters
    assert wanted["ca_certificate"] == str(tmp_path / "ca.pem")
    assert wanted["ca_key"] == str(tmp_path.parent / "ca.key")
